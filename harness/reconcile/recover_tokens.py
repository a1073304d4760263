"""Ends sessions that no ledger can show, by their tokens, derived again from the run's secret.

A ledger file was lost or damaged, or a worker was lost with its disk before its master knew all.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gevent
from gevent.pool import Pool

from harness.clock import monotonic_ns, wall_ns
from harness.errors import LedgerError
from harness.guest.clear import end_session
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

GAP = 100
"""A worker's tokens are given up after so many in a row that the service did not know."""
DERIVED_AT_ONCE = 20


@dataclass(slots=True, kw_only=True)
class Derived:
    """How a sweep of derived tokens came out."""

    tried: int = 0
    alive: int = 0
    """were open at the service and are cleared now"""
    unproved: int = 0
    """could not be asked; they are leftovers now, in a ledger file of their own"""
    stopped: bool = False
    """the deadline came first"""
    tokens: list[tuple[str, Ending, str]] = field(default_factory=list, repr=False)
    """token, ending and reason of each that the service knew, or that could not be asked"""


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
    """Try every token of every worker that no ledger row has; what is found is noted.

    A token that nobody used costs one connection: the service opens an empty session for it, which
    is cleared at once.

    What a worker asked last may be carried out late, so it begins when that is over; ``on_wait`` is
    told in how many seconds.

    Raises LedgerError when the secret is gone or nothing can be noted.
    """
    known = {row[1] for path in RunDirectory(run_dir).ledgers() for row in read_rows(path)}
    result = Derived()
    deadline = monotonic_ns() + int(deadline_s * 1e9)
    recorder = Recorder()
    unknown_in_a_row = 0
    hidden = list(_may_hide(run_dir))
    over_ns = _last_sign_ns(run_dir) + int((HEARTBEAT_FRESH_S + settings.late_within_s) * 1e9)
    wait_s = min(max(0, over_ns - wall_ns()) / 1e9, deadline_s)
    if hidden and wait_s:
        on_wait(wait_s)
        gevent.sleep(wait_s)

    def attempt(token: str) -> None:
        nonlocal unknown_in_a_row
        in_time = itertools.takewhile(lambda _: monotonic_ns() < deadline, sign_ins)
        connection = Connection(settings, token, recorder)
        ending = end_session(connection, sign_ins=in_time)
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
                if unknown_in_a_row >= GAP and tries >= least_tries:
                    break
                pool.spawn(attempt, token)
                gevent.sleep(1 / per_second)
            pool.join(raise_error=True)
    finally:  # also of one that is interrupted: what it has met is open, or it has opened it
        if result.tokens:
            _note_derived(run_dir, result)
    if not (result.stopped or result.unproved):
        _note_complete(run_dir)
    return result


def _last_sign_ns(run_dir: Path) -> int:
    """When a process of the run was heard of for the last time (wall clock), by its ledger or, as
    that may be gone, by its measurements; 0: never."""
    files = RunDirectory(run_dir)
    heard = [read_process(path).heartbeat_ns for path in files.ledgers()]
    for name in claimed(run_dir):
        with contextlib.suppress(OSError):
            heard.append(files.intervals(name).stat().st_mtime_ns)
    return min(max(heard, default=0), wall_ns())


def _may_hide(run_dir: Path) -> Iterator[tuple[str, bytes, int]]:
    """(name, secret, number) of each worker that may have opened what no ledger here shows.

    One whose ledger is whole and says that it came to its end in order has not. Raises LedgerError.
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
    """The secret of the run as it is: a fresh one would lead to nothing and prove nothing."""
    path = RunDirectory(run_dir).secret
    if not path.exists():
        raise LedgerError(f"the run's secret {path} is gone: its tokens can't be derived")
    return run_secret(run_dir)


def _secret_of(copy: Path) -> tuple[bytes, int] | None:
    """What a copy holds of its worker's secret and number; None where that can't be read."""
    try:
        meta = read_meta(copy)
        return bytes.fromhex(meta[SECRET]), int(meta["number"])
    except (LedgerError, KeyError, ValueError):
        return None


def _not_in_rows(run_dir: Path, worker: str) -> int:
    """How many sessions a worker intended, by its measurements and the ids of its ledger's rows,
    that are no row there."""
    path = RunDirectory(run_dir).ledger(worker)
    ids = [row[0] for row in read_rows(path)] if path.exists() else []
    return max(0, max([counted_sessions(run_dir, worker), *ids]) - len(ids))


def _note_derived(run_dir: Path, result: Derived) -> None:
    """What was found becomes rows of a ledger file of its own: it was intended, nobody knew."""
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


def _note_complete(run_dir: Path) -> None:
    """What was damaged and set aside, is gone or is a lost worker's copy, hides nothing any more.

    In the place of a ledger that is gone there is an empty one then, which says so.
    """
    for path in missing_ledgers(run_dir):
        now = str(wall_ns())
        meta = {"run_id": run_dir.name, "worker": worker_of(path), "ended_ns": now, "derived": now}
        Store(path, meta).close()
    for path in RunDirectory(run_dir).ledgers():
        contents = read_contents(path)
        if contents.damage or contents.process.cut_off:
            with opened(path, writable=True) as db:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('derived', ?)", (str(wall_ns()),))
