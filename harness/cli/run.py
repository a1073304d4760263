"""``harness run``: simulator if asked for, Locust as a process, progress, report, verdict."""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.cli.embedded import EmbeddedSimulator
from harness.cli.holding import SEARCH
from harness.cli.inspected import inspect_locustfile
from harness.cli.progress import Progress, shown
from harness.cli.run_options import (
    asked_of,
    check_numbers,
    conduct_of,
    configure,
    run_time_of,
    simulator_options,
)
from harness.cli.stages import STAGES, Stages, end_group, free_port
from harness.config import Target, parse_target
from harness.errors import ConfigError, HarnessError, TransportError
from harness.exit_codes import ExitCode
from harness.guard import Intent, Rule, parse_overrides
from harness.guest.settings import GuestSettings
from harness.ledger.leftovers import read_leftovers
from harness.machine import this_machine
from harness.preflight.permit import permit
from harness.preflight.room import check_room, forecast, notable
from harness.reconcile.lost import find_lost, sweep_lost
from harness.report.afterwards import sweep_block
from harness.report.baseline import note_counts
from harness.report.console import open_console
from harness.report.judging import read_objectives
from harness.report.opening import (
    ENDED_BY_HAND,
    ENDED_BY_SEARCH,
    START,
    make_run_directory,
    new_run_id,
    write_start,
)
from harness.report.record import (
    build_record,
    declare_invalid,
    record_of_nothing,
    write_record,
)
from harness.report.rundir import sweep_command
from harness.report.terminal import show_summary
from harness.targets import Terms, resolve_target
from harness.transport.probe import probe
from harness.units import seconds

__all__ = ["configure", "run"]

TAKES_REST = True
"""What stands behind ``--`` is for Locust."""
POLL_S = 0.5
COME_WITHIN_S = 10
"""Guests of an occupancy come one by one: all in the same second would stay in step."""
ENDED_WITH_IT = (
    "the simulator ends with the run, and what is open in it too: with --keep-sim it stays, "
    "to rehearse a sweep"
)
ORPHANS_WITHIN_S = 90.0
"""How long workers without a master may take to clear before they are killed and swept."""


def run(args: argparse.Namespace) -> int:
    """Everything in order; nothing is sent before all that can be checked has been."""
    console = open_console()
    check_numbers(args)
    if args.worker:
        return _be_a_worker(args)
    if args.occupancy is not None:
        args.users = args.occupancy
        args.spawn_rate = args.spawn_rate or max(1.0, args.occupancy / COME_WITHIN_S)
    overrides = parse_overrides(args.override)
    if args.slo is not None:
        read_objectives(Path(args.slo))
    if args.seed is None:
        args.seed = secrets.randbelow(2**31)
    plan = inspect_locustfile(args.locustfile, asked_of(args))
    run_time_s = run_time_of(args, plan)
    terms = None if args.target == "sim" else _terms(args, plan, run_time_s, overrides)
    room = _check_room(args, plan, run_time_s)
    directory = make_run_directory(args.reports, new_run_id())
    simulator: EmbeddedSimulator | None = None
    try:
        if terms is None:
            simulator = EmbeddedSimulator(*simulator_options(args))
            target = parse_target(simulator.start(), ca_file=simulator.ca_file)
        else:
            target = terms.target
        _check_target(target)
        where = f"{args.locustfile} → {target.netloc}"
        console.print(f"run {directory.name}: {where}", highlight=False, soft_wrap=True)
        if room:
            console.print(room, style="yellow", highlight=False, soft_wrap=True)
        _tell_breaks(plan, console, real=terms is not None)
        try:
            status, asked = _run_locust(args, target, directory, run_time_s, console)
            swept = None if asked >= len(STAGES) else _sweep_lost(directory, target, console)
        finally:
            truth = None if simulator is None else simulator.settle_down()
        code = _conclude(directory, target, status, asked, truth, swept, console)
        if simulator is not None and not args.keep_sim and code == ExitCode.LEFTOVERS:
            console.print(ENDED_WITH_IT, highlight=False, soft_wrap=True)
        return code
    finally:
        if not any(directory.iterdir()):
            directory.rmdir()  # refused before anything was written
        if simulator is not None:
            if args.keep_sim:
                where = f"{simulator.url} (pid {simulator.pid})"
                console.print(f"the simulator goes on at {where}", highlight=False, soft_wrap=True)
            else:
                simulator.stop()


# Before.


def _terms(
    args: argparse.Namespace,
    plan: dict[str, Any],
    run_time_s: float,
    overrides: dict[Rule, str],
) -> Terms:
    """The target's terms, when they permit this run. Raises PreflightRefused or ConfigError."""
    terms = resolve_target(
        args.target, Path(args.targets), ca_file=args.ca_file, origin=args.origin
    )
    arrivals = plan["arrivals"]
    intent = Intent(
        sessions=None if arrivals is None else arrivals["count"],
        at_once=args.users or (1 if arrivals is None else arrivals["slots"]),
        peak_per_s=None if arrivals is None else arrivals["peak_per_s"],
        stop_timeout_s=seconds(args.stop_timeout, "--stop-timeout"),
    )
    given = permit(terms, intent, reports=args.reports, overrides=overrides)
    console = open_console()
    for entry in given.overridden:
        text = f"overridden: {entry['rule']} ({entry['reason']}): {entry['said']}"
        console.print(text, style="bold yellow", highlight=False, soft_wrap=True)
    if given.stop_at is not None:
        left_s = given.stop_at.timestamp() - time.time()
        if run_time_s > left_s:
            text = f"the window ends before the run: it stops by itself at {given.stop_at:%H:%M:%S}"
            console.print(text, style="yellow", highlight=False, soft_wrap=True)
    return terms


def _check_room(args: argparse.Namespace, plan: dict[str, Any], run_time_s: float) -> str:
    """A sentence where the run takes much of the disk. Raises ConfigError when it won't fit."""
    if args.disk_guard == "off":
        return ""
    arrivals, out = plan["arrivals"], args.reports
    processes = args.processes or args.expect_workers or 1
    expected = forecast(
        sessions=None if arrivals is None else arrivals["count"],
        duration_s=run_time_s,
        at_once=args.users or (1 if arrivals is None else arrivals["slots"]),
        processes=processes if processes > 0 else this_machine().cores,
    )
    return notable(out, expected, check_room(out, expected))


def _be_a_worker(args: argparse.Namespace) -> int:
    """Be Locust's worker until the master lets go; what to do comes from there."""
    inspect_locustfile(args.locustfile, asked_of(args))
    command = [
        sys.executable, "-m", "locust", "-f", args.locustfile, "--worker",
        "--master-host", args.master_host, "--master-port", str(args.master_port),
    ]  # fmt: skip
    if args.processes:
        command += ["--processes", str(args.processes)]
    os.execve(sys.executable, command + args.rest, {**os.environ, **asked_of(args)})


def _tell_breaks(plan: dict[str, Any], console: Console, *, real: bool) -> None:
    """Limits that the guests' stories would break, or with their think times may break."""
    told = [f"would break a limit: {sentence}" for sentence in plan["breaks"]]
    if real:  # the embedded simulator has no limits unless it is asked for them
        told += [f"may break a limit: {sentence}" for sentence in plan["may_break"]]
    if told:
        told.append("guests keep the limits by waiting, which is counted (paced)")
    for sentence in told:
        console.print(sentence, style="yellow", highlight=False, soft_wrap=True)


def _check_target(target: Target) -> None:
    """Reachable, and willing to upgrade? An upgrade alone creates no session."""
    try:
        probe(target)
    except TransportError as error:
        raise ConfigError(f"the target {target.netloc} can't be used: {error}") from error


# During.


def _run_locust(
    args: argparse.Namespace,
    target: Target,
    directory: Path,
    run_time_s: float,
    console: Console,
) -> tuple[int, int]:
    """Locust's exit status, and how often somebody has asked the run to stop."""
    environment = {
        **os.environ,
        "HARNESS_TARGET": target.url if args.target == "sim" else args.target,
        "HARNESS_TARGETS": str(args.targets),
        "HARNESS_OVERRIDE": ";".join(args.override),
        "HARNESS_CA_FILE": str(target.ca_file or ""),
        "HARNESS_ORIGIN": target.origin or "",
        "HARNESS_REPORTS": str(directory.parent),
        "HARNESS_RUN_ID": directory.name,
        "HARNESS_SUPERVISED": "1",
        "HARNESS_SLO": args.slo or "",
        "HARNESS_DISK_GUARD": args.disk_guard,
        **conduct_of(args),
        **({"HARNESS_METRICS_PORT": str(args.metrics_port)} if args.metrics_port else {}),
        **asked_of(args),
    }
    command = [
        sys.executable, "-m", "locust", "-f", args.locustfile, "--headless", "--only-summary",
        "--run-time", f"{run_time_s:.0f}s",
        "--stop-timeout", f"{seconds(args.stop_timeout, '--stop-timeout'):g}",
    ]  # fmt: skip
    if args.users:
        command += ["--users", str(args.users)]
    if args.spawn_rate or args.users:
        command += ["--spawn-rate", f"{args.spawn_rate or args.users:g}"]
    if args.processes:
        # A port of its own, on loopback: two runs at once must not take each other's workers.
        port = free_port()
        command += ["--processes", str(args.processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-bind-port", port, "--master-port", port]
    if args.master:
        command += [
            "--master", "--expect-workers", str(args.expect_workers),
            "--master-bind-host", args.bind, "--master-bind-port", str(args.master_port),
        ]  # fmt: skip
    progress = Progress(directory, run_time_s=run_time_s)
    with shown(progress, console) as display:
        with Stages(directory, display.say) as stages:
            with (directory / "locust.log").open("wb") as log:
                locust = subprocess.Popen(
                    command + args.rest,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C reaches us alone: we hand it on in stages
                )
            stages.begin(locust)
            while True:
                try:
                    status = locust.wait(POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    display.update()
        if stages.asked < len(STAGES):
            end_group(locust.pid, within_s=ORPHANS_WITHIN_S, say=display.say)
        display.update()
    return status, stages.asked


# After.


def _sweep_lost(directory: Path, target: Target, console: Console) -> dict[str, Any] | None:
    """End what processes have left that died on the way; what the record says of it."""
    lost = find_lost(directory)
    if not lost.leftovers:
        return None
    console.print(
        f"{len(lost.workers)} processes were lost: sweeping their {len(lost.leftovers)} sessions",
        style="bold",
    )
    try:
        result = sweep_lost(lost, GuestSettings(target=target, tls=target.tls_context()))
    except HarnessError as error:
        console.print(f"that did not succeed: {error}", style="red")
        return None
    return sweep_block(result.settled, result.left, by="harness run, of lost processes")


def _conclude(
    directory: Path,
    target: Target,
    status: int,
    asked: int,
    truth: dict[str, Any] | None,
    swept: dict[str, Any] | None,
    console: Console,
) -> int:
    if not (directory / START).exists():
        if asked:
            console.print("stopped by hand before the run began; nothing was sent")
            return int(ExitCode.INTERRUPTED)
        raise ConfigError(_why_locust_failed(directory))
    incomplete = ""
    if status < 0:
        incomplete = f"Locust was ended by {signal.Signals(-status).name}"
    elif asked:
        with suppress(OSError):
            write_start(
                directory, **{ENDED_BY_SEARCH if SEARCH in os.environ else ENDED_BY_HAND: True}
            )
    try:
        note_counts(directory, "after", target)
        record = build_record(directory, incomplete=incomplete)
        if truth is not None:
            _add_truth(record, truth, directory)
    except HarnessError as error:
        record = record_of_nothing(directory, str(error))
    record["sweep"] = swept
    try:
        write_record(directory, record)
        from harness.report.outputs import write_reports  # needs the chart library only now

        report = str(write_reports(directory)[0])
    except OSError as error:  # the disk is full, or the folder is gone
        report = f"can't be written: {error.strerror or error}"
        declare_invalid(record, f"the run's record {report}")
    show_summary(record, console, report=report, sweep=sweep_command(directory))
    return int(record["exit_code"])


def _add_truth(record: dict[str, Any], truth: dict[str, Any], directory: Path) -> None:
    """The simulator's own count beside ours. What it has open, the ledger must list."""
    record["simulator"] = {**truth["sessions"], "conversations": truth["conversations"]}
    unlisted = set(truth["open_tokens"]) - {left.token for left in read_leftovers(directory)}
    if unlisted:
        declare_invalid(
            record, f"the simulator has {len(unlisted)} open sessions that the ledger does not list"
        )


def _why_locust_failed(directory: Path) -> str:
    log = (directory / "locust.log").read_text(errors="replace").strip().splitlines()
    told = [line for line in log if line.startswith("error: ")]
    if told:
        return told[-1].removeprefix("error: ")
    last = log[-1] if log else "it said nothing"
    return f"Locust ended before the run began: {last} (see {directory / 'locust.log'})"
