"""A sweep of one run, with what it says meanwhile, and what it puts into the run's record."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.clock import monotonic_ns
from harness.config.target import Target
from harness.errors import ConfigError
from harness.guest.outcomes import Ending
from harness.guest.settings import GuestSettings
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
    sweep,
    sweep_by_platform,
)
from harness.rundir.layout import RunDirectory
from harness.units import duration_text

LAGS = 3
"""So many times the lag that the preflight's guest met: it is not the same for each."""


TELL_EVERY_S = 5.0
"""Where no bar can be drawn, a line so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOrder:
    """How runs are to be swept."""

    per_second: float
    """new connections at most"""
    deadline_s: float
    sign_ins: tuple[str, ...] = ()
    """JWTs of signed-in guests, who can't be resumed without their own"""
    derive: bool = False
    """also try tokens that a damaged ledger can't show"""
    platform: bool = False
    """disconnect over the Platform API what is left"""
    effect_s: float | None = None
    """how long the effect of that is waited for; None: as the preflight has learnt"""
    api_url: str | None = None
    login_url: str | None = None
    dry_run: bool = False


def sweep_run(directory: Path, order: SweepOrder, console: Console) -> int:
    """End what one run has left behind, or say what would be done; how many are left."""
    damaged = 0 if order.dry_run else _look_for_more(directory, order, console)
    found = find_leftovers([directory])
    if not found:
        if not read_account(directory).damaged:
            console.print(f"{directory.name}: nothing to do")
        return damaged
    target = target_of(directory)
    if order.dry_run:
        took = duration_text(len(found) / order.per_second)
        console.print(
            f"{directory.name}: would end {len(found):,} sessions at {target.netloc}, "
            f"in {took} at least"
        )
        return len(found)
    left = _by_guests(directory, found, target, order, console)
    if left and order.platform:
        left = _by_platform(directory, target, order, console)
    return damaged + left


def refuse_read_only(directory: Path) -> None:
    """What can't be noted would be swept again and again, and never be known to be ended."""
    for path in (directory, *RunDirectory(directory).ledgers()):
        if not os.access(path, os.W_OK):
            raise ConfigError(
                f"{path} can't be written to: what is ended could not be noted. Copy the run's "
                "directory to where it can, and sweep the copy"
            )


def _look_for_more(
    directory: Path,
    order: SweepOrder,
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
    if order.derive:
        target = target_of(directory)
        result = sweep_derived(
            directory,
            GuestSettings(target=target, tls=target.tls_context()),
            per_second=order.per_second,
            deadline_s=order.deadline_s,
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


def _by_platform(directory: Path, target: Target, order: SweepOrder, console: Console) -> int:
    api = open_api(
        directory,
        target,
        credentials_of(directory),
        api_url=order.api_url,
        login_url=order.login_url,
    )
    span, learned = span_of(directory), learned_of(directory)
    effect_s = EFFECT_WITHIN_S if order.effect_s is None else order.effect_s
    if order.effect_s is None and learned.direct_shown is False:
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


def _by_guests(
    directory: Path,
    found: list[Leftover],
    target: Target,
    order: SweepOrder,
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
            per_second=order.per_second,
            deadline_s=order.deadline_s,
            on_ending=on_ending,
            sign_ins=order.sign_ins,
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
