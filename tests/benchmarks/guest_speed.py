"""What a guest costs, as a ratio to a bare loop of socket and sans-I/O protocol in the same run.

    make bench-guest            (about eleven minutes)

CPU time of the client's process counts. The kinds take turns, and the medians of the rounds are
compared: even so the ratios move by some hundredths on a machine with other work. The bare loop
keeps no books: it sends the same bytes again and again and counts frames. An exchange is a text
with its echo and its reply; the server is the simulator, in a process of its own. *session* is
GuestSession with ledger and recorder; *everything* adds the Locust user and Locust's statistics;
*library* is the same with the websockets library's own upgrade and frames.
Only the pacing is off: it would sleep. Ends with 1 when a floor is missed.
"""

import argparse
import gc
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import Simulator

ROUNDS = 5
GUESTS = 100
SECONDS = 4.0
OPENERS = 20
FLOORS = {
    ("exchanges", "session"): 0.75,
    ("exchanges", "everything"): 0.60,
    ("opened", "session"): 0.60,
    ("opened", "everything"): 0.60,
}
HELD_KIB = 12.0
WORKS = ("exchanges", "opened", "held")
KINDS = ("bare", "session", "everything", "library")


def main(words: list[str]) -> int:
    """Everything, or one measurement in this process (``KIND WORK URL CA HELD``)."""
    if len(words) == 5:
        kind, work, url, ca_file, held = words
        print(json.dumps(measure(kind, work, url, ca_file or None, int(held))))
        return 0
    held = int(words[0]) if words else 5000
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    missed = 0
    for tls in (False, True):
        options = ["--limits", "off", "--bot-delay", "3ms", *(["--tls"] if tls else [])]
        with Simulator(*options) as server:
            for work in WORKS:
                missed += show(work, medians(work, server, held), tls)
    return int(missed > 0)


def medians(work: str, server: Simulator, held: int) -> dict[str, dict[str, float]]:
    """The figures of each kind: medians of rounds in which the kinds take turns."""
    rounds = [
        {kind: run(kind, work, server, held) for kind in KINDS}
        for _ in range(1 if work == "held" else ROUNDS)
    ]
    return {
        kind: {name: median(each[kind][name] for each in rounds) for name in rounds[0][kind]}
        for kind in KINDS
    }


def run(kind: str, work: str, server: Simulator, held: int) -> dict[str, float]:
    """One measurement in a fresh process."""
    words = [kind, work, server.url, server.ca_file or "", str(held)]
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise SystemExit(f"{kind} {work}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(work: str, found: dict[str, dict[str, float]], tls: bool) -> int:
    """One line for each kind; how many floors were missed."""
    missed = 0
    print(f"\n{work}, {'TLS' if tls else 'plain'}", flush=True)
    for kind, figures in found.items():
        if work == "held":
            more = figures["kib"] - found["bare"]["kib"]
            bad = more > HELD_KIB or figures["fds"] > 1.05 or figures["threads"] > 20
            print(
                f"  {kind:<12}{figures['kib']:8.1f} KiB each ({more:+.1f})  "
                f"{figures['fds']:.2f} descriptors each, {figures['threads']:.0f} threads in all"
                + ("  MISSED" if bad else "")
            )
        else:
            ratio = figures["per_cpu_s"] / found["bare"]["per_cpu_s"]
            bad = ratio < FLOORS.get((work, kind), 0.0)
            print(
                f"  {kind:<12}{figures['per_cpu_s']:10,.0f} per CPU second   ratio {ratio:.2f}"
                + ("  MISSED" if bad else "")
            )
        missed += bad
    return missed


def measure(kind: str, work: str, url: str, ca_file: str | None, held: int) -> dict[str, float]:
    """One kind of client at one kind of work."""
    if kind == "bare":
        bare = Bare(url, ca_file)
        return {"exchanges": bare.exchanges, "opened": bare.opened, "held": bare.held}[work](held)
    guests = Guests(url, ca_file, everything=kind != "session", library=kind == "library")
    return {"exchanges": guests.exchanges, "opened": guests.opened, "held": guests.held}[work](held)


class Bare:
    """Sockets, the same event loop and ``ClientProtocol``: no JSON, no stamps, no state."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        from websockets.uri import parse_uri

        self.uri = parse_uri(url)
        self.id = url.rpartition("=")[2]
        self.context = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def connect(self) -> "BareLine":
        """Connect, upgrade, configure; blocking."""
        return BareLine(self)

    def exchanges(self, _: int) -> dict[str, float]:
        """Texts with echo and reply."""
        import gevent
        from gevent.hub import get_hub

        lines = [self.connect() for _ in range(GUESTS)]
        watchers = []
        for line in lines:
            line.sock.setblocking(False)
            watcher = get_hub().loop.io(line.sock.fileno(), 1)
            watcher.start(line.turn)
            watchers.append(watcher)
            line.send(line.text)
        gevent.sleep(0.5)
        before, cpu = sum(line.frames for line in lines), time.process_time()
        gevent.sleep(SECONDS)
        cpu = time.process_time() - cpu
        return {"per_cpu_s": (sum(line.frames for line in lines) - before) / 2 / cpu}

    def opened(self, _: int) -> dict[str, float]:
        """Connect, configure, Clear, close; one after the other is the cheapest way."""
        count, end, cpu = 0, time.monotonic() + SECONDS, time.process_time()
        while time.monotonic() < end:
            line = self.connect()
            line.send(line.clear)
            line.until(3)  # echo, SessionClearedEvent, ConnectionClosedEvent
            line.protocol.send_close(1000)
            line.flush()
            line.sock.close()
            count += 1
        return {"per_cpu_s": count / (time.process_time() - cpu)}

    def held(self, count: int) -> dict[str, float]:
        """Sessions that do nothing."""
        first = self.connect()
        before, fds = rss_kib(), len(os.listdir("/proc/self/fd"))
        lines = [self.connect() for _ in range(count)]
        found = per_session(before, fds, count)
        del first, lines
        return found


class BareLine:
    """One connection of the bare loop."""

    def __init__(self, bare: Bare) -> None:
        from websockets.client import ClientProtocol

        self.tls: Any = None
        self.sock = socket.create_connection((bare.uri.host, bare.uri.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if bare.context is not None:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = bare.context.wrap_bio(
                self.incoming, self.outgoing, server_hostname=bare.uri.host
            )
            while True:
                try:
                    self.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self.sock.sendall(self.outgoing.read())
                    self.incoming.write(self.sock.recv(16384))
            self.sock.sendall(self.outgoing.read())
        self.protocol = ClientProtocol(bare.uri)
        self.frames = -1  # the answer to the upgrade
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        self.until(1)
        token = str(uuid.uuid4())
        start = f'"token":"{token}","tracingId":"{uuid.uuid4()}"'
        self.text = (
            f'{{"action":"onMessage",{start},"message":{{"type":"Text","text":"How late is it?",'
            f'"metadata":{{"id":"{uuid.uuid4()}"}}}}}}'
        ).encode()
        self.clear = (
            f'{{"action":"onMessage",{start},"message":{{"type":"Event","events":'
            '[{"eventType":"Presence","presence":{"type":"Clear"}}]}}'
        ).encode()
        self.send(
            f'{{"action":"configureSession","deploymentId":"{bare.id}",{start},'
            '"startNew":false}'.encode()
        )
        self.until(1)
        self.frames = 0

    def send(self, data: bytes) -> None:
        """One text frame."""
        self.protocol.send_text(data)
        self.flush()

    def flush(self) -> None:
        """Write what there is."""
        for data in self.protocol.data_to_send():
            if self.tls is not None:
                self.tls.write(data)
                data = self.outgoing.read()
            self.sock.sendall(data)

    def read(self) -> None:
        """One read."""
        data = self.sock.recv(16384)
        if not data:
            raise SystemExit("the server has closed the connection")
        if self.tls is not None:
            self.incoming.write(data)
            data = b""
            try:
                while chunk := self.tls.read(16384):
                    data += chunk
            except ssl.SSLWantReadError:
                pass
            if not data:
                return
        self.protocol.receive_data(data)
        self.frames += len(self.protocol.events_received())

    def turn(self) -> None:
        """What the loop calls: read, and send the next text behind each second frame."""
        before = self.frames
        self.read()
        for number in range(before + 1, self.frames + 1):
            if number % 2 == 0:
                self.send(self.text)

    def until(self, more: int) -> None:
        """Read until so many more frames are there; blocking."""
        wanted = self.frames + more
        while self.frames < wanted:
            self.read()


class Guests:
    """Our own, with or without Locust around them."""

    def __init__(self, url: str, ca_file: str | None, *, everything: bool, library: bool) -> None:
        self.library = library
        self.directory = Path(tempfile.mkdtemp(prefix="bench-guest-"))
        self.everything = everything
        self.url, self.ca_file = url, ca_file
        self.count = 0
        self.inside = 0
        self.story: Callable[[Any], None] = print
        if everything:
            import harness.load  # noqa: F401 - patches the process, so it comes first
        import gevent

        self.gevent = gevent

    def exchanges(self, _: int) -> dict[str, float]:
        """Texts with echo and reply."""

        def talk(guest: Any) -> None:
            while True:
                guest.say("How late is it?")
                guest.await_reply()
                self.count += 1

        self.story = talk
        self.start(GUESTS)
        self.gevent.sleep(2.0)
        return self.counted()

    def opened(self, _: int) -> dict[str, float]:
        """Sessions opened and cleared."""

        def glance(guest: Any) -> None:
            self.count += 1

        self.story = glance
        self.start(OPENERS)
        self.gevent.sleep(1.5)
        return self.counted()

    def held(self, count: int) -> dict[str, float]:
        """Sessions that do nothing."""
        quiet = self.gevent.event.Event() if hasattr(self.gevent, "event") else None

        def stay(guest: Any) -> None:
            self.inside += 1
            guest.idle("1h")

        del quiet
        self.story = stay
        self.start(1)
        self.wait_inside(1)
        before, fds = rss_kib(), len(os.listdir("/proc/self/fd"))
        self.start(count, more=True)
        self.wait_inside(count + 1)
        return per_session(before, fds, count)

    def wait_inside(self, count: int) -> None:
        """Until so many guests are in session."""
        end = time.monotonic() + 120
        while self.inside < count:
            if time.monotonic() > end:
                raise SystemExit(f"only {self.inside} of {count} guests are in session")
            self.gevent.sleep(0.05)
        self.gevent.sleep(0.5)

    def counted(self) -> dict[str, float]:
        """How much was done per CPU second from now on."""
        before, cpu = self.count, time.process_time()
        self.gevent.sleep(SECONDS)
        return {"per_cpu_s": (self.count - before) / (time.process_time() - cpu)}

    def start(self, count: int, *, more: bool = False) -> None:
        """Begin with so many guests."""
        if self.everything:
            self._start_users(count, more)
        else:
            self._start_sessions(count, more)

    def _start_sessions(self, count: int, more: bool) -> None:
        from harness.config.target import parse_target
        from harness.guest.session import GuestSession
        from harness.guest.settings import UNLIMITED, GuestSettings
        from harness.ledger.ledger import Ledger, Store
        from harness.measure.recorder import Recorder

        if not more:
            target = parse_target(self.url, ca_file=self.ca_file)
            self.settings = GuestSettings(
                target=target,
                tls=target.tls_context(),
                budget=UNLIMITED,
                connect_within_s=60,
                open_within_s=60,
            )
            self.ledger = Ledger(Store(self.directory / "ledger-b.sqlite", {"worker": "b"}))
            self.recorder = Recorder()

            def tick() -> None:
                while True:
                    self.gevent.sleep(1)
                    self.recorder.take()

            self.gevent.spawn(tick)

        def visit() -> None:
            while True:
                with GuestSession(
                    self.settings, str(uuid.uuid4()), ledger=self.ledger, recorder=self.recorder
                ) as guest:
                    self.story(guest)

        for number in range(count):
            self.gevent.spawn(visit)
            if number % 50 == 49:
                self.gevent.sleep(0.05)

    def _start_users(self, count: int, more: bool) -> None:
        from locust.env import Environment

        from harness.config.target import Terms, parse_target
        from harness.guest.settings import GuestSettings
        from harness.load import GuestUser
        from harness.load.options import GuestOptions, RunOptions
        from harness.load.run import Run

        bench = self

        if not more:

            class Visitor(GuestUser):
                def visit(self) -> None:
                    with self.guest() as guest:
                        bench.story(guest)

                tasks = [visit]  # noqa: RUF012 - Locust reads it from the class

            self.environment = Environment(
                user_classes=[Visitor], parsed_options=argparse.Namespace(num_users=count)
            )
            options = RunOptions(
                terms=Terms(name="bench", target=parse_target(self.url, ca_file=self.ca_file)),
                reports=self.directory,
                guest_options=GuestOptions(paced=False, library=self.library),
            )
            run_dir = self.directory / "run"
            run_dir.mkdir()
            run = Run(self.environment, options, run_dir)
            assert isinstance(run.settings, GuestSettings)
            self.environment.harness_run = run  # type: ignore[attr-defined]
            self.runner = self.environment.create_local_runner()
        self.runner.start(count + (1 if more else 0), spawn_rate=500)


def rss_kib() -> float:
    """Resident memory."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1024


def per_session(before_kib: float, fds: int, count: int) -> dict[str, float]:
    """Figures of held sessions."""
    return {
        "kib": (rss_kib() - before_kib) / count,
        "fds": (len(os.listdir("/proc/self/fd")) - fds) / count,
        "threads": float(threading.active_count()),
    }


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # thousands of guests are not to be cleared one by one: the server goes too
