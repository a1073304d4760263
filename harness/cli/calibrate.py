"""``harness calibrate``: what this machine can generate before its own lag spoils the figures."""

import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from harness.cli.parsing import Command, Namespace, option
from harness.cli.which_run import reports_option
from harness.clock import utc_iso
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.machine import (
    FILES_SPARE,
    LINGER_S,
    PORTS_SPARE,
    Machine,
    available_memory_mb,
    raise_file_limit,
    this_machine,
)
from harness.rundir.layout import make_run_directory, new_run_id
from harness.streams import open_console
from harness.studies.calibrate.calibration import (
    Calibration,
    Carried,
    Rate,
    as_dict,
    disturbances,
    rows_of,
    write_calibration,
    write_calibration_page,
)
from harness.studies.calibrate.runs import (
    OtherWork,
    Rising,
    measure_guests,
    measure_messages,
    measure_sessions,
)
from harness.units import rate_per_s, seconds

KINDS = ("plain", "tls")
PROCESSES_A_CORE = 4
MOST_GUESTS_PER_S = 10_000
MOST_MESSAGES_PER_S = 1_000_000
"""No machine has been seen to come near."""
MEMORY_PART = 0.5
"""The part of the free memory that held sessions may take."""


def run(args: Namespace) -> int:
    """Measure kind by kind, show and keep the figures."""
    console = open_console(stderr=args.json)
    raise_file_limit()
    machine = this_machine()
    kinds = _kinds(args.kinds)
    asked = {kind: _asked(args, machine, kind) for kind in kinds}
    folder = make_run_directory(args.reports, f"calibration-{new_run_id()}")
    carried = {}
    for kind, rising in asked.items():
        carried[kind] = _measure(kind, rising, folder / kind, machine, console)
    found = Calibration(
        made=utc_iso(),
        host=platform.node(),
        cores=machine.cores,
        processes=next(iter(asked.values())).processes,
        kinds=carried,
    )
    if not any(one.guests or one.messages for one in carried.values()):
        console.print("nothing could be measured: the machine lagged from the start", style="red")
        return ExitCode.NO_DATA
    kept = write_calibration(args.reports, found)
    page = write_calibration_page(folder, found)
    show(found, console)
    console.print(f"kept  {kept}\npage  {page}", highlight=False, soft_wrap=True)
    if args.json:
        print(orjson.dumps(as_dict(found), option=orjson.OPT_INDENT_2).decode())
    return ExitCode.PASS


def show(found: Calibration, console: Console) -> None:
    """The table for a person."""
    title = f"What {found.host or 'this machine'} can generate ({found.cores} cores)"
    table = Table(title=title, title_justify="left")
    for heading in ("", "connection", "reached", "count on", "ended by"):
        right = heading in ("reached", "count on")
        table.add_column(heading, justify="right" if right else "left")
    for row in rows_of(found):
        table.add_row(row.what, row.kind, row.reached, row.count_on, row.ended_by)
    console.print(table)
    if disturbed := disturbances(found):
        console.print(disturbed, style="yellow", highlight=False, soft_wrap=True)


def _measure(kind: str, asked: Rising, out: Path, machine: Machine, console: Console) -> Carried:
    asked = replace(asked, out=out)

    def say(what: str) -> None:
        console.print(f"{kind}: {what} …", style="dim", highlight=False)

    meanwhile = OtherWork()
    say("guests that come ever faster")
    guests = measure_guests(asked)
    say("guests that speak ever faster")
    messages = measure_messages(asked)
    say(f"{asked.held:,} guests that stay")
    sessions = measure_sessions(asked, _room(machine, asked.processes))
    return Carried(
        guests=_known(guests),
        messages=_known(messages),
        sessions=sessions,
        others=round(meanwhile.share(), 3),
    )


def _known(rate: Rate | None) -> Rate | None:
    return rate if rate is not None and rate.per_s > 0 else None


def _room(machine: Machine, processes: int) -> Callable[[float | None], tuple[int, str]]:
    """How many sessions fit, from the KiB that one takes."""
    memory_mb = available_memory_mb()

    def room(kib_each: float | None) -> tuple[int, str]:
        limits = {
            "open files": (machine.files - FILES_SPARE) * processes,
            "ports of one address": machine.ports - PORTS_SPARE,
        }
        if memory_mb is not None and kib_each is not None:
            limits["memory"] = int(memory_mb * MEMORY_PART * 1024 / kib_each)
        why = min(limits, key=lambda name: limits[name])
        return max(0, limits[why]), why

    return room


def _kinds(text: str) -> list[str]:
    kinds = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"--kinds: expected plain, tls or both, got {text!r}")
    return kinds


def _asked(args: Namespace, machine: Machine, kind: str) -> Rising:
    processes = max(1, machine.cores - 1) if args.processes is None else args.processes
    for name in ("processes", "speakers", "held"):
        value = processes if name == "processes" else getattr(args, name)
        if value < 1:
            raise ConfigError(f"--{name}: expected one or more, got {value}")
    most = PROCESSES_A_CORE * machine.cores
    if processes > most:
        raise ConfigError(
            f"--processes: expected up to {most} on {machine.cores} cores, got {processes}"
        )
    rise_s = seconds(args.rise, "--rise")
    if not 5 <= rise_s <= 600:
        raise ConfigError(f"--rise: expected 5s to 10m, got {args.rise!r}")
    files = (machine.files - FILES_SPARE) * processes
    for name in ("speakers", "held"):
        if getattr(args, name) > min(files, machine.ports - PORTS_SPARE):
            raise ConfigError(
                f"--{name}: {getattr(args, name):,} sessions at once are more than this machine's "
                f"files and ports allow ({min(files, machine.ports - PORTS_SPARE):,})"
            )
    # A port stays taken for a while after its connection was closed, and the slots take some.
    ports = (machine.ports - PORTS_SPARE) / (min(rise_s, LINGER_S) + 1)
    top = min(ports, 900.0 * processes) if args.top is None else rate_per_s(args.top, "--top")
    if not 2 <= top <= MOST_GUESTS_PER_S:
        raise ConfigError(
            f"--top: expected 2/s or more, up to {MOST_GUESTS_PER_S:,}/s, got {args.top!r}"
        )
    if args.top_messages is None:
        messages = 10_000.0 * processes
    else:
        messages = rate_per_s(args.top_messages, "--top-messages")
    if not 10 <= messages <= MOST_MESSAGES_PER_S:
        raise ConfigError(
            f"--top-messages: expected 10/s or more, up to {MOST_MESSAGES_PER_S:,}/s, "
            f"got {args.top_messages!r}"
        )
    return Rising(
        out=args.reports,
        processes=processes,
        tls=kind == "tls",
        rise_s=rise_s,
        top_guests_per_s=float(int(top)),
        top_messages_per_s=messages,
        speakers=args.speakers,
        held=args.held,
    )


COMMAND = Command(
    "calibrate",
    run,
    [
        option("--kinds", default="plain,tls", metavar="LIST", help="plain, tls"),
        option(
            "--processes",
            type=int,
            metavar="N",
            help="worker processes (one less than there are cores, for the simulator)",
        ),
        option("--rise", default="40s", metavar="TIME", help="length of a rise"),
        option("--top", metavar="RATE", help="end of the guests' rise (what the ports allow)"),
        option(
            "--top-messages", metavar="RATE", help="end of the messages' rise (10000/s a process)"
        ),
        option("--speakers", type=int, default=1000, metavar="N", help="guests who speak"),
        option("--held", type=int, default=3000, metavar="N", help="sessions to hold"),
        reports_option(),
        option("--json", flag=True, help="the figures as one JSON object"),
    ],
    description=(
        "Measure what this machine can generate before its own lag spoils the figures: new guests "
        "a second, messages a second, sessions held, over plain connections and TLS. Each is a run "
        "against a simulator on this machine that takes its share of it, so that against a real "
        "service it can be more. The figures are kept in the reports folder, where harness plan "
        "and harness preflight find them. Takes about seven minutes; nothing leaves the machine."
    ),
    epilog=(
        "exit codes: 0 measured; 5 nothing could be measured; 8 bad input.\n\n"
        "examples:\n"
        "  harness calibrate\n"
        "  harness calibrate --kinds tls --processes 3\n"
        "  harness calibrate --rise 20s --held 1000 --json\n"
    ),
)
