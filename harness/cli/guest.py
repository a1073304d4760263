"""``harness guest``: one guest, by hand or from a script, with each frame and its time."""

import argparse
import re
import sys
import uuid
from pathlib import Path
from random import Random

from gevent.threadpool import ThreadPool

from harness.cli.embedded import EmbeddedSimulator
from harness.clock import monotonic_ns, utc_iso
from harness.config import Target, parse_target
from harness.errors import ConfigError, HarnessError, ReplyTimeout
from harness.exit_codes import ExitCode
from harness.guest.acting import NO_ROW, act
from harness.guest.session import STORY_ENDS, GuestSession
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import Ledger
from harness.ledger.store import FILE_NAME, Stage, Store
from harness.measure.recorder import Recorder
from harness.targets import FILE, resolve_target
from harness.workload.feeder import Feeder
from harness.workload.script_file import Loaded, read_script

LOOK_EVERY_S = 0.05
HEAR_OUT_S = 1.0
"""At the end of the input the last answers may be on their way."""
JWT = re.compile(r'("(?:jwt|code)":")[^"]+"')
SIGNED = re.compile(r"([?&](?:signature|X-Amz-[A-Za-z-]+)=)[^&\"]+")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Be one guest: type what the guest says, or let a script talk, and see each frame with "
        "its time. Tokens are shortened. The session is always cleared at the end; without "
        "--target the simulator answers.\n\n"
        "while typing: /join /typing /drop /reconnect /history /choose TEXT /quit\n\n"
        "exit code: 0 the story went well, 3 it did not, 4 the session may still be open"
    )
    parser.epilog = (
        "examples:\n"
        "  harness guest\n"
        "  harness guest --target staging --script shop.yaml\n"
        "  harness guest --script shop.yaml --scenario 'Order status' --seed 7\n"
    )
    add = parser.add_argument
    add("--target", default="", help="name of a target, or ws(s)://host:port/v1?deploymentId=UUID")
    add("--targets", type=Path, default=FILE, metavar="FILE", help="targets file (%(default)s)")
    add("--ca-file", metavar="FILE", help="PEM file of a private CA for wss targets")
    add("--origin", help="Origin header of the upgrade, if the deployment asks for one")
    add("--script", type=Path, metavar="FILE", help="conversation script (YAML) instead of typing")
    add("--scenario", metavar="NAME", help="which of the script (default: by weight)")
    add("--row", type=int, default=0, metavar="N", help="row of the script's data (from 0)")
    add("--seed", type=int, default=0, metavar="N", help="for weights and think times")
    add("--reports", type=Path, default=Path("reports"), help="where the ledger is kept")
    add("--quiet", action="store_true", help="only the words, not the frames")


def run(args: argparse.Namespace) -> int:
    """Talk."""
    loaded = read_script(args.script) if args.script else None
    if loaded is not None and args.scenario and args.scenario not in loaded.script.scenarios:
        there = ", ".join(loaded.script.scenarios)
        raise ConfigError(f"{args.script} has no scenario {args.scenario!r}; it has: {there}")
    simulator = None if args.target else EmbeddedSimulator.start()
    try:
        if simulator is not None:
            target = parse_target(simulator.url, ca_file=simulator.ca_file, origin=args.origin)
        else:
            target = resolve_target(
                args.target, args.targets, ca_file=args.ca_file, origin=args.origin
            ).target
        return _visit(args, target, loaded)
    finally:
        if simulator is not None:
            simulator.stop()


def _visit(args: argparse.Namespace, target: Target, loaded: Loaded | None) -> int:
    directory = args.reports / f"guest-{utc_iso().replace(':', '').replace('.', '')}"
    directory.mkdir(parents=True)
    token = str(uuid.uuid4())
    ledger = Ledger(Store(directory / FILE_NAME.format(worker="guest"), {"worker": "guest"}))
    shown = _Frames(token, quiet=args.quiet)
    settings = GuestSettings(
        target=target, tls=target.tls_context(), observer=None if args.quiet else shown.frame
    )
    guest = GuestSession(settings, token, ledger=ledger, recorder=Recorder())
    failure: HarnessError | None = None
    try:
        with guest:
            if loaded is None:
                _by_hand(guest, shown)
            else:
                rng = Random(args.seed)
                name = args.scenario or loaded.script.pick(rng)
                row = NO_ROW
                if loaded.table is not None:
                    row = Feeder(table=loaded.table).row_for(args.row)
                shown.say(f"scenario: {name}")
                folder, texts = args.script.parent, loaded.texts
                act(guest, loaded.script, name, row=row, rng=rng, folder=folder, texts=texts)
    except STORY_ENDS as error:
        failure = error
    finally:
        lost = ledger.tally[Stage.LOST]
        ledger.close()
    if failure is not None:
        print(f"the story ended: {failure}", file=sys.stderr)
    if lost:
        print(
            f"the session may still be open; end it with: harness sweep {directory}",
            file=sys.stderr,
        )
        return ExitCode.LEFTOVERS
    shown.say("the session is over, and the service has said so")
    return ExitCode.OBJECTIVES if failure is not None else ExitCode.PASS


class _Frames:
    """Prints what goes to and fro, with seconds since the start."""

    def __init__(self, token: str, *, quiet: bool) -> None:
        self._token = token
        self._started = monotonic_ns()
        self.quiet = quiet

    def frame(self, outgoing: bool, data: bytes, at_ns: int) -> None:
        """One frame; the token, JWTs and signatures are shortened."""
        text = data.decode("utf-8", "replace").replace(self._token, self._token[:8] + "…")
        text = SIGNED.sub(r"\1…", JWT.sub(r'\1…"', text))
        arrow = "→" if outgoing else "←"
        print(f"{(at_ns - self._started) / 1e9:9.3f} s {arrow} {text}", flush=True)

    def say(self, text: str) -> None:
        """One line that is no frame."""
        print(f"{(monotonic_ns() - self._started) / 1e9:9.3f} s   {text}", flush=True)


def _by_hand(guest: GuestSession, shown: _Frames) -> None:
    """Lines from the terminal become texts; replies are shown as they come."""
    reading = ThreadPool(1)
    while True:
        # The terminal is read by a thread, so that the guest hears meanwhile.
        line = reading.spawn(sys.stdin.readline)
        while not line.ready():
            _listen(guest, shown, LOOK_EVERY_S)
        text = str(line.get() or "")
        if not text or text.strip() == "/quit":
            _listen(guest, shown, HEAR_OUT_S)
            return
        _command(guest, shown, text.strip())


def _listen(guest: GuestSession, shown: _Frames, for_s: float) -> None:
    """Show what is said to the guest for a while."""
    try:
        said = guest.await_reply(within=for_s)
    except ReplyTimeout:
        return
    if shown.quiet:
        shown.say(said)


def _command(guest: GuestSession, shown: _Frames, line: str) -> None:
    verb, _, rest = line.partition(" ")
    try:
        match verb:
            case "":
                return
            case "/join":
                guest.join()
            case "/typing":
                guest.typing()
            case "/drop":
                guest.drop()
            case "/reconnect":
                guest.reconnect()
            case "/choose":
                guest.choose(rest)
            case "/history":
                for message in guest.history():
                    shown.say(f"{message.direction:<8} {message.text}")
            case _ if verb.startswith("/"):
                shown.say("known: /join /typing /drop /reconnect /history /choose TEXT /quit")
            case _:
                guest.say(line)
    except ConfigError as error:
        shown.say(str(error))
