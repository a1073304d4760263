"""``harness run``: simulator if asked for, Locust as a process, progress, report, verdict."""

import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.cli.parsing import Command, Namespace
from harness.cli.run_options import (
    PARAMS,
    asked_of,
    check_numbers,
    conduct_of,
    run_time_of,
    simulator_options,
)
from harness.config.guard import Intent, Rule, parse_overrides
from harness.config.run_config import (
    CA_FILE,
    CONFIDENT,
    DISK_GUARD,
    METRICS_PORT,
    ORIGIN,
    OVERRIDE,
    REPORTS,
    RUN_ID,
    SIMULATOR,
    SLO,
    TARGET,
    TARGETS,
    TERM_GRACE,
    WARM_UP,
    RunConfig,
    Setting,
    child_environment,
)
from harness.config.target import Target, Terms, parse_target, resolve_target
from harness.errors import ConfigError, TransportError
from harness.exit_codes import ExitCode
from harness.finish import finish_run, finished_before
from harness.judge.reading import read_objectives
from harness.machine import this_machine
from harness.preflight.disk import check_room, forecast, notable
from harness.preflight.stamp import permit
from harness.processes import Lifeline, Starter, starter
from harness.rundir.layout import (
    RunDirectory,
    make_run_directory,
    new_run_id,
    others_may_write,
    write_json,
)
from harness.streams import open_console
from harness.supervise.locustfiles import playable
from harness.supervise.progress import Progress, shown
from harness.supervise.run_process import EmbeddedSimulator, inspect_locustfile, told_settings
from harness.supervise.stages import STAGES, Stages, end_group, free_port
from harness.transport.websocket import probe
from harness.units import seconds

POLL_S = 0.5
COME_WITHIN_S = 10
"""Guests of an occupancy come one by one: all in the same second would stay in step."""
ENDED_WITH_IT = (
    "the simulator ends with the run, and what is open in it too: with --keep-sim it stays, "
    "to rehearse a sweep"
)
ORPHANS_WITHIN_S = 90.0
"""How long workers without a master may take to clear before they are killed and swept."""


def run(args: Namespace) -> int:
    """Everything in order; nothing is sent before all that can be checked has been."""
    console, above = open_console(), starter()
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
    file = args.locustfile
    args.locustfile, script = playable(file)
    plan = inspect_locustfile(args.locustfile, asked_of(args), script)
    run_time_s = run_time_of(args, plan)
    terms = None if args.target == "sim" else _terms(args, plan, run_time_s, overrides)
    room = _check_room(args, plan, run_time_s)
    directory = make_run_directory(args.reports, new_run_id())
    if args.name or args.note:
        label = {"name": args.name or "", "note": args.note or ""}
        write_json(RunDirectory(directory).label, label)
    simulator: EmbeddedSimulator | None = None
    try:
        if terms is None:
            log = RunDirectory(directory).simulator_log
            options = simulator_options(args)
            simulator = EmbeddedSimulator(*options, log=log, outlives_us=args.keep_sim)
            target = parse_target(simulator.start(), ca_file=simulator.ca_file)
        else:
            target = terms.target
        _check_target(target)
        where = f"{file if script else args.locustfile} → {target.netloc}"
        console.print(f"run {directory.name}: {where}", highlight=False, soft_wrap=True)
        for warning in filter(None, (room, others_may_write(args.reports), *told_settings(plan))):
            console.print(warning, style="yellow", highlight=False, soft_wrap=True)
        _tell_breaks(plan, console, real=terms is not None)
        admin = "" if simulator is None else simulator.admin
        came = _run_locust(args, script, target, directory, run_time_s, admin, console, above)
        code = _conclude(directory, target, came, admin, console)
        if simulator is not None and not args.keep_sim and code == ExitCode.LEFTOVERS:
            console.print(ENDED_WITH_IT, highlight=False, soft_wrap=True)
        return code
    finally:
        # Locust has ended, whatever has happened: the simulator is never stopped under a run.
        if simulator is not None:
            if args.keep_sim:
                where = f"{simulator.url} (pid {simulator.pid})"
                console.print(f"the simulator goes on at {where}", highlight=False, soft_wrap=True)
            else:
                simulator.stop()
        _remove_if_refused(directory)


# Before.


def _terms(
    args: Namespace,
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


def _check_room(args: Namespace, plan: dict[str, Any], run_time_s: float) -> str:
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


def _be_a_worker(args: Namespace) -> int:
    """Be Locust's worker until the master lets go; what to do comes from there."""
    args.locustfile, script = playable(args.locustfile)
    inspect_locustfile(args.locustfile, asked_of(args), script)
    command = [
        sys.executable, "-m", "locust", "-f", args.locustfile, "--worker",
        "--master-host", args.master_host, "--master-port", str(args.master_port),
    ]  # fmt: skip
    if args.processes:
        command += ["--processes", str(args.processes)]
    os.execve(sys.executable, command + args.rest, child_environment({**asked_of(args), **script}))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Came:
    """How Locust came to its end."""

    status: int
    asked: int
    """how often somebody has asked the run to stop"""
    orphans: bool
    """processes of its were left when its main process had ended, and had to be seen to"""


def _run_locust(
    args: Namespace,
    script: dict[str, str],
    target: Target,
    directory: Path,
    run_time_s: float,
    simulator: str,
    console: Console,
    above: Starter | None,
) -> _Came:
    """Locust as a process, to its end, which it makes by itself should we die before it."""
    progress = Progress(directory, run_time_s=run_time_s)
    with (
        shown(progress, console) as display,
        Lifeline() as lifeline,
        Stages(directory, display.say) as stages,
    ):
        asked = _asked(args, target, directory, simulator)
        config = write_json(RunDirectory(directory).config, asked.given)
        with RunDirectory(directory).locust_log.open("wb") as log:
            locust = subprocess.Popen(
                _command(args, run_time_s),
                env={**child_environment(config=config), **script, **lifeline.environment},
                pass_fds=lifeline.fds,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone: we hand it on in stages
            )
        lifeline.started()
        stages.begin(locust)
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    status = locust.wait(POLL_S)
                    break
                if above is not None and above.gone:
                    stages.end()  # whoever has had us run it is gone
        finally:
            if locust.poll() is None:  # a mistake of ours must not leave it running
                stages.end()
                locust.wait()
        orphans = stages.asked < len(STAGES) and end_group(
            locust.pid, within_s=ORPHANS_WITHIN_S, say=display.say
        )
    return _Came(status=status, asked=stages.asked, orphans=orphans)


def _command(args: Namespace, run_time_s: float) -> list[str]:
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
            "--expect-workers-max-wait", f"{seconds(args.workers_within, '--workers-within'):.0f}",
            "--master-bind-host", args.bind, "--master-bind-port", str(args.master_port),
        ]  # fmt: skip
    return command + list(args.rest)


def _asked(args: Namespace, target: Target, directory: Path, simulator: str) -> RunConfig:
    """What Locust's process is handed as a whole: the options, and the variables of ours."""
    settings: dict[Setting, object] = {
        TARGET: target.url if args.target == "sim" else args.target,
        TARGETS: args.targets,
        OVERRIDE: ";".join(args.override),
        CA_FILE: target.ca_file,
        ORIGIN: target.origin,
        REPORTS: directory.parent,
        RUN_ID: directory.name,
        SLO: args.slo,
        DISK_GUARD: args.disk_guard,
        WARM_UP: args.warm_up,
        CONFIDENT: "on" if args.confident else "off",
    }
    if args.term_grace:
        settings[TERM_GRACE] = args.term_grace
    if args.metrics_port:
        settings[METRICS_PORT] = args.metrics_port
    if simulator:
        settings[SIMULATOR] = simulator
    given = {one.variable: value for one, value in settings.items()}
    return RunConfig.of_process().with_given({**given, **conduct_of(args), **asked_of(args)})


# After.


def _conclude(
    directory: Path, target: Target, came: _Came, simulator: str, console: Console
) -> int:
    """Show the end that Locust has made of the run; make it where it could not."""
    if not RunDirectory(directory).start.exists():
        if came.asked:
            console.print("stopped by hand before the run began; nothing was sent")
            return int(ExitCode.INTERRUPTED)
        raise ConfigError(_why_locust_failed(directory))
    killed = came.status < 0
    finished = None if killed or came.orphans else finished_before(directory)
    if finished is None:
        incomplete = f"Locust was ended by {signal.Signals(-came.status).name}" if killed else ""
        finished = finish_run(
            directory,
            target,
            incomplete=incomplete,
            sweep=came.asked < len(STAGES),
            simulator=simulator,
            say=partial(console.print, style="bold", highlight=False, soft_wrap=True),
        )
    finished.show(console)
    return finished.exit_code


def _why_locust_failed(directory: Path) -> str:
    log = RunDirectory(directory).locust_log.read_text(errors="replace").strip().splitlines()
    told = [number for number, line in enumerate(log) if line.startswith("error: ")]
    if told:
        reasons = takewhile(lambda line: line.startswith("  - "), log[told[-1] + 1 :])
        return "\n".join((log[told[-1]].removeprefix("error: "), *reasons))
    last = log[-1] if log else "it said nothing"
    return f"Locust ended before the run began: {last} (see {RunDirectory(directory).locust_log})"


def _remove_if_refused(directory: Path) -> None:
    """A folder in which nothing was begun is not left behind."""
    with suppress(OSError):
        files = RunDirectory(directory)
        ours = {files.simulator_log, files.label, files.config}
        if set(directory.iterdir()) <= ours:
            for path in ours:
                path.unlink(missing_ok=True)
            directory.rmdir()


COMMAND = Command(
    "run",
    run,
    PARAMS,
    description=(
        "Run a locustfile's guests against a target, show how it goes, and end with a verdict and "
        "a report. Without a target the embedded simulator is started for the run."
    ),
    epilog=(
        "stopping: Ctrl-C once lets conversations finish and clears what is open; a second time\n"
        "clears at once; a third time leaves and says how to sweep.\n\n"
        "examples:\n"
        "  harness run\n"
        "  harness run shop.yaml --rate 30/min --over 5m --name 'new menu'\n"
        "  harness run locustfiles/smoke.py -u 5 -t 20s\n"
        "  harness run locustfiles/launch.py --processes 2 --sim-fault ignore_clear=0.05\n"
        "  harness run locustfiles/smoke.py --target 'ws://127.0.0.1:8080/v1?deploymentId=UUID'\n"
        "  harness run locustfiles/load.py --rate 30/min --over 10m --slo objectives.toml\n"
        "  harness run locustfiles/smoke.py -t 1m -- --loglevel DEBUG\n"
    ),
    usage="harness run [LOCUSTFILE] [OPTIONS] [-- LOCUST OPTIONS]",
    takes_rest=True,
)
