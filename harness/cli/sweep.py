"""``harness sweep``: end what a run left behind."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.cli.parsing import Command, Namespace, argument, option
from harness.cli.which_run import place_options, reports_option, take_runs
from harness.clock import monotonic_ns
from harness.config.target import Target
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.guest.outcomes import Ending
from harness.guest.settings import GuestSettings, read_sign_ins
from harness.judge.reading import sweep_block
from harness.ledger.reader import Leftover, read_account, set_aside
from harness.reconcile.derive import sweep_derived
from harness.reconcile.platform import (
    closed_roads,
    credentials_of,
    learned_of,
    note_afterwards,
    open_api,
    span_of,
    target_of,
)
from harness.reconcile.sweep import (
    EFFECT_WITHIN_S,
    SweepResult,
    find_leftovers,
    refuse_while_running,
    sweep,
    sweep_by_platform,
)
from harness.report.console import open_console
from harness.rundir.layout import RunDirectory
from harness.units import duration_text, rate_per_s, seconds

LAGS = 3
"""So many times the lag that the preflight's guest met: it is not the same for each."""
TELL_EVERY_S = 5.0
"""Where no bar can be drawn, a line so often."""


def run(args: Namespace) -> int:
    """Sweep run after run."""
    per_second = rate_per_s(args.rate, "--rate")
    deadline_s = seconds(args.deadline, "--deadline")
    if args.effect is not None:
        seconds(args.effect, "--effect")
    if per_second <= 0:
        raise ConfigError("--rate: expected more than zero")
    args.jwts = () if args.sign_ins is None else read_sign_ins(args.sign_ins)
    directories = take_runs(args, args.runs)
    refuse_while_running(directories, force=args.force)
    if not args.dry_run:
        for directory in directories:
            _refuse_read_only(directory)
    if args.platform:
        for directory in directories:
            credentials_of(directory)  # better missed now than after the first part
    console = open_console()
    left = 0
    for directory in directories:
        if not args.dry_run:
            left += _look_for_more(directory, args, per_second, deadline_s, console)
        found = find_leftovers([directory])
        if not found:
            if not read_account(directory).damaged:
                console.print(f"{directory.name}: nothing to do")
            continue
        target = target_of(directory)
        if args.dry_run:
            took = duration_text(len(found) / per_second)
            console.print(
                f"{directory.name}: would end {len(found):,} sessions at {target.netloc}, "
                f"in {took} at least"
            )
            left += len(found)
            continue
        still = _sweep(directory, found, target, per_second, deadline_s, args.jwts, console)
        if still and args.platform:
            still = _by_platform(directory, target, args, console)
        left += still
    return ExitCode.LEFTOVERS if left else ExitCode.PASS


def _refuse_read_only(directory: Path) -> None:
    """What can't be noted would be swept again and again, and never be known to be ended."""
    for path in (directory, *RunDirectory(directory).ledgers()):
        if not os.access(path, os.W_OK):
            raise ConfigError(
                f"{path} can't be written to: what is ended could not be noted. Copy the run's "
                "directory to where it can, and sweep the copy"
            )


def _look_for_more(
    directory: Path,
    args: Namespace,
    per_second: float,
    deadline_s: float,
    console: Console,
) -> int:
    """Set damaged files aside and, if asked to, try what they hide; 1 if they may hide some."""
    for path in RunDirectory(directory).ledgers():
        kept = set_aside(path)
        if kept is not None:
            console.print(
                f"{path.name} is damaged: what can be read is used; it is kept as {kept.name}",
                style="yellow",
                soft_wrap=True,
            )
    if args.derive:
        target = target_of(directory)
        result = sweep_derived(
            directory,
            GuestSettings(target=target, tls=target.tls_context()),
            per_second=per_second,
            deadline_s=deadline_s,
        )
        console.print(
            f"{directory.name}: {result.tried:,} derived tokens tried, {result.alive:,} were alive "
            f"and are cleared, {result.unproved:,} could not be asked"
            + (", stopped at the deadline" if result.stopped else ""),
            soft_wrap=True,
        )
        block = sweep_block(result.alive, result.unproved, by="harness sweep --derive")
        note_afterwards(directory, "sweep", block, console)
    damaged = read_account(directory).damaged
    if damaged:
        console.print(
            f"{directory.name}: a damaged ledger file may hide sessions: try them with --derive",
            style="red",
            soft_wrap=True,
        )
    return int(bool(damaged))


def _by_platform(directory: Path, target: Target, args: Namespace, console: Console) -> int:
    api = open_api(
        directory, target, credentials_of(directory), api_url=args.api_url, login_url=args.login_url
    )
    span, learned = span_of(directory), learned_of(directory)
    effect_s = EFFECT_WITHIN_S if args.effect is None else seconds(args.effect, "--effect")
    if args.effect is None and learned.direct_shown is False:
        effect_s = max(effect_s, LAGS * (learned.analytics_ends_s or 0.0))
    waited = duration_text(effect_s)
    result = sweep_by_platform(
        find_leftovers([directory]),
        api,
        directory.name,
        start=span.start,
        searched_until=span.began_until,
        end=span.end,
        within_s=effect_s,
        closed=closed_roads(learned),
    )
    api.close()
    for count, words in (
        (
            result.disconnected,
            "conversations were disconnected; their sessions lapse by themselves",
        ),
        (result.over_already, "had ended for the guest already, says the Platform API"),
        (result.still_open, f"are still open {waited} after they were disconnected"),
        (
            result.not_told,
            f"were disconnected, and the service did not show their end within {waited}",
        ),
        *((count, f"could not be disconnected: {why}") for why, count in result.refused.items()),
        (result.not_found, "have no conversation that the Platform API knows"),
    ):
        if count:
            console.print(f"  {count:>6,}  {words}", highlight=False, soft_wrap=True)
    left = len(find_leftovers([directory]))
    block = sweep_block(result.settled, left, by="harness sweep --platform")
    note_afterwards(directory, "sweep", block, console)
    console.print(f"{directory.name}: {left:,} left", style="bold")
    return left


def _sweep(
    directory: Path,
    found: list[Leftover],
    target: Target,
    per_second: float,
    deadline_s: float,
    sign_ins: tuple[str, ...],
    console: Console,
) -> int:
    settings = GuestSettings(target=target, tls=target.tls_context())
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task(f"sweeping {directory.name}", total=len(found))
        done, told_ns = 0, monotonic_ns()

        def on_ending(_: Leftover, __: Ending) -> None:
            nonlocal done, told_ns
            done += 1
            progress.advance(bar)
            if not console.is_terminal and monotonic_ns() - told_ns > TELL_EVERY_S * 1e9:
                told_ns = monotonic_ns()
                console.print(f"sweeping {directory.name}: {done:,} of {len(found):,}")

        result = sweep(
            found,
            settings,
            per_second=per_second,
            deadline_s=deadline_s,
            on_ending=on_ending,
            sign_ins=sign_ins,
        )
    for ending, count in result.endings.most_common():
        console.print(f"  {count:>6,}  {ENDINGS[ending]}", style="" if ending.proof else "red")
    if result.unreached:
        console.print(f"  {result.unreached:>6,}  not tried before the deadline", style="red")
    note_afterwards(directory, "sweep", _block(result), console)
    line = f"{directory.name}: {result.settled:,} of {result.found:,} proved ended"
    console.print(f"{line}, {result.left:,} left", style="bold")
    return result.left


def _block(result: SweepResult) -> dict[str, Any]:
    endings = {str(ending): count for ending, count in result.endings.items()}
    return sweep_block(result.settled, result.left, by="harness sweep", endings=endings)


ENDINGS = {
    Ending.CLEARED: "were alive and are cleared now",
    Ending.GONE: "were over already: the service no longer knew them",
    Ending.EXPIRED: "are said to have expired, but no resume has shown it",
    Ending.REFUSED: "could not be cleared: the deployment has Clear Conversation switched off",
    Ending.RATE_LIMITED: "were refused by the service's rate limits; sweep again, more slowly",
    Ending.UNANSWERED: "did not answer",
    Ending.UNCONFIRMED: "were said to be cleared by an event that may have been another session's",
    Ending.CUT: "lost their connection before the proof",
    Ending.UNREACHABLE: "could not be reached: no connection to the service",
    Ending.SIGNED_IN: "are signed-in guests', whom the service only knows by a valid sign-in: give "
    "theirs with --sign-ins FILE, or else only --platform can end their conversations",
    Ending.ERROR: "were answered with an error",
}

COMMAND = Command(
    "sweep",
    run,
    [
        argument(
            "runs",
            many=True,
            metavar="RUN",
            help="run directory, run id, or 'latest'; several at once",
        ),
        reports_option(),
        option("--dry-run", flag=True, help="say what would be done"),
        option("--rate", default="10/s", help="new connections at most, e.g. 10/s or 600/min"),
        option("--deadline", default="30m", metavar="TIME", help="give up after this"),
        option(
            "--derive",
            flag=True,
            help=(
                "also try tokens that a lost or damaged ledger can't show, made again from the "
                "run's secret"
            ),
        ),
        option(
            "--sign-ins",
            type=Path,
            metavar="FILE",
            help=(
                "JWTs of signed-in guests, one a line: only with its own can such a session be "
                "resumed and cleared"
            ),
        ),
        option(
            "--platform",
            flag=True,
            help=(
                "disconnect what is left over the Platform API "
                "(HARNESS_CLIENT_ID and HARNESS_CLIENT_SECRET in the environment, or the variables "
                "that the target names)"
            ),
        ),
        option(
            "--effect",
            metavar="TIME",
            help=(
                "how long the effect of a disconnect is waited for (1m, or longer where the "
                "preflight saw that it shows later)"
            ),
        ),
        *place_options(),
        option("--force", flag=True, help="also when the run is still at work"),
    ],
    description=(
        "End the sessions that a run left behind: resume each with its token, send Clear, wait for "
        "the proof, and settle it in the ledger. Can be interrupted and repeated; the exit code is "
        "0 only when nothing is left."
    ),
    epilog=(
        "examples:\n"
        "  harness sweep latest\n"
        "  harness sweep latest --dry-run\n"
        "  harness sweep 20261122-231500-ab12 20261122-233000-cd34 --rate 5/s\n"
    ),
)
