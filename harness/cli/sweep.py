"""``harness sweep``: end what a run left behind."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.config import Target, parse_target
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.guest.failures import Ending
from harness.guest.settings import GuestSettings
from harness.ledger.leftovers import Leftover
from harness.reconcile.sweep import SweepResult, find_leftovers, refuse_while_running, sweep
from harness.report.afterwards import bring_up_to_date, sweep_block
from harness.report.opening import read_start
from harness.report.outputs import write_reports
from harness.report.rundir import resolve_run
from harness.units import duration_text, rate_per_s, seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "End the sessions that a run left behind: resume each with its token, send Clear, wait for "
        "the proof, and settle it in the ledger. Can be interrupted and repeated; the exit code is "
        "0 only when nothing is left."
    )
    parser.epilog = (
        "examples:\n"
        "  harness sweep latest\n"
        "  harness sweep latest --dry-run\n"
        "  harness sweep 20261122-231500-ab12 20261122-233000-cd34 --rate 5/s\n"
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="run directory, run id, or 'latest'; several at once"
    )
    parser.add_argument("--reports", default="reports", help="folder of run directories")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument(
        "--rate", default="10/s", help="new connections at most, e.g. 10/s or 600/min (%(default)s)"
    )
    parser.add_argument("--deadline", default="30m", help="give up after this (%(default)s)")
    parser.add_argument("--force", action="store_true", help="also when the run is still at work")


def run(args: argparse.Namespace) -> int:
    """Sweep run after run."""
    per_second = rate_per_s(args.rate, "--rate")
    deadline_s = seconds(args.deadline, "--deadline")
    if per_second <= 0:
        raise ConfigError("--rate: expected more than zero")
    directories = [resolve_run(text, Path(args.reports)) for text in args.runs]
    refuse_while_running(directories, force=args.force)
    console = Console()
    left = 0
    for directory in dict.fromkeys(directories):
        found = find_leftovers([directory])
        if not found:
            console.print(f"{directory.name}: nothing to do")
            continue
        target = _target_of(directory)
        if args.dry_run:
            took = duration_text(len(found) / per_second)
            console.print(
                f"{directory.name}: would end {len(found):,} sessions at {target.netloc}, "
                f"in {took} at least"
            )
            left += len(found)
            continue
        left += _sweep(directory, found, target, per_second, deadline_s, console)
    return ExitCode.LEFTOVERS if left else ExitCode.PASS


def _sweep(
    directory: Path,
    found: list[Leftover],
    target: Target,
    per_second: float,
    deadline_s: float,
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

        def on_ending(_: Leftover, __: Ending) -> None:
            progress.advance(bar)

        result = sweep(
            found,
            settings,
            per_second=per_second,
            deadline_s=deadline_s,
            on_ending=on_ending,
        )
    for ending, count in result.endings.most_common():
        console.print(f"  {count:>6,}  {ENDINGS[ending]}", style="" if ending.proof else "red")
    if result.unreached:
        console.print(f"  {result.unreached:>6,}  not tried before the deadline", style="red")
    bring_up_to_date(directory, "sweep", _block(result))
    write_reports(directory)
    line = f"{directory.name}: {result.settled:,} of {result.found:,} proved ended"
    console.print(f"{line}, {result.left:,} left", style="bold")
    return result.left


def _block(result: SweepResult) -> dict[str, Any]:
    endings = {str(ending): count for ending, count in result.endings.items()}
    return sweep_block(result.settled, result.left, by="harness sweep", endings=endings)


ENDINGS = {
    Ending.CLEARED: "were alive and are cleared now",
    Ending.GONE: "were over already: the service no longer knew them",
    Ending.EXPIRED: "had expired",
    Ending.REFUSED: "could not be cleared: the deployment has Clear Conversation switched off",
    Ending.RATE_LIMITED: "were refused by the service's rate limits; sweep again, more slowly",
    Ending.UNANSWERED: "did not answer",
    Ending.CUT: "lost their connection before the proof",
    Ending.UNREACHABLE: "could not be reached: no connection to the service",
    Ending.ERROR: "were answered with an error",
}


def _target_of(directory: Path) -> Target:
    start = read_start(directory)
    if "target" not in start:
        raise ConfigError(f"{directory / 'start.json'} does not say where the run's guests went")
    return parse_target(start["target"], ca_file=start.get("ca_file"), origin=start.get("origin"))
