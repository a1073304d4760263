"""One run: what it is asked for is checked, Locust runs it, and its end is shown.

What the start of a run does not need is imported where it is used: a run of the simulator begins
without the libraries of sockets, reports and figures.
"""

import secrets
import signal
import subprocess
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.config import run_config
from harness.config.run_config import SIMULATOR_NAME, RunConfig, Setting
from harness.config.target import Target, Terms, known_targets, parse_target, resolve_target
from harness.errors import ConfigError, ExitCode, TransportError
from harness.foreign import check_file
from harness.limits import MAY_BREAK, WOULD_BREAK
from harness.machine import Starter, starter, this_machine
from harness.preflight.guard import Intent, Rule, parse_overrides, permit
from harness.rundir.layout import (
    RunDirectory,
    make_run_directory,
    new_run_id,
    others_may_write,
    sweep_command,
    write_json,
)
from harness.streams import name_in_lines, open_console
from harness.supervise.children import (
    STAGES,
    EmbeddedSimulator,
    LocustProcess,
    Stages,
    check_listen,
    end_group,
    free_port,
    inherited_settings,
    reason_in,
)
from harness.supervise.parameters import (
    behaviour_of,
    length_of,
    parameters_of,
    playable,
    run_time_of,
    simulator_options,
    too_short,
)
from harness.supervise.progress import Display, Progress
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


def supervise(args: Namespace) -> int:
    """A run from its checks to its verdict; the exit code.

    Nothing is sent before all that can be checked has been. ``args`` are those of ``harness run``.
    """
    console, above = open_console(), starter()
    if args.occupancy is not None:
        args.users = args.occupancy
        args.spawn_rate = args.spawn_rate or max(1.0, args.occupancy / COME_WITHIN_S)
    overrides = parse_overrides(args.override)
    if args.slo is not None:
        from harness.judge.reading import no_objectives, read_objectives

        check_file(Path(args.slo), no_objectives(args.slo))
        read_objectives(Path(args.slo))
    if args.seed is None:
        args.seed = RunConfig.of_process().get(run_config.SEED) or secrets.randbelow(2**31)
    behaviour = behaviour_of(args)
    if args.master:
        check_listen(args.bind, args.master_port)
    if args.target == "sim":  # its guests know it by its URL, whose terms may be written
        known_targets(Path(args.targets))
    locustfile, script = playable(args.locustfile)
    with LocustProcess(locustfile, parameters_of(args), script) as locust:
        plan = locust.plan()
        run_time_s = run_time_of(args, plan)
        timeout_s = seconds(args.stop_timeout, "--stop-timeout")
        intent = Intent.of_plan(plan, users=args.users, stop_timeout_s=timeout_s)
        terms = None if args.target == "sim" else _terms(args, intent, run_time_s, overrides)
        room = _check_room(args, intent, run_time_s)
        directory = make_run_directory(args.reports, new_run_id())
        name_in_lines(lambda: (directory.name, "harness run"))
        # The locustfile that plays scripts says nothing of which one is played.
        name = args.name or (Path(args.locustfile).name if script else "")
        if name or args.note:
            label = {"name": name, "note": args.note or ""}
            write_json(RunDirectory(directory).label, label)
        try:
            with _target(args, terms, directory, console) as (target, simulator):
                what = args.locustfile if script else locustfile
                where = target.netloc if simulator is None else SIMULATOR_NAME
                _tell(console, f"run {directory.name}: {what} → {where}", style="")
                short = too_short(args, plan, run_time_s)
                for warning in (
                    short,
                    room,
                    others_may_write(args.reports),
                    *inherited_settings(plan),
                ):
                    _tell(console, warning)
                if plan["arrivals"] is not None:
                    _tell(console, plan["arrivals"]["warning"])
                _tell_breaks(plan, console, real=terms is not None)
                admin = "" if simulator is None else simulator.admin
                words = _words(args, locustfile, run_time_s)
                config = _config(args, target, directory, admin, behaviour)
                length_s = length_of(args, plan, run_time_s)
                ended = _run_locust(locust, words, config, directory, length_s, console, above)
                code = _conclude(directory, target, ended, admin, console)
                if simulator is not None and not args.keep_sim and code == ExitCode.LEFTOVERS:
                    _tell(console, ENDED_WITH_IT, style="")
                return code
        finally:
            _remove_if_refused(directory)


# Before.


def _terms(args: Namespace, intent: Intent, run_time_s: float, overrides: dict[Rule, str]) -> Terms:
    """The target's terms, when they permit this run. Raises PreflightRefused or ConfigError."""
    terms = resolve_target(
        args.target, Path(args.targets), ca_file=args.ca_file, origin=args.origin
    )
    allowed = permit(terms, intent, reports=args.reports, overrides=overrides)
    console = open_console()
    for entry in allowed.overridden:
        text = f"overridden: {entry['rule']} ({entry['reason']}): {entry['said']}"
        _tell(console, text, style="bold yellow")
    if allowed.stop_at is not None:
        left_s = allowed.stop_at.timestamp() - time.time()
        if run_time_s > left_s:
            _tell(
                console,
                f"the window ends before the run: it stops by itself at {allowed.stop_at:%H:%M:%S}",
            )
    return terms


def _check_room(args: Namespace, intent: Intent, run_time_s: float) -> str:
    """A sentence where the run takes much of the disk. Raises ConfigError when it won't fit."""
    if args.disk_guard == "off":
        return ""
    from harness.preflight.disk import check_room, forecast, notable

    out, processes = args.reports, args.processes or args.expect_workers or 1
    if processes < 0:
        processes = this_machine().cores
    expected = forecast(intent, duration_s=run_time_s, processes=processes)
    return notable(out, expected, check_room(out, expected))


@contextmanager
def _target(
    args: Namespace, terms: Terms | None, directory: Path, console: Console
) -> Iterator[tuple[Target, EmbeddedSimulator | None]]:
    """Where the guests go, and the simulator that is started for them where there are no terms.

    It is never stopped under a run: Locust has ended when the block has. Raises ConfigError.
    """
    if terms is not None:
        _check_target(terms.target)
        yield terms.target, None
        return
    log = RunDirectory(directory).simulator_log
    simulator = EmbeddedSimulator(*simulator_options(args), log=log, outlives_us=args.keep_sim)
    try:
        yield parse_target(simulator.start(), ca_file=simulator.ca_file), simulator
    finally:
        if args.keep_sim:
            where = f"{simulator.url} (pid {simulator.pid})"
            _tell(console, f"the simulator goes on at {where}", style="")
        else:
            simulator.stop()


def _check_target(target: Target) -> None:
    """Reachable, and willing to upgrade? An upgrade alone creates no session."""
    from harness.transport.websocket import probe

    try:
        probe(target)
    except TransportError as error:
        raise ConfigError(f"the target {target.netloc} can't be used: {error}") from error


def _tell_breaks(plan: Mapping[str, Any], console: Console, *, real: bool) -> None:
    """Limits that the guests' stories would break, or with their think times may break."""
    warnings = [f"{WOULD_BREAK}{sentence}" for sentence in plan["breaks"]]
    if real:  # the embedded simulator has no limits unless it is asked for them
        warnings += [f"{MAY_BREAK}{sentence}" for sentence in plan["may_break"]]
    if warnings:
        warnings.append("guests keep the limits by waiting, which is counted (paced)")
    for sentence in warnings:
        _tell(console, sentence)


def _tell(console: Console, sentence: str, *, style: str = "yellow") -> None:
    if sentence:
        console.print(sentence, style=style)


# During.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How Locust came to its end."""

    status: int
    stops: int
    """how often somebody has asked the run to stop"""
    orphans: bool
    """processes of its were left when its main process had ended, and had to be seen to"""
    begun: bool
    """the run's own files were seen"""


def _run_locust(
    process: LocustProcess,
    words: list[str],
    config: RunConfig,
    directory: Path,
    length_s: float,
    console: Console,
    above: Starter | None,
) -> _Ended:
    """Locust to its end, which it makes by itself should we die before it."""
    files = RunDirectory(directory)
    progress = Progress(directory, run_time_s=length_s)
    display = closing(Display(progress, console))
    with display as shown, Stages(directory, shown.say) as stages:
        file = write_json(files.config, config.values)
        locust = process.begin(words, config=file, log=files.locust_log)
        begun = False
        stages.begin(locust)
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    status = locust.wait(POLL_S)
                    break
                begun = begun or files.start.exists()
                if above is not None and above.gone:
                    stages.end()  # whoever has had us run it is gone
        finally:
            if locust.poll() is None:  # a mistake of ours must not leave it running
                stages.end()
                locust.wait()
        orphans = stages.stops < len(STAGES) and end_group(
            locust.pid, within_s=ORPHANS_WITHIN_S, say=shown.say
        )
    return _Ended(status=status, stops=stages.stops, orphans=orphans, begun=begun)


def _words(args: Namespace, locustfile: str, run_time_s: float) -> list[str]:
    """Locust's command line."""
    words = [
        "-f", locustfile, "--headless", "--only-summary", "--run-time", f"{run_time_s:.0f}s",
        "--stop-timeout", f"{seconds(args.stop_timeout, '--stop-timeout'):g}",
    ]  # fmt: skip
    if args.users:
        words += ["--users", str(args.users)]
    if args.spawn_rate or args.users:
        words += ["--spawn-rate", f"{args.spawn_rate or args.users:g}"]
    if args.processes:
        # A port of its own, on loopback: two runs at once must not take each other's workers.
        port = free_port()
        words += ["--processes", str(args.processes), "--master-bind-host", "127.0.0.1"]
        words += ["--master-bind-port", port, "--master-port", port]
    if args.master:
        words += [
            "--master", "--expect-workers", str(args.expect_workers),
            "--expect-workers-max-wait", f"{seconds(args.workers_within, '--workers-within'):.0f}",
            "--master-bind-host", args.bind, "--master-bind-port", str(args.master_port),
        ]  # fmt: skip
    return words + list(args.rest)


def _config(
    args: Namespace,
    target: Target,
    directory: Path,
    simulator: str,
    behaviour: Mapping[str, str],
) -> RunConfig:
    """What Locust's process is handed as a whole: the options, and the variables of ours."""
    settings: dict[Setting, object] = {
        run_config.TARGET: target.url if args.target == "sim" else args.target,
        run_config.TARGETS: args.targets,
        run_config.OVERRIDE: ";".join(args.override),
        run_config.CA_FILE: target.ca_file,
        run_config.ORIGIN: target.origin,
        run_config.REPORTS: directory.parent,
        run_config.RUN_ID: directory.name,
        run_config.SLO: args.slo,
        run_config.DISK_GUARD: args.disk_guard,
        run_config.WARM_UP: args.warm_up,
        run_config.CONFIDENT: "on" if args.confident else "off",
        run_config.LOG_FORMAT: args.log_format,
    }
    # Where these are not given, the variables of our own environment hold.
    also = {
        run_config.TERM_GRACE: args.term_grace,
        run_config.METRICS_PORT: args.metrics_port,
        run_config.SIMULATOR: simulator,
    }
    settings |= {one: value for one, value in also.items() if value}
    values = {one.variable: value for one, value in settings.items()}
    return RunConfig.of_process().with_values({**values, **behaviour, **parameters_of(args)})


# After.


def _conclude(
    directory: Path, target: Target, ended: _Ended, simulator: str, console: Console
) -> int:
    """Show the end that Locust has made of the run; make it where it could not."""
    files = RunDirectory(directory)
    if not (files.start.exists() or files.record.is_file()):
        if ended.begun or not files.locust_log.is_file():
            return _conclude_without_files(directory, ended, console)
        if ended.stops:
            console.print("stopped by hand before the run began; nothing was sent")
            return int(ExitCode.INTERRUPTED)
        log = files.locust_log
        failed = "Locust ended before the run began"
        raise ConfigError(
            reason_in(log, lambda last: f"{failed}: {last or 'it said nothing'} (see {log})")
        )
    from harness.finish import finish_run, finished_before

    killed = ended.status < 0
    finished = None if killed or ended.orphans else finished_before(directory)
    if finished is None:
        incomplete = f"Locust was ended by {signal.Signals(-ended.status).name}" if killed else ""
        finished = finish_run(
            directory,
            target,
            incomplete=incomplete,
            sweep=ended.stops < len(STAGES),
            simulator=simulator,
            say=partial(_tell, console, style="bold"),
        )
    finished.show(console)
    return finished.exit_code


WITHOUT_FILES = (ExitCode.LEFTOVERS, ExitCode.UNKNOWN, ExitCode.INVALID)
"""What Locust's process can rightly say of a run whose files it could not find any more."""


def _conclude_without_files(directory: Path, ended: _Ended, console: Console) -> int:
    """Somebody has moved or deleted the run's directory under it: guests may have been there."""
    ledgers = RunDirectory(directory).ledger("*")
    console.print(
        f"verdict  INVALID: the run's files were moved or deleted while it went on, so its record "
        f"could not be written. Its ledgers were {ledgers}: bring the directory back, and end what "
        f"is left with: {sweep_command(directory)}",
        style="bold red",
    )
    return ended.status if ended.status in WITHOUT_FILES else int(ExitCode.INVALID)


def _remove_if_refused(directory: Path) -> None:
    """A folder in which nothing was begun is not left behind."""
    with suppress(OSError):
        files = RunDirectory(directory)
        ours = {files.simulator_log, files.label, files.config}
        if set(directory.iterdir()) <= ours:
            for path in ours:
                path.unlink(missing_ok=True)
            directory.rmdir()
