"""``harness guest``: one guest, by hand or from a script, with each frame and its times."""

import contextlib
import secrets
import shutil
import signal
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import gevent

from harness.cli.parsing import Command, Namespace, option
from harness.cli.which_run import reports_option
from harness.clock import utc_iso
from harness.config.target import parse_target
from harness.config.targets_file import FILE, Terms, resolve_target
from harness.errors import ConfigError, HarnessError
from harness.exit_codes import ExitCode
from harness.guest.by_hand import Frames, talk
from harness.guest.player import NO_ROW, act
from harness.guest.record_file import RecordFile
from harness.guest.session import GuestSession
from harness.guest.settings import GuestSettings, Observer
from harness.ledger.ledger import Ledger
from harness.ledger.store import OVER, Stage, Store
from harness.measure.recorder import Recorder
from harness.processes import heeded
from harness.rundir.layout import RunDirectory
from harness.rundir.start import target_facts, write_start
from harness.streams import Printer
from harness.studies.run_process import EmbeddedSimulator
from harness.workload.data import Feeder, read_text
from harness.workload.script.file import Loaded, read_script

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


def run(args: Namespace) -> int:
    """Talk."""
    loaded = read_script(args.script) if args.script else None
    if loaded is not None and args.scenario and args.scenario not in loaded.script.scenarios:
        there = ", ".join(loaded.script.scenarios)
        raise ConfigError(f"{args.script} has no scenario {args.scenario!r}; it has: {there}")
    if args.target and (args.sim_tls or args.sim_fault):
        raise ConfigError("--sim-tls and --sim-fault are for the embedded simulator: no --target")
    sign_in = read_text(args.sign_in).strip() if args.sign_in else ""
    config = None if loaded is None else loaded.script.config
    origin = args.origin or (config.origin if config is not None else None)
    if args.target:
        terms = resolve_target(args.target, args.targets, ca_file=args.ca_file, origin=args.origin)
        if terms.target.origin is None:  # what is known of the target wins over the script's
            terms = replace(terms, target=replace(terms.target, origin=origin))
        return _visit(args, terms, loaded, sign_in)
    options = ["--tls"] if args.sim_tls else []
    for fault in args.sim_fault:
        options += ["--fault", fault]
    simulator = EmbeddedSimulator(*options)
    try:
        target = parse_target(simulator.start(), ca_file=simulator.ca_file, origin=origin)
        return _visit(args, Terms(name="", target=target), loaded, sign_in)
    finally:
        simulator.stop()


def _visit(args: Namespace, terms: Terms, loaded: Loaded | None, sign_in: str) -> int:
    tls = terms.target.tls_context()
    token = str(uuid.uuid4())
    with contextlib.closing(Printer()) as printer, _recorded(args, token) as record:
        directory = _directory(args.reports, terms)
        shown = Frames(token, quiet=args.quiet, show=printer.line)
        settings = GuestSettings(
            target=terms.target,
            tls=tls,
            history=True,
            auto_join=args.auto_join or terms.auto_join,
            sign_in=sign_in,
            observer=_observer(None if args.quiet else shown.frame, record),
        )
        came = _story(args, settings, token, directory, loaded, shown)
        if record is not None:
            record.close()
            shown.say(record.sentence)
        return _tell(came, shown, directory)


@contextlib.contextmanager
def _recorded(args: Namespace, token: str) -> Iterator[RecordFile | None]:
    if args.record is None:
        if args.unredacted:
            raise ConfigError("--unredacted: there is no --record")
        yield None
        return
    record = RecordFile(args.record, token=token, redacted=not args.unredacted)
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
    args: Namespace,
    settings: GuestSettings,
    token: str,
    directory: Path,
    loaded: Loaded | None,
    shown: Frames,
) -> "_Came":
    ledger = Ledger(Store(RunDirectory(directory).ledger("guest"), {"worker": "guest"}))
    guest = GuestSession(settings, token, ledger=ledger, recorder=_Telling(shown))
    came = _Came()
    with _interrupts(shown, came):
        try:
            with guest:
                if loaded is None:
                    talk(guest, shown)
                else:
                    _play(args, guest, loaded, shown)
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


def _play(args: Namespace, guest: GuestSession, loaded: Loaded, shown: Frames) -> None:
    rng = Random(args.seed)
    name = args.scenario or loaded.script.pick(rng)
    row = NO_ROW if loaded.table is None else Feeder(table=loaded.table).row_for(args.row)
    shown.say(f"scenario: {name}")
    folder, texts = args.script.parent, loaded.texts
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


COMMAND = Command(
    "guest",
    run,
    [
        option(
            "--target",
            default="",
            help="name of a target, or ws(s)://host:port/v1?deploymentId=UUID",
        ),
        option("--targets", type=Path, default=FILE, metavar="FILE", help="targets file"),
        option("--ca-file", metavar="FILE", help="PEM file of a private CA for wss targets"),
        option("--origin", help="Origin header of the upgrade, if the deployment asks for one"),
        option(
            "--script",
            type=Path,
            metavar="FILE",
            help="conversation script (YAML) instead of typing",
        ),
        option("--scenario", metavar="NAME", help="which of the script (default: by weight)"),
        option("--row", type=int, default=0, metavar="N", help="row of the script's data (from 0)"),
        option(
            "--seed", type=int, default=0, metavar="N", help="for weights, texts and think times"
        ),
        option("--auto-join", flag=True, help="join when the session opens, as with autoStart"),
        option("--sign-in", type=Path, metavar="FILE", help="a file with the JWT to sign in with"),
        reports_option(),
        option("--quiet", flag=True, help="only the words, not the frames"),
        option("--record", type=Path, metavar="FILE", help="write the frames to a file, redacted"),
        option("--unredacted", flag=True, help="--record: with tokens and all texts"),
        option("--sim-tls", flag=True, help="without --target: serve wss with a private CA"),
        option(
            "--sim-fault",
            repeated=True,
            metavar="NAME=P",
            help="without --target: switch on a fault (harness simulate --help lists them)",
        ),
    ],
    description=(
        "Be one guest: type what the guest says, or let a script talk, and see each frame with "
        "its time, and how long after what it answers. Tokens are shortened. The session is always "
        "cleared at the end, also by Ctrl-D and Ctrl-C; without --target the simulator answers.\n\n"
        "while typing: /join /typing /drop /reconnect /history /health /choose TEXT /attach FILE\n"
        "/new (after the other side ended it for good) /quit\n\n"
        "exit code: 0 the story went well, 3 it did not, 4 the session may still be open"
    ),
    epilog=(
        "examples:\n"
        "  harness guest\n"
        "  harness guest --target staging --script shop.yaml\n"
        "  harness guest --script shop.yaml --scenario 'Order status' --seed 7\n"
        "  harness guest --sim-tls --sim-fault cut=#2\n"
        "  harness guest --target staging --record chat.jsonl    # for harness conform\n"
    ),
)
