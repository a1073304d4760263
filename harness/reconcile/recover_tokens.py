"""End sessions that are in no ledger, by their tokens, derived again from the run's secret.

Needed if a ledger file was lost or damaged, or if a worker was lost with its disk before its master
knew all its sessions.
"""

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gevent
from gevent.pool import Pool

from harness.clock import monotonic_ns, wall_ns
from harness.errors import LedgerError
from harness.guest.clear import end_session, stray_id_of, was_alive
from harness.guest.connection import Connection
from harness.guest.outcomes import Ending
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import (
    SECRET,
    Stage,
    Store,
    claimed,
    derive,
    run_secret,
    with_unanswered,
)
from harness.ledger.reader import (
    HEARTBEAT_FRESH_S,
    counted_sessions,
    missing_ledgers,
    opened,
    read_contents,
    read_meta,
    read_process,
    read_rows,
)
from harness.measure.recorder import Recorder
from harness.rundir.layout import RunDirectory, worker_of

MAX_GAP = 100
"""A worker's tokens are given up after so many in a row that the service did not know."""
DERIVED_AT_ONCE = 20


@dataclass(slots=True, kw_only=True)
class Derived:
    """The result of a sweep of derived tokens."""

    tried: int = 0
    alive: int = 0
    """were open at the service and are cleared now"""
    unproved: int = 0
    """could not be asked; they are leftovers now, in a ledger file of their own"""
    stopped: bool = False
    """the deadline came first"""
    without_secret: list[str] = field(default_factory=list)
    """workers whose secret is gone with the file that may hide sessions: theirs can't be tried"""
    tokens: list[tuple[str, Ending, str]] = field(default_factory=list, repr=False)
    """token, ending and reason of each session that was open, or that could not be asked for"""


def sweep_derived(
    run_dir: Path,
    settings: GuestSettings,
    *,
    per_second: float,
    deadline_s: float,
    sign_ins: tuple[str, ...] = (),
    on_try: Callable[[Derived], None] = lambda _: None,
    on_wait: Callable[[float], None] = lambda _: None,
) -> Derived:
    """Try every token of every worker that is in no ledger row; note the sessions found.

    A token that no guest used costs one connection: the service opens an empty session for it,
    which is cleared at once.

    A worker's last requests may still be carried out, so the sweep waits until that is over;
    ``on_wait`` is called with the wait (seconds).

    Raises LedgerError if the secret is gone, or if a session can't be noted.
    """
    known = {row[1] for path in RunDirectory(run_dir).ledgers() for row in read_rows(path)}
    result = Derived()
    deadline = monotonic_ns() + int(deadline_s * 1e9)
    recorder = Recorder()
    unknown_in_a_row = 0
    hidden = list(_may_hide(run_dir))
    tried = {name for name, *_ in hidden}
    result.without_secret = [
        process.worker
        for path in _incomplete(run_dir)
        if (process := read_process(path)).worker not in tried
    ]
    over_ns = _last_sign_ns(run_dir) + int((HEARTBEAT_FRESH_S + settings.late_within_s) * 1e9)
    wait_s = min(max(0, over_ns - wall_ns()) / 1e9, deadline_s)
    if hidden and wait_s:
        on_wait(wait_s)
        gevent.sleep(wait_s)

    def attempt(token: str) -> None:
        nonlocal unknown_in_a_row

        def end(stray_id: str = "") -> tuple[Ending, Connection]:
            in_time = itertools.takewhile(lambda _: monotonic_ns() < deadline, sign_ins)
            connection = Connection(settings, token, recorder)
            return end_session(connection, sign_ins=in_time, stray_id=stray_id), connection

        ending, connection = end()
        alive = was_alive(connection)
        if ending is Ending.UNCONFIRMED and (stray_id := stray_id_of(connection)):
            ending, connection = end(stray_id)
            if alive and ending is Ending.GONE:
                ending = Ending.CLEARED
        unanswered = connection.unanswered(monotonic_ns())
        result.tried += 1
        if ending is Ending.GONE:
            unknown_in_a_row += 1
        else:
            unknown_in_a_row = 0
            result.alive += ending.proof
            result.unproved += not ending.proof
            reason = f"sweep: derived, {ending}" if ending.proof else str(ending)
            result.tokens.append((token, ending, with_unanswered(reason) if unanswered else reason))
        on_try(result)

    try:
        for name, secret, number in hidden:
            pool, least_tries = Pool(DERIVED_AT_ONCE), _not_in_rows(run_dir, name)
            unknown_in_a_row = 0
            tokens = (derive(secret, number, sequence) for sequence in itertools.count(1))
            for tries, token in enumerate(token for token in tokens if token not in known):
                if monotonic_ns() > deadline:
                    result.stopped = True
                    break
                if unknown_in_a_row >= MAX_GAP and tries >= least_tries:
                    break
                pool.spawn(attempt, token)
                gevent.sleep(1 / per_second)
            pool.join(raise_error=True)
    finally:  # also after an interrupt: the sessions met so far are open, or were opened by it
        if result.tokens:
            _note_derived(run_dir, result)
    if not (result.stopped or result.unproved):
        _note_complete(run_dir, tried)
    return result


def _last_sign_ns(run_dir: Path) -> int:
    """The last sign of life of any process of the run (wall clock, ns): from the ledgers or, since
    those may be gone, from the measurements; 0: none."""
    files = RunDirectory(run_dir)
    heard = [read_process(path).heartbeat_ns for path in files.ledgers()]
    for name in claimed(run_dir):
        with contextlib.suppress(OSError):
            heard.append(files.intervals(name).stat().st_mtime_ns)
    return min(max(heard, default=0), wall_ns())


def _may_hide(run_dir: Path) -> Iterator[tuple[str, bytes, int]]:
    """(name, secret, number) of each worker that may have opened sessions in no ledger here.

    A worker whose ledger is complete and says that it ended properly has not. Raises LedgerError.
    """
    copies = {}
    ended = set()
    for path in RunDirectory(run_dir).ledgers():
        contents = read_contents(path)
        process = contents.process
        if process.ended and not contents.damage:
            ended.add(process.worker)
        elif process.copy and (origin := _secret_of(path)):
            copies[process.worker] = origin
    here = {name: number for name, number in claimed(run_dir).items() if name not in copies}
    if not here and not copies and not ended:
        here = {"worker 0": 0}
    for name, number in here.items():
        if name not in ended:
            yield name, _secret_here(run_dir), number
    for name, origin in copies.items():
        yield name, *origin


def _secret_here(run_dir: Path) -> bytes:
    """The run's secret. (A new one must not be made: its tokens would find and prove nothing.)"""
    path = RunDirectory(run_dir).secret
    if not path.exists():
        raise LedgerError(f"the run's secret {path} is gone: its tokens can't be derived")
    return run_secret(run_dir)


def _secret_of(copy: Path) -> tuple[bytes, int] | None:
    """The worker's secret and number in a copy of its ledger; None if they can't be read."""
    try:
        meta = read_meta(copy)
        return bytes.fromhex(meta[SECRET]), int(meta["number"])
    except (LedgerError, KeyError, ValueError):
        return None


def _not_in_rows(run_dir: Path, worker: str) -> int:
    """How many sessions of a worker may have no row in its ledger, by its measurements, by the ids
    of the rows, and by what it had reserved where this is a master's copy."""
    path = RunDirectory(run_dir).ledger(worker)
    there = path.exists()
    ids = [row[0] for row in read_rows(path)] if there else []
    reserved = read_process(path).reserved if there else 0
    return max(0, max([counted_sessions(run_dir, worker), reserved, *ids]) - len(ids))


def _note_derived(run_dir: Path, result: Derived) -> None:
    """Write the sessions found as rows of a new ledger file, beginning at ``intended``."""
    now = wall_ns()
    store = Store(
        RunDirectory(run_dir).ledger(f"derived-{now}"),
        {"run_id": run_dir.name, "worker": f"derived-{now}", "ended_ns": str(now)},
    )
    inserts, updates = [], []
    for row, (token, ending, reason) in enumerate(result.tokens, start=1):
        inserts.append((row, token, str(Stage.INTENDED), now, now))
        stage = Stage.SETTLED if ending.proof else Stage.LOST
        updates.append((str(stage), reason, "", now, row))
    store.write(inserts, updates, {})
    store.close()


def _incomplete(run_dir: Path) -> Iterator[Path]:
    """The damaged ledgers, and the copies of those of lost workers."""
    for path in RunDirectory(run_dir).ledgers():
        contents = read_contents(path)
        if contents.damage or contents.process.cut_off:
            yield path


def _note_complete(run_dir: Path, tried: Collection[str]) -> None:
    """Note that the damaged, missing and copied ledgers of the workers whose tokens were ``tried``
    hide no sessions any more.

    A missing ledger is replaced by an empty one that says so.
    """
    for path in missing_ledgers(run_dir):
        now = str(wall_ns())
        meta = {"run_id": run_dir.name, "worker": worker_of(path), "ended_ns": now, "derived": now}
        Store(path, meta).close()
    for path in _incomplete(run_dir):
        if read_process(path).worker in tried:
            with opened(path, writable=True) as db:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('derived', ?)", (str(wall_ns()),))
