"""``harness run``: simulator if asked for, Locust as a process, progress, report, verdict."""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.cli.embedded import EmbeddedSimulator
from harness.cli.progress import Progress, shown
from harness.cli.stages import STAGES, Stages, end_group, free_port
from harness.config import Target, parse_target
from harness.errors import ConfigError, HarnessError, PreflightRefused, TransportError
from harness.exit_codes import ExitCode
from harness.guest.settings import GuestSettings
from harness.ledger.leftovers import read_leftovers
from harness.reconcile.lost import find_lost, sweep_lost
from harness.report.afterwards import sweep_block
from harness.report.opening import (
    START,
    make_run_directory,
    new_run_id,
    point_latest,
    write_start,
)
from harness.report.outputs import write_reports
from harness.report.record import (
    EXIT_CODES,
    build_record,
    record_of_nothing,
    write_record,
)
from harness.report.terminal import show_summary
from harness.slo.gate import Verdict
from harness.transport.probe import probe
from harness.units import seconds

DEFAULT_FILE = "locustfiles/launch.py"
TAKES_REST = True
"""What stands behind ``--`` is for Locust."""
POLL_S = 0.5
ORPHANS_WITHIN_S = 90.0
"""How long workers without a master may take to clear before they are killed and swept."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.usage = "harness run [LOCUSTFILE] [OPTIONS] [-- LOCUST OPTIONS]"
    parser.description = (
        "Run a locustfile's guests against a target, show how it goes, and end with a verdict and "
        "a report. Without a target the embedded simulator is started for the run."
    )
    parser.epilog = (
        "stopping: Ctrl-C once lets conversations finish and clears what is open; a second time\n"
        "clears at once; a third time leaves and says how to sweep.\n\n"
        "examples:\n"
        "  harness run\n"
        "  harness run locustfiles/smoke.py -u 5 -t 20s\n"
        "  harness run locustfiles/launch.py --processes 2 --sim-fault ignore_clear=0.05\n"
        "  harness run locustfiles/smoke.py --target 'ws://127.0.0.1:8080/v1?deploymentId=UUID'\n"
        "  harness run locustfiles/smoke.py -t 1m -- --loglevel DEBUG\n"
    )
    add = parser.add_argument
    add("locustfile", nargs="?", default=DEFAULT_FILE, metavar="LOCUSTFILE")
    add("--target", default="sim", help="sim, or ws(s)://host:port/v1?deploymentId=UUID")
    add("-u", "--users", type=int, metavar="N", help="slots: guests at a time, at most")
    add("-r", "--spawn-rate", type=float, metavar="N", help="slots started a second")
    add("-t", "--run-time", metavar="TIME", help="e.g. 60s, 20m, 8h")
    add(
        "--stop-timeout",
        default="15s",
        metavar="TIME",
        help="time for conversations to finish at the end (%(default)s)",
    )
    add("--processes", type=int, metavar="N", help="worker processes (-1: one a core)")
    add("--out", default="reports", metavar="DIR", help="folder for run directories")
    add("--ca-file", metavar="PEM", help="private CA of a wss target")
    add("--origin", metavar="ORIGIN", help="Origin header of the upgrade")
    add = parser.add_argument_group("embedded simulator (target sim)").add_argument
    add(
        "--sim-fault",
        action="append",
        default=[],
        metavar="NAME=P",
        help="switch on a fault (harness simulate --help lists them)",
    )
    add("--sim-tls", action="store_true", help="serve wss with a private CA")
    add("--sim-bot-delay", metavar="TIME", help="time the bot needs for an answer")
    add(
        "--sim-limits",
        default="off",
        choices=("off", "documented"),
        help="rate limits; off by default: launch.py is above the documented 1,000 connections/min",
    )
    add("--sim-seed", type=int, metavar="N", help="make the simulator repeatable")
    add("--keep-sim", action="store_true", help="leave the simulator running, to sweep afterwards")


def run(args: argparse.Namespace) -> int:
    """Everything in order; nothing is sent before all that can be checked has been."""
    console = Console()
    _check_numbers(args)
    plan = _inspect(args.locustfile)
    run_time_s = _run_time_s(args, plan)
    directory = make_run_directory(Path(args.out), new_run_id())
    simulator: EmbeddedSimulator | None = None
    try:
        if args.target == "sim":
            simulator = EmbeddedSimulator.start(*_simulator_options(args))
            target = parse_target(simulator.url, ca_file=simulator.ca_file)
        else:
            target = parse_target(args.target, ca_file=args.ca_file, origin=args.origin)
        _check_target(target)
        where = f"{args.locustfile} → {target.netloc}"
        console.print(f"run {directory.name}: {where}", highlight=False, soft_wrap=True)
        try:
            status, asked = _run_locust(args, target, directory, run_time_s, console)
            swept = None if asked >= len(STAGES) else _sweep_lost(directory, target, console)
        finally:
            truth = None if simulator is None else simulator.settle_down()
        return _conclude(directory, status, asked, truth, swept, console)
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


def _check_numbers(args: argparse.Namespace) -> None:
    for name in ("users", "spawn_rate"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise ConfigError(f"--{name.replace('_', '-')}: expected more than zero, got {value}")
    if args.processes is not None and (args.processes < -1 or args.processes == 0):
        raise ConfigError(f"--processes: expected one or more, or -1, got {args.processes}")


def _inspect(locustfile: str) -> dict[str, Any]:
    path = Path(locustfile)
    if not path.is_file():
        raise ConfigError(f"there is no locustfile {locustfile!r}")
    done = subprocess.run(
        [sys.executable, "-m", "harness.load.inspection", locustfile],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"{locustfile} can't be imported: {last}") from None
    if "error" in found:
        raise ConfigError(found["error"])
    return found


def _run_time_s(args: argparse.Namespace, plan: dict[str, Any]) -> float:
    if args.run_time is not None:
        run_time_s = seconds(args.run_time, "--run-time")
    elif plan["arrivals"] is not None:
        run_time_s = plan["arrivals"]["duration_s"] + 1  # Locust's clock starts before the guests
    else:
        run_time_s = 60.0
    if run_time_s < 1:
        raise ConfigError(f"--run-time: expected one second or more, got {args.run_time}")
    return run_time_s


def _simulator_options(args: argparse.Namespace) -> list[str]:
    options = ["--limits", args.sim_limits]
    for fault in args.sim_fault:
        options += ["--fault", fault]
    if args.sim_tls:
        options.append("--tls")
    if args.sim_bot_delay:
        options += ["--bot-delay", args.sim_bot_delay]
    if args.sim_seed is not None:
        options += ["--seed", str(args.sim_seed)]
    return options


def _check_target(target: Target) -> None:
    """Reachable, and willing to upgrade? An upgrade alone creates no session."""
    if not target.loopback:
        raise PreflightRefused(
            f"the target {target.netloc} is not on this machine: a real deployment needs an "
            "approved target and a preflight"
        )

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
        "HARNESS_TARGET": target.url,
        "HARNESS_CA_FILE": str(target.ca_file or ""),
        "HARNESS_ORIGIN": target.origin or "",
        "HARNESS_REPORTS": str(directory.parent),
        "HARNESS_RUN_ID": directory.name,
        "HARNESS_SUPERVISED": "1",
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
    with (directory / "locust.log").open("wb") as log:
        locust = subprocess.Popen(
            command + args.rest,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and we hand it on in stages
        )
    progress = Progress(directory, run_time_s=run_time_s)
    with shown(progress, console) as display:
        stages = Stages(locust, directory.name, display.say)
        with stages:
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
    status: int,
    asked: int,
    truth: dict[str, Any] | None,
    swept: dict[str, Any] | None,
    console: Console,
) -> int:
    if not (directory / START).exists():
        raise ConfigError(_why_locust_failed(directory))
    incomplete = ""
    if status < 0:
        incomplete = f"Locust was ended by {signal.Signals(-status).name}"
    elif asked:
        write_start(directory, stopped_by_hand=True)
    try:
        record = build_record(directory, incomplete=incomplete)
        if truth is not None:
            _add_truth(record, truth, directory)
    except HarnessError as error:
        record = record_of_nothing(directory, str(error))
    record["sweep"] = swept
    try:
        write_record(directory, record)
        report = str(write_reports(directory)[0])
        point_latest(directory)
    except OSError as error:  # the disk is full, or the folder is gone
        report = f"can't be written: {error.strerror or error}"
        record["exit_code"] = record["exit_code"] or int(ExitCode.INVALID)
    show_summary(record, console, report=report)
    return int(record["exit_code"])


def _add_truth(record: dict[str, Any], truth: dict[str, Any], directory: Path) -> None:
    """The simulator's own count beside ours. What it has open, the ledger must list."""
    record["simulator"] = {**truth["sessions"], "conversations": truth["conversations"]}
    unlisted = set(truth["open_tokens"]) - {left.token for left in read_leftovers(directory)}
    if unlisted:
        record["verdict"] = str(Verdict.INVALID)
        record["exit_code"] = int(EXIT_CODES[Verdict.INVALID])
        record["reasons"].append(
            f"the simulator has {len(unlisted)} open sessions that the ledger does not list"
        )


def _why_locust_failed(directory: Path) -> str:
    log = (directory / "locust.log").read_text(errors="replace").strip().splitlines()
    told = [line for line in log if line.startswith("error: ")]
    if told:
        return told[-1].removeprefix("error: ")
    last = log[-1] if log else "it said nothing"
    return f"Locust ended before the run began: {last} (see {directory / 'locust.log'})"
