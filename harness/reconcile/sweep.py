"""Ends the leftovers of a run from the guest's side: resume with the token, Clear, wait for proof.

Idempotent and resumable: each session that is proved ended is settled in its ledger file at once,
so a second sweep, or one after an interruption, has only the rest to do.

At the end of a run: end the sessions of its processes that died before they could.

Ends from the operator's side what could not be ended from the guest's: disconnect it.

A disconnect takes effect a moment later, and is believed when it shows: each conversation is looked
at until it is over or the time is up. What is not seen to have ended stays a leftover.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import gevent
from gevent.pool import Pool

from harness.clock import monotonic_ns
from harness.errors import ConfigError, LedgerError, PlatformApiError
from harness.guest.clear import end_session
from harness.guest.connection import Line
from harness.guest.outcomes import Ending
from harness.guest.settings import GuestSettings
from harness.ledger.reader import HEARTBEAT_FRESH_S, Leftover, read_leftovers, read_process, settle
from harness.ledger.store import Stage
from harness.measure.recorder import Recorder
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import (
    Seen,
    Standing,
    conversations_by_id,
    disconnect,
    standing_now,
)
from harness.reconcile.audit import Matches, Road, Spoken, match
from harness.rundir.layout import RunDirectory

AT_ONCE = 50
"""Sessions that are being ended at the same time, at most."""


@dataclass(slots=True, kw_only=True)
class SweepResult:
    """How a sweep came out: endings by word; ``left`` sessions have no proof still."""

    found: int
    endings: Counter[Ending] = field(default_factory=Counter)
    unreached: int = 0
    """not even tried before the deadline"""

    @property
    def settled(self) -> int:
        """Sessions proved ended by this sweep."""
        return sum(count for ending, count in self.endings.items() if ending.proof)

    @property
    def left(self) -> int:
        """Sessions without proof after this sweep."""
        return self.found - self.settled


def refuse_while_running(run_dirs: Iterable[Path], *, force: bool) -> None:
    """Sweeping a run that is at work would end its guests' sessions under them: ConfigError."""
    for run_dir in run_dirs:
        alive = [
            process.worker
            for path in RunDirectory(run_dir).ledgers()
            if (process := read_process(path)).alive
        ]
        if alive and not force:
            raise ConfigError(
                f"the run {run_dir.name} is still at work ({', '.join(alive)}): stop it first, "
                "or sweep it all the same with --force"
            )


def find_leftovers(run_dirs: Iterable[Path]) -> list[Leftover]:
    """All leftovers of the runs. Those that hold a conversation come first: they cost agents."""
    found = [leftover for run_dir in run_dirs for leftover in read_leftovers(run_dir)]
    return sorted(found, key=lambda leftover: not leftover.holds_conversation)


def sweep(
    leftovers: list[Leftover],
    settings: GuestSettings,
    *,
    per_second: float,
    deadline_s: float,
    on_ending: Callable[[Leftover, Ending], None],
    sign_ins: tuple[str, ...] = (),
) -> SweepResult:
    """End each leftover on a connection of its own, at most ``per_second`` new ones a second.

    ``sign_ins`` are the JWTs of signed-in guests. Settles the proved ones in their ledger. Raises
    LedgerError when that can't be written.
    """
    result = SweepResult(found=len(leftovers))
    recorder = Recorder()
    deadline = monotonic_ns() + int(deadline_s * 1e9)

    failures: list[LedgerError] = []
    pool = Pool(AT_ONCE)

    not_before = 0
    """until then the service has asked us not to connect (Retry-After of a refused upgrade)"""

    def end_one(leftover: Leftover) -> Ending:
        nonlocal not_before
        first = (leftover.row - 1) % len(sign_ins) if sign_ins else 0  # very likely its own
        ordered = sign_ins[first:] + sign_ins[:first]
        while True:
            line = Line(settings, leftover.token, recorder)
            ending = end_session(line, sign_ins=ordered)
            if not line.asked_to_wait_s:
                return ending
            again = monotonic_ns() + int(line.asked_to_wait_s * 1e9)
            not_before = max(not_before, again)
            if again >= deadline:
                return ending
            gevent.sleep(line.asked_to_wait_s)

    def end(leftover: Leftover) -> None:
        ending = end_one(leftover)
        if ending.proof:
            try:
                settle(leftover, f"sweep: {ending}")
            except LedgerError as error:  # a greenlet that fails prints a traceback
                failures.append(error)
                gevent.spawn(pool.kill)  # ending more would be forgotten
                return
        result.endings[ending] += 1
        on_ending(leftover, ending)

    due = monotonic_ns()
    for number, leftover in enumerate(leftovers):
        gevent.sleep(max(0.0, (max(due, not_before) - monotonic_ns()) / 1e9))
        if failures:
            break
        if monotonic_ns() >= deadline:
            result.unreached = len(leftovers) - number
            break
        due = max(due + int(1e9 / per_second), monotonic_ns())
        pool.spawn(end, leftover)
    pool.join(raise_error=True)
    if failures:
        raise failures[0]
    return result


CLEARS_PER_S = 50.0
DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Processes of a run that are gone without an orderly end, and what they left."""

    workers: tuple[str, ...]
    leftovers: list[Leftover]


def find_lost(run_dir: Path) -> Lost:
    """Only of processes that are certainly not at work any more: others end their own sessions.

    One on another machine that has not said it ended is waited for until its last heartbeat is old.
    """
    _await_silence(run_dir)
    files = {
        path: process.worker
        for path in RunDirectory(run_dir).ledgers()
        if not ((process := read_process(path)).ended or process.alive)
    }
    left = [leftover for leftover in find_leftovers([run_dir]) if leftover.file in files]
    return Lost(workers=tuple(files.values()), leftovers=left)


def _await_silence(run_dir: Path) -> None:
    """Until no process elsewhere seems alive, or for as long as a heartbeat counts."""
    deadline = monotonic_ns() + int((HEARTBEAT_FRESH_S + 1) * 1e9)
    while monotonic_ns() < deadline:
        processes = [read_process(path) for path in RunDirectory(run_dir).ledgers()]
        if not any(process.alive and not process.here for process in processes):
            return
        gevent.sleep(0.25)


def sweep_lost(lost: Lost, settings: GuestSettings) -> SweepResult:
    """End them. Raises LedgerError when that can't be noted."""

    def nobody_asks(_: Leftover, __: Ending) -> None:
        pass

    return sweep(
        lost.leftovers,
        settings,
        per_second=CLEARS_PER_S,
        deadline_s=DEADLINE_S,
        on_ending=nobody_asks,
    )


LOOK_AGAIN_S = 1.0
EFFECT_WITHIN_S = 60.0
"""How long a disconnect is given to show; what the service needs is not published."""


@dataclass(slots=True, kw_only=True)
class Disconnected:
    """How it came out."""

    disconnected: int = 0
    over_already: int = 0
    """the service says that their conversation has ended, or that the guest has left it"""
    not_found: int = 0
    """no conversation is known for them: they stay on the list"""
    still_open: int = 0
    """asked to end, and still open when the time was up"""
    not_told: int = 0
    """asked to end, and the service does not show whether they have"""
    refused: dict[str, int] = field(default_factory=dict)
    """the service would not disconnect them: how many, by its own words"""

    @property
    def settled(self) -> int:
        """Sessions that hold nobody any more."""
        return self.disconnected + self.over_already


def sweep_by_platform(
    leftovers: list[Leftover],
    api: PlatformApi,
    run_id: str,
    *,
    start: datetime,
    end: datetime,
    searched_until: datetime | None = None,
    within_s: float = EFFECT_WITHIN_S,
    closed: Collection[Road] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> Disconnected:
    """Disconnect each leftover's conversations and settle it when the service shows their end.

    Raises PlatformApiError when the service can't be asked, LedgerError when it can't be noted.
    """
    result = Disconnected()
    matches = Matches()
    sessions = [Spoken(one.token, one.message_id, True) for one in leftovers]
    match(
        matches,
        sessions,
        api,
        run_id,
        start=start,
        end=end,
        searched_until=searched_until,
        closed=closed,
    )
    conversations: dict[str, list[str]] = {}
    for conversation, token in matches.tokens.items():
        conversations.setdefault(token, []).append(conversation)
    world = _World(api, start, end)
    waiting: dict[str, Leftover] = {}
    for leftover in leftovers:
        ours = conversations.get(leftover.token, [])
        if not ours:
            result.not_found += 1
            continue
        alive = [one for one in ours if not world.standing(one).over]
        if not alive:
            result.over_already += 1
            settle(leftover, "platform: over already", Stage.DISCONNECTED)
            continue
        why = _refusal(api, alive)
        if why:
            result.refused[why] = result.refused.get(why, 0) + 1
        else:
            waiting[leftover.token] = leftover
            conversations[leftover.token] = alive
    deadline = monotonic_ns() + int(within_s * 1e9)
    while waiting:
        world.look_again([one for token in waiting for one in conversations[token]])
        for token, leftover in list(waiting.items()):
            if all(world.standing(one).over for one in conversations[token]):
                result.disconnected += 1
                settle(leftover, "platform: disconnected", Stage.DISCONNECTED)
                del waiting[token]
        if not waiting or monotonic_ns() >= deadline:
            break
        sleep(min(LOOK_AGAIN_S, max(0.01, (deadline - monotonic_ns()) / 1e9)))
    for token in waiting:
        told = Standing.OPEN in map(world.standing, conversations[token])
        result.still_open += told
        result.not_told += not told
    return result


def _refusal(api: PlatformApi, conversations: list[str]) -> str:
    """Disconnect all of them; why the service would not, empty if it would."""
    for one in conversations:
        try:
            disconnect(api, one)
        except PlatformApiError as error:
            if error.status not in (400, 403, 404, 409):
                raise
            return str(error)
    return ""


class _World:
    """How conversations stand: each looked at itself or, where that is denied, in analytics."""

    def __init__(self, api: PlatformApi, start: datetime, end: datetime) -> None:
        self._api = api
        self._span = (start, end)
        self._standing: dict[str, Standing] = {}

    def standing(self, conversation: str) -> Standing:
        """As it was when it was looked at last."""
        if conversation not in self._standing:
            self.look_again([conversation])
        return self._standing[conversation]

    def look_again(self, conversations: list[str]) -> None:
        """Ask for all of them that are not over yet."""
        hidden = []
        for one in conversations:
            if (known := self._standing.get(one)) is not None and known.over:
                continue
            self._standing[one] = standing_now(self._api, one)
            if self._standing[one] is Standing.UNKNOWN:
                hidden.append(one)
        if hidden:
            shown: list[Seen] = Matches().ask(
                "conversations by their ids",
                lambda: list(conversations_by_id(self._api, hidden, *self._span)),
                [],
            )
            for seen in shown:
                self._standing[seen.id] = seen.standing
