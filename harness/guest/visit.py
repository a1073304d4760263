"""A guest whom a person watches: its directory while it lasts, its story, and how it came out."""

import contextlib
import secrets
import shutil
import signal
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import gevent

from harness.clock import utc_iso
from harness.config.target import Terms
from harness.errors import ConfigError, HarnessError
from harness.exit_codes import ExitCode
from harness.guest.by_hand import Frames, talk
from harness.guest.player import NO_ROW, act
from harness.guest.record_file import RecordFile
from harness.guest.session import GuestSession
from harness.guest.settings import GuestSettings, Observer
from harness.ledger.ledger import OVER, Ledger, Stage, Store
from harness.measure.recorder import Recorder
from harness.processes import heeded
from harness.rundir.layout import RunDirectory, target_facts, write_start
from harness.streams import Printer
from harness.workload.data import Feeder
from harness.workload.script.file import Loaded

TOLD = {
    "reconnects": "the connection was lost: trying to come back with the same token",
    "resumed_anew": "the service had forgotten the session meanwhile",
    "disconnected_by_service": "the other side has ended the conversation",
    "paced": "waiting for the guest's own limit",
    "typing_is_off": "typing is switched off in this deployment's configuration",
    "clear_is_off": "Clear Conversation is switched off in this deployment's configuration",
    "cross_talk": "that was another session's message",
}
"""What a person should hear of what is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What is wanted of a visit."""

    reports: Path
    loaded: Loaded | None = None
    """the script that talks; None: a person does"""
    script: Path = Path()
    scenario: str | None = None
    """None: drawn by weight"""
    row: int = 0
    seed: int = 0
    sign_in: str = ""
    auto_join: bool = False
    quiet: bool = False
    record: Path | None = None
    unredacted: bool = False


def visit(terms: Terms, wanted: Visit) -> int:
    """Talk, always clear, and say how it came out; the exit code."""
    tls = terms.target.tls_context()
    token = str(uuid.uuid4())
    with contextlib.closing(Printer()) as printer, _recorded(wanted, token) as record:
        directory = _directory(wanted.reports, terms)
        shown = Frames(token, quiet=wanted.quiet, show=printer.line)
        settings = GuestSettings(
            target=terms.target,
            tls=tls,
            history=True,
            auto_join=wanted.auto_join or terms.auto_join,
            sign_in=wanted.sign_in,
            observer=_observer(None if wanted.quiet else shown.frame, record),
        )
        came = _story(wanted, settings, token, directory, shown)
        if record is not None:
            record.close()
            shown.say(record.sentence)
        return _tell(came, shown, directory)


@contextlib.contextmanager
def _recorded(wanted: Visit, token: str) -> Iterator[RecordFile | None]:
    if wanted.record is None:
        if wanted.unredacted:
            raise ConfigError("--unredacted: there is no --record")
        yield None
        return
    record = RecordFile(wanted.record, token=token, redacted=not wanted.unredacted)
    try:
        yield record
    finally:
        record.close()


def _observer(show: Observer | None, record: RecordFile | None) -> Observer | None:
    """Who looks on: the screen, the file, both, or nobody."""
    if show is None or record is None:
        return show if record is None else record.frame

    def both(outgoing: bool, data: bytes, at_ns: int) -> None:
        record.frame(outgoing, data, at_ns)
        show(outgoing, data, at_ns)

    return both


def _story(
    wanted: Visit,
    settings: GuestSettings,
    token: str,
    directory: Path,
    shown: Frames,
) -> "_Came":
    ledger = Ledger(Store(RunDirectory(directory).ledger("guest"), {"worker": "guest"}))
    guest = GuestSession(settings, token, ledger=ledger, recorder=_Telling(shown))
    came = _Came()
    with _interrupts(shown, came):
        try:
            with guest:
                if wanted.loaded is None:
                    talk(guest, shown)
                else:
                    _play(wanted, guest, wanted.loaded, shown)
        except HarnessError as error:
            came.failure = error
        except KeyboardInterrupt:
            came.stopped = True
        finally:
            tally = ledger.tally
            # Only what is proved is over: the directory with the token goes for nothing less.
            came.lost = sum(tally.values()) > sum(tally[stage] for stage in OVER)
            came.opened = tally[Stage.NEVER_CONFIGURED] == 0
            ledger.close()
    return came


@dataclass(slots=True)
class _Came:
    """How it came out."""

    failure: HarnessError | None = None
    stopped: bool = False
    opened: bool = True
    lost: bool = True


def _directory(reports: Path, terms: Terms) -> Path:
    """Where the ledger is while it is needed, in a form that ``harness sweep`` understands."""
    stamp = utc_iso().replace(":", "").replace(".", "")
    directory = reports / f"guest-{stamp}-{secrets.token_hex(2)}"  # many may begin at once
    facts = target_facts(terms.target)
    try:
        directory.mkdir(parents=True)
        write_start(directory, started=utc_iso(), target_name=terms.name or None, **facts)
    except OSError as error:
        raise ConfigError(f"{directory}: can't be written ({error.strerror})") from None
    return directory


def _play(wanted: Visit, guest: GuestSession, loaded: Loaded, shown: Frames) -> None:
    rng = Random(wanted.seed)
    name = wanted.scenario or loaded.script.pick(rng)
    row = NO_ROW if loaded.table is None else Feeder(table=loaded.table).row_for(wanted.row)
    shown.say(f"scenario: {name}")
    folder, texts = wanted.script.parent, loaded.texts
    act(guest, loaded.script, name, row=row, rng=rng, folder=folder, texts=texts)


def _tell(came: _Came, shown: Frames, directory: Path) -> int:
    if came.failure is not None:
        print(f"the story ended: {came.failure}", file=sys.stderr)
    if came.lost:
        print(
            f"the session may still be open; end it with: harness sweep {directory}",
            file=sys.stderr,
        )
        return ExitCode.LEFTOVERS
    shutil.rmtree(directory, ignore_errors=True)  # nothing is left that it could be needed for
    proved = "the session is over, and the service has said so"
    shown.say(proved if came.opened else "no session was opened")
    if came.stopped:
        return ExitCode.INTERRUPTED
    return ExitCode.OBJECTIVES if came.failure is not None else ExitCode.PASS


@contextlib.contextmanager
def _interrupts(shown: Frames, came: _Came) -> Iterator[None]:
    """Ctrl-C ends the story where it is; after that it only says that the way out takes a moment.

    By a watcher of the loop: otherwise the interrupt is raised wherever the loop happens to be.
    """
    story = gevent.getcurrent()

    def interrupted() -> None:
        shown.say("one moment: the session is being ended" if came.stopped else "stopped by hand")
        if not came.stopped:
            came.stopped = True
            gevent.kill(story, KeyboardInterrupt)

    before = {number: signal.getsignal(number) for number in heeded()}
    watchers = [gevent.signal_handler(number, interrupted) for number in before]
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Telling(Recorder):
    """Tells what a person should hear of."""

    def __init__(self, shown: Frames) -> None:
        super().__init__()
        self._shown = shown

    def count(self, what: str, by: int = 1) -> None:
        """Count it, and say it."""
        super().count(what, by)
        if what in TOLD:
            self._shown.say(TOLD[what])
