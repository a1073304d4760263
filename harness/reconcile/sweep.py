"""Ends the leftovers of a run from the guest's side; ``harness sweep`` in all of its ways.

From the guest's side each session is resumed with its token and cleared. It is settled in its
ledger file as soon as the proof comes, so a second sweep, or one after an interruption, only does
the rest. At the end of a run the same is done for its processes that died.

The service may still carry out a configureSession that it has not answered, even after it has
proved the session's end. Such a proof counts only if it comes long enough after that request. So
such a session is ended at once, stays a leftover, and is tried again later. The sweep notes its own
requests in the ledger, too, before it sends them.

Where Clear can't end a session, its conversation can be disconnected from the operator's side: see
:func:`harness.reconcile.platform.sweep_by_platform`.
"""

import fcntl
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from rich.console import Console

from harness.clock import monotonic_ns, wall_ns
from harness.config.target import Target
from harness.errors import ConfigError, LedgerError, PlatformApiError
from harness.guest.clear import end_session, may_have_opened, stray_id_of, was_alive
from harness.guest.connection import Connection
from harness.guest.outcomes import Ending
from harness.guest.settings import LATE_WITHIN_S, GuestSettings
from harness.judge.reading import sweep_block
from harness.ledger.reader import (
    HEARTBEAT_FRESH_S,
    Leftover,
    note_asked,
    read_account,
    read_leftovers,
    read_process,
    read_processes,
    set_aside,
    settle,
    take_back,
)
from harness.measure.recorder import Recorder
from harness.reconcile.platform import (
    EFFECT_WITHIN_S,
    Disconnect,
    learned_of,
    long_enough_s,
    note_afterwards,
    open_search,
    sign_ins_of,
    sweep_by_platform,
    target_of,
)
from harness.reconcile.recover_tokens import Derived, sweep_derived
from harness.rundir.layout import RunDirectory
from harness.streams import TELL_EVERY_S
from harness.units import duration_text

MAX_AT_ONCE = 50
"""How many sessions are ended at the same time, at most."""
TRIES_PER_S = 50.0
"""New connections per second of the sweep that ends a run. The command has its own, lower rate,
because others may be using the service."""
DEADLINE_S = 120.0
CLOCK_SPARE_S = 0.05
"""A wait may end a moment early."""


@dataclass(slots=True, kw_only=True)
class SweepResult:
    """The result of a sweep: how many sessions ended in which way; ``left`` ones lack a proof."""

    total: int
    endings: Counter[Ending] = field(default_factory=Counter)
    unreached: int = 0
    """not tried before the deadline"""
    again_ns: int = 0
    """earliest wall-clock time (ns) at which a later sweep can settle the rest; 0 if none"""

    @property
    def settled(self) -> int:
        return sum(count for ending, count in self.endings.items() if ending.proof)

    @property
    def left(self) -> int:
        return self.total - self.settled

    def block(self, *, by: str) -> dict[str, Any]:
        """The sweep's section of the record."""
        endings = {str(ending): count for ending, count in self.endings.items()}
        return sweep_block(self.settled, self.left, by=by, endings=endings)


def refuse_while_running(run_dirs: Iterable[Path], *, force: bool) -> None:
    """Refuse to sweep a run that is going on, as this would end its guests' sessions: raises
    ConfigError."""
    for run_dir in run_dirs:
        alive = [process.worker for process in read_processes(run_dir).values() if process.alive]
        if alive and not force:
            raise ConfigError(
                f"the run {run_dir.name} is still going on ({', '.join(alive)}): stop it first, "
                "or use --force"
            )


@contextmanager
def only_sweep(run_dir: Path) -> Iterator[None]:
    """Let no other sweep of the run begin meanwhile. Raises ConfigError if one is going on.

    Of two at once one could settle a session by what the ledger said before the other asked for it:
    a request that is carried out late would open a session that nobody lists.
    """
    handle = os.open(run_dir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"the run {run_dir.name} is being swept already: wait for the end of that sweep"
            ) from None
        except OSError:
            pass  # a file system that knows no locks
        yield
    finally:
        os.close(handle)  # and with it the lock, as at the end of the process


def find_leftovers(run_dir: Path) -> list[Leftover]:
    """All leftovers of a run. Those that hold a conversation come first: they cost agents."""
    return sorted(read_leftovers(run_dir), key=lambda leftover: not leftover.holds_conversation)


def sweep(
    leftovers: list[Leftover],
    settings: GuestSettings,
    *,
    per_second: float = TRIES_PER_S,
    deadline_s: float = DEADLINE_S,
    on_ending: Callable[[], None] = lambda: None,
    on_wait: Callable[[int, float], object] = lambda *_: None,
    sign_ins: tuple[str, ...] = (),
    hurried: Event | None = None,
) -> SweepResult:
    """End each leftover on a connection of its own, at most ``per_second`` new ones a second.

    ``sign_ins`` are the JWTs of signed-in guests, in the order in which the run gave them out.
    Sessions with a proof are settled in their ledger. Raises LedgerError if that can't be written.

    A session that may still open is tried again when that is no longer possible, if the deadline
    allows it. ``on_wait`` is called with the number of such sessions and the wait (seconds).
    Once ``hurried`` is set, nothing is waited for: they stay leftovers.
    """
    work = _Sweep(
        settings=settings,
        sign_ins=sign_ins,
        on_ending=on_ending,
        deadline_ns=monotonic_ns() + int(deadline_s * 1e9),
        per_second=per_second,
        hurried=hurried or Event(),
    )
    return work.run(leftovers, on_wait)


@dataclass(slots=True, kw_only=True, repr=False)
class _Sweep:
    """The state of one sweep."""

    settings: GuestSettings
    sign_ins: tuple[str, ...]
    on_ending: Callable[[], None]
    deadline_ns: int
    per_second: float
    hurried: Event
    endings: Counter[Ending] = field(default_factory=Counter)
    unreached: int = 0
    not_before_ns: int = 0
    """before this time the service wants no connection (Retry-After of a refused upgrade)"""
    early: dict[Leftover, Ending] = field(default_factory=dict)
    """ended, but an unanswered request may still open them"""
    before: dict[Leftover, Ending] = field(default_factory=dict)
    """those of them that are tried again, with their first ending"""
    failures: list[LedgerError] = field(default_factory=list)
    recorder: Recorder = field(default_factory=Recorder)
    pool: Pool = field(default_factory=lambda: Pool(MAX_AT_ONCE))

    def run(
        self, leftovers: list[Leftover], on_wait: Callable[[int, float], object]
    ) -> SweepResult:
        """End them all; then, after a wait, try those again that might still have opened."""
        self._end_all(leftovers)
        last_ns = wall_ns() + self.deadline_ns - monotonic_ns()
        in_time = [leftover for leftover in self.early if self._over_ns(leftover) < last_ns]
        if in_time:
            wait_s = max(0, max(map(self._over_ns, in_time)) - wall_ns()) / 1e9 + CLOCK_SPARE_S
            self.before = {leftover: self.early.pop(leftover) for leftover in in_time}
            if not self.hurried.is_set():
                on_wait(len(in_time), wait_s)
            if self.hurried.wait(wait_s):
                self.early |= self.before
            else:
                self._end_all(in_time)
        for _ in self.early:
            self._count(Ending.NOT_YET)
        return SweepResult(
            total=len(leftovers),
            endings=self.endings,
            unreached=self.unreached,
            again_ns=max(map(self._over_ns, self.early), default=0),
        )

    def _end_all(self, leftovers: list[Leftover]) -> None:
        due = monotonic_ns()
        for number, leftover in enumerate(leftovers):
            gevent.sleep(max(0.0, (max(due, self.not_before_ns) - monotonic_ns()) / 1e9))
            if self.failures:
                break
            if monotonic_ns() >= self.deadline_ns:
                self.unreached += len(leftovers) - number
                break
            due = max(due + int(1e9 / self.per_second), monotonic_ns())
            self.pool.spawn(self._end, leftover)
        self.pool.join(raise_error=True)
        if self.failures:
            raise self.failures[0]

    def _end(self, leftover: Leftover) -> None:
        request_log = _RequestLog(leftover)
        # Checked before Clear is sent: its proof may arrive long after it was carried out.
        too_early = wall_ns() < self._over_ns(leftover)
        once = too_early and leftover.asked_once
        try:
            ending, alive = self._ask(leftover, request_log, once=once)
            if ending is Ending.GONE:
                ending = self.before.get(leftover, ending)
            if ending.proof:
                if too_early and not (alive and once):
                    request_log.take_back()
                    self.early[leftover] = ending
                    return
                settle(leftover, f"sweep: {ending}")
        except LedgerError as error:  # a greenlet that fails prints a traceback
            self.failures.append(error)
            gevent.spawn(self.pool.kill)  # further endings could not be noted
            return
        self._count(ending)

    def _ask(
        self, leftover: Leftover, request_log: "_RequestLog", *, once: bool
    ) -> tuple[Ending, bool]:
        """The session's ending, and whether it was still alive. Raises LedgerError.

        ``once``: its guest has sent one request that may still be carried out. If one of ours opens
        a session without being proved to have ended it, the ledger must not say so any more.
        """
        alive, opened, stray_id = False, False, ""
        while True:
            connection = Connection(
                self.settings, leftover.token, self.recorder, on_configure=request_log
            )
            likely = _likeliest(self.sign_ins, leftover)
            try:
                ending = end_session(
                    connection,
                    sign_ins=itertools.takewhile(
                        lambda _: monotonic_ns() < self.deadline_ns, likely
                    ),
                    stray_id=stray_id,
                )
            except LedgerError:
                connection.close()
                raise
            if not stray_id:  # what is alive after the first answer may be our own
                alive = was_alive(connection)
            if not connection.retry_after_s:
                opened = opened or (once and may_have_opened(connection))
                if not (ending.proof or opened or connection.unanswered(monotonic_ns())):
                    request_log.take_back()
                if ending is Ending.UNCONFIRMED and not stray_id:
                    stray_id = stray_id_of(connection)
                    if stray_id:
                        continue
                return Ending.CLEARED if alive and ending is Ending.GONE else ending, alive
            again_ns = monotonic_ns() + int(connection.retry_after_s * 1e9)
            self.not_before_ns = max(self.not_before_ns, again_ns)
            if again_ns >= self.deadline_ns:
                return ending, alive
            gevent.sleep(connection.retry_after_s)

    def _over_ns(self, leftover: Leftover) -> int:
        """From this wall-clock time on (ns) no request can open the session any more; 0: none can
        now."""
        asked_ns = leftover.asked_ns
        return asked_ns + int(self.settings.late_within_s * 1e9) if asked_ns else 0

    def _count(self, ending: Ending) -> None:
        self.endings[ending] += 1
        self.on_ending()


class _RequestLog:
    """Notes in the ledger that a sweep has sent a configureSession for a leftover."""

    __slots__ = ("_before", "_leftover")

    def __init__(self, leftover: Leftover) -> None:
        self._leftover = leftover
        self._before: tuple[str, int] | None = None

    def __call__(self, sending: bool) -> None:
        """A configureSession is about to be sent, or the wait for its answer is over."""
        if sending:
            before = note_asked(self._leftover)
            self._before = self._before or before

    def take_back(self) -> None:
        """All requests were answered: restore what the ledger said before."""
        if self._before is not None:
            take_back(self._leftover, self._before)


def _likeliest(sign_ins: tuple[str, ...], leftover: Leftover) -> Iterator[str]:
    """The guest's own sign-in first, very likely; then those of the guests who arrived shortly
    before and after it."""
    many = len(sign_ins)
    first, step = read_process(leftover.file).share if many else (0, 1)
    own = first + (leftover.row - 1) * step
    for distance in range(many):
        away = (distance + 1) // 2 * (1 if distance % 2 else -1)
        yield sign_ins[(own + away) % many]


def find_lost(run_dir: Path) -> tuple[list[str], list[Leftover]]:
    """The processes of a run that died without a proper end, and their leftovers.

    Only processes that have certainly stopped: the others end their own sessions.

    A process on another machine that has not reported its end is waited for until its last
    heartbeat is too old.
    """
    _await_silence(run_dir)
    lost = {
        path: process.worker
        for path, process in read_processes(run_dir).items()
        if not (process.ended or process.alive)
    }
    return list(lost.values()), [left for left in find_leftovers(run_dir) if left.file in lost]


def _await_silence(run_dir: Path) -> None:
    """Wait until no process on another machine seems alive, at most as long as a heartbeat is
    valid."""
    deadline = monotonic_ns() + int((HEARTBEAT_FRESH_S + 1) * 1e9)
    while monotonic_ns() < deadline:
        processes = read_processes(run_dir).values()
        if not any(process.alive and not process.here for process in processes):
            return
        gevent.sleep(0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOrder:
    per_second: float
    """new connections at most"""
    deadline_s: float
    late_within_s: float = LATE_WITHIN_S
    """how long after it was sent an unanswered configureSession may still open a session"""
    sign_ins: tuple[str, ...] = field(default=(), repr=False)
    """JWTs of signed-in guests, who can only be resumed with their own; empty: those of the run"""
    swept_too: frozenset[str] = frozenset()
    """workers whose own ledgers are swept as well (see :func:`owners`)"""
    derive: bool = False
    """also try tokens that are in no ledger here"""
    platform: bool = False
    """disconnect the remaining conversations over the Platform API"""
    effect_s: float | None = None
    """how long to wait for the effect of that; None: as long as the preflight has learnt"""
    api_url: str | None = None
    login_url: str | None = None
    dry_run: bool = False


def owners(directories: Iterable[Path]) -> frozenset[str]:
    """The workers whose own ledgers, and not only a master's copies, are in these runs."""
    processes = (process for run in directories for process in read_processes(run).values())
    return frozenset(process.worker for process in processes if not process.copy)


def sweep_run(directory: Path, order: SweepOrder, console: Console) -> int:
    """End the leftovers of one run, or say what would be done; returns how many are left."""
    with nullcontext() if order.dry_run else only_sweep(directory):
        return _sweep_run(directory, order, console)


def _sweep_run(directory: Path, order: SweepOrder, console: Console) -> int:
    tell = partial(console.print, style="yellow", soft_wrap=True)
    sign_ins = order.sign_ins or sign_ins_of(directory, tell)
    hidden = _look_for_more(directory, order, sign_ins, console)
    leftovers = find_leftovers(directory)
    if not leftovers:
        if not hidden:
            console.print(f"{directory.name}: nothing to do")
        return hidden
    target = target_of(directory)
    if order.dry_run:
        took = duration_text(len(leftovers) / order.per_second)
        console.print(
            f"{directory.name}: would end {len(leftovers):,} sessions at {target.netloc}, "
            f"in {took} at least"
        )
        return hidden + len(leftovers)
    left = _by_guests(directory, leftovers, target, order, sign_ins, console)
    if left and order.platform:
        try:
            left = _by_platform(directory, order, console)
        except PlatformApiError as error:  # they are still left, and other runs may be swept
            tell(f"{directory.name}: {error}; {left:,} left")
    return hidden + left


def refuse_read_only(directory: Path) -> None:
    """Refuse a ledger that can't be written: the ended sessions would stay leftovers. Raises
    ConfigError."""
    for path in (directory, *RunDirectory(directory).ledgers()):
        if not os.access(path, os.W_OK):
            raise ConfigError(
                f"{path} can't be written: the end of a session could not be noted. Copy the "
                "run's directory to a place where it can be written, and sweep the copy"
            )


def _look_for_more(
    directory: Path, order: SweepOrder, sign_ins: tuple[str, ...], console: Console
) -> int:
    """Set damaged files aside and, with ``derive``, try the tokens that they may hide. Returns 1 if
    they may still hide sessions.

    A dry run changes nothing.
    """
    say = partial(console.print, soft_wrap=True)
    name = directory.name
    said_ns = monotonic_ns()

    def on_try(result: Derived) -> None:
        nonlocal said_ns
        if monotonic_ns() - said_ns > TELL_EVERY_S * 1e9:
            said_ns = monotonic_ns()
            say(f"{name}: {result.tried:,} derived tokens tried, {result.alive:,} were alive")

    for path in () if order.dry_run else RunDirectory(directory).ledgers():
        if (kept := set_aside(path)) is not None:
            damaged = f"{path.name} is damaged: what can be read is used; it is kept as {kept.name}"
            say(damaged, style="yellow")
    if order.derive and not order.dry_run:
        target = target_of(directory)
        result = sweep_derived(
            directory,
            _settings(target, order),
            per_second=order.per_second,
            deadline_s=order.deadline_s,
            sign_ins=sign_ins,
            on_try=on_try,
            on_wait=lambda wait_s: say(
                f"{name}: the workers' last requests may still be carried out: waiting "
                f"{duration_text(wait_s)} before trying tokens"
            ),
        )
        say(
            f"{name}: {result.tried:,} derived tokens tried, {result.alive:,} were alive and are "
            f"cleared, {result.unproved:,} could not be asked"
            f"{', stopped at the deadline' if result.stopped else ''}"
        )
        for worker in result.without_secret:
            say(
                f"{name}: the secret of {worker} is gone with its ledger: its tokens can't be "
                "derived. Sweep that machine's own copy of the run",
                style="red",
            )
        block = sweep_block(result.alive, result.unproved, by="harness sweep --derive")
        note_afterwards(directory, "sweep", block, console)
    account = read_account(directory)
    cut_off = sorted(set(account.cut_off) - order.swept_too)
    if cut_off:
        say(
            f"{name}: {', '.join(cut_off)} did not end properly: sessions opened in the last "
            "seconds may be missing here. Sweep that machine's own copy of the run together with "
            "this one, or try the tokens with --derive",
            style="red",
        )
    if account.damaged:
        hides = "a ledger file that is damaged or gone may hide sessions: try them with --derive"
        say(f"{name}: {hides}", style="red")
    return int(bool(account.damaged or cut_off))


def waiting_words(many: int, wait_s: float) -> str:
    """The sentence that is shown while a sweep waits."""
    sessions = "session has" if many == 1 else "sessions have"
    return (
        f"waiting {duration_text(wait_s)}: {many:,} {sessions} an unanswered open request and may "
        "still open"
    )


def _settings(target: Target, order: SweepOrder) -> GuestSettings:
    return GuestSettings(target=target, tls=target.tls_context(), late_within_s=order.late_within_s)


def _by_platform(directory: Path, order: SweepOrder, console: Console) -> int:
    learned = learned_of(directory)
    effect_s = EFFECT_WITHIN_S if order.effect_s is None else order.effect_s
    if order.effect_s is None and learned.direct_shown is False:
        effect_s = long_enough_s(effect_s, learned.analytics_ends_s)
    places = {"api_url": order.api_url, "login_url": order.login_url}
    with open_search(directory, console, **places) as search:
        outcomes = sweep_by_platform(find_leftovers(directory), search, within_s=effect_s)
    for words, count in outcomes.most_common():
        late = words in (Disconnect.STILL_OPEN, Disconnect.NOT_TOLD)
        after = f", after {duration_text(effect_s)}" if late else ""
        console.print(f"  {count:>6,}  {words}{after}", highlight=False, soft_wrap=True)
    left = len(find_leftovers(directory))
    settled = outcomes[Disconnect.DONE] + outcomes[Disconnect.OVER_ALREADY]
    block = sweep_block(settled, left, by="harness sweep --platform")
    note_afterwards(directory, "sweep", block, console)
    console.print(f"{directory.name}: {left:,} left", style="bold")
    return left


def _by_guests(
    directory: Path,
    leftovers: list[Leftover],
    target: Target,
    order: SweepOrder,
    sign_ins: tuple[str, ...],
    console: Console,
) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task(f"sweeping {directory.name}", total=len(leftovers))
        done, printed_ns = 0, monotonic_ns()

        def on_ending() -> None:
            nonlocal done, printed_ns
            done += 1
            progress.advance(bar)
            if not console.is_terminal and monotonic_ns() - printed_ns > TELL_EVERY_S * 1e9:
                printed_ns = monotonic_ns()
                console.print(f"sweeping {directory.name}: {done:,} of {len(leftovers):,}")

        result = sweep(
            leftovers,
            _settings(target, order),
            per_second=order.per_second,
            deadline_s=order.deadline_s,
            on_ending=on_ending,
            on_wait=lambda many, wait_s: console.print(waiting_words(many, wait_s)),
            sign_ins=sign_ins,
        )
    for ending, count in result.endings.most_common():
        console.print(f"  {count:>6,}  {ending.words}", style="" if ending.proof else "red")
    if result.unreached:
        console.print(f"  {result.unreached:>6,}  not tried before the deadline", style="red")
    if result.again_ns:
        in_s = max(0, result.again_ns - wall_ns()) / 1e9
        console.print(f"sweep again in {duration_text(in_s)}", style="bold")
    note_afterwards(directory, "sweep", result.block(by="harness sweep"), console)
    line = f"{directory.name}: {result.settled:,} of {result.total:,} proved ended"
    console.print(f"{line}, {result.left:,} left", style="bold")
    return result.left
