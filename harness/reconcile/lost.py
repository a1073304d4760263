"""At the end of a run: end the sessions of its processes that died before they could."""

from dataclasses import dataclass
from pathlib import Path

import gevent

from harness.clock import monotonic_ns
from harness.guest.outcomes import Ending
from harness.guest.settings import GuestSettings
from harness.ledger.leftovers import Leftover, ledger_files, read_process
from harness.ledger.reader import HEARTBEAT_FRESH_S
from harness.reconcile.sweep import SweepResult, find_leftovers, sweep

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
        for path in ledger_files(run_dir)
        if not ((process := read_process(path)).ended or process.alive)
    }
    left = [leftover for leftover in find_leftovers([run_dir]) if leftover.file in files]
    return Lost(workers=tuple(files.values()), leftovers=left)


def _await_silence(run_dir: Path) -> None:
    """Until no process elsewhere seems alive, or for as long as a heartbeat counts."""
    deadline = monotonic_ns() + int((HEARTBEAT_FRESH_S + 1) * 1e9)
    while monotonic_ns() < deadline:
        processes = [read_process(path) for path in ledger_files(run_dir)]
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
