"""The websocket on real sockets: framing, stamps, and every way a connection can end."""

import select
import socket as socketlib
import threading
import time

import gevent
import pytest
from examples import at_most
from fakes import FakeServer, Peer
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from harness.clock import monotonic_ns
from harness.errors import ConnectFailed, ConnectionLost, UpgradeRejected
from harness.transport.dial import Address, Tls
from harness.transport.websocket import KERNEL_STAMPS, WebSocket, connect


class Log:
    """A receiver that keeps all it gets."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, int, int]] = []
        self.ends: list[tuple[int | None, str]] = []
        self.changed = Event()

    def on_frame(self, data: bytes, arrived_ns: int, seen_ns: int) -> None:
        self.frames.append((data, arrived_ns, seen_ns))
        self.changed.set()

    def wake(self) -> None:
        raise AssertionError("nobody waits here")

    def on_end(self, code: int | None, reason: str) -> None:
        self.ends.append((code, reason))
        self.changed.set()

    def wait(self, *, frames: int = 0, ends: int = 0) -> None:
        with gevent.Timeout(10):
            while len(self.frames) < frames or len(self.ends) < ends:
                self.changed.wait()
                self.changed.clear()


def open_to(server: FakeServer, log: Log) -> WebSocket:
    address = Address(host="127.0.0.1", port=server.port, tls=server.client_tls)
    return connect(address, "/v1?deploymentId=x", log, timeout_s=5)


def wait_in_the_kernel(socket: WebSocket) -> None:
    """Block the whole loop until bytes have come, which nobody reads yet."""
    waiting = select.poll()
    waiting.register(socket._link.sock.fileno(), select.POLLIN)
    assert waiting.poll(10_000)


def echo(peer: Peer) -> None:
    while (message := peer.receive()) is not None:
        peer.send(message)


@pytest.mark.parametrize("tls", [False, True])
def test_messages_go_and_come_with_their_stamps(tls: bool) -> None:
    log = Log()
    with FakeServer(echo, tls=tls) as server:
        socket = open_to(server, log)
        sent = [socket.send(b'{"n":%d}' % n) for n in range(20)]
        log.wait(frames=20)
        socket.close()
    assert [data for data, _, _ in log.frames] == [b'{"n":%d}' % n for n in range(20)]
    assert all(s <= arrived <= seen for s, (_, arrived, seen) in zip(sent, log.frames, strict=True))
    assert log.ends == [(1000, "")]
    expected = {"tcp", "upgrade", "connect"} | ({"tls"} if tls else set())
    assert socket.phases.keys() == expected


def test_the_work_of_tls_is_not_the_services_time(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    encrypt = Tls.encrypt

    def slow_encrypt(tls: Tls, data: bytes) -> bytes:
        found = encrypt(tls, data)
        time.sleep(0.02)
        done.append(monotonic_ns())
        return found

    with FakeServer(echo, tls=True) as server:
        socket = open_to(server, Log())
        monkeypatch.setattr(Tls, "encrypt", slow_encrypt)
        assert socket.send(b"{}") >= done[0]
        monkeypatch.undo()
        socket.close()


@pytest.mark.skipif(not KERNEL_STAMPS, reason="arrival stamps come from the kernel on Linux only")
@pytest.mark.parametrize("tls", [False, True])
def test_a_stall_of_our_loop_does_not_change_when_a_message_arrived(tls: bool) -> None:
    log = Log()

    with FakeServer(echo, tls=tls) as server:
        socket = open_to(server, log)
        arrived = seen = 0
        while arrived == seen:  # the kernel begins to stamp some time after the first who asks
            log.frames.clear()
            socket.send(b"{}")
            log.wait(frames=1)
            _, arrived, seen = log.frames[0]
        log.frames.clear()
        socket.send(b"{}")
        wait_in_the_kernel(socket)
        came = monotonic_ns()
        time.sleep(0.2)
        woke = monotonic_ns()
        log.wait(frames=1)
        socket.close()
    _, arrived, seen = log.frames[0]
    assert arrived <= came < woke <= seen


@pytest.mark.parametrize("tls", [False, True])
def test_a_close_by_the_server_is_told_with_code_and_reason(tls: bool) -> None:
    log = Log()
    with FakeServer(lambda peer: peer.close(1001, "going away"), tls=tls) as server:
        socket = open_to(server, log)
        log.wait(ends=1)
        with pytest.raises(ConnectionLost, match="1001: going away"):
            socket.send(b"{}")
    assert log.ends == [(1001, "going away")]


@pytest.mark.parametrize("tls", [False, True])
def test_a_reset_is_the_end_without_a_code(tls: bool) -> None:
    log = Log()
    with FakeServer(lambda peer: peer.reset(), tls=tls) as server:
        socket = open_to(server, log)
        log.wait(ends=1)
        assert socket.closed
    assert log.ends == [(None, "")]


def test_the_end_of_the_tls_stream_is_the_end_though_tcp_goes_on() -> None:
    log = Log()

    def end_tls(peer: Peer) -> None:
        peer.send({"last": 1})
        peer.sock.unwrap()  # type: ignore[attr-defined]  # says good-bye and waits for ours

    with FakeServer(end_tls, tls=True) as server:
        socket = open_to(server, log)
        log.wait(frames=1, ends=1)
        assert socket.closed
    assert log.ends == [(None, "")]


def test_closing_twice_and_after_the_end_is_harmless() -> None:
    log = Log()
    with FakeServer(echo) as server:
        socket = open_to(server, log)
        socket.close()
        socket.close()
        socket.abort()
    assert len(log.ends) == 1


def test_a_server_that_ignores_our_close_does_not_hold_us() -> None:
    log = Log()

    def deaf(peer: Peer) -> None:
        time.sleep(0.5)

    with FakeServer(deaf) as server:
        socket = open_to(server, log)
        socket.close(wait_s=0.05)
    assert log.ends == [(None, "")]


@pytest.mark.parametrize(
    ("status", "text"), [(403, "unknown deployment id"), (429, "too many"), (503, "HTTP 503")]
)
def test_a_refused_upgrade_carries_its_status(status: int, text: str) -> None:
    with (
        FakeServer(echo, reject=(status, "no")) as server,
        pytest.raises(UpgradeRejected, match=text) as caught,
    ):
        open_to(server, Log())
    assert (caught.value.status, caught.value.body) == (status, "no")


def test_something_that_is_no_websocket_is_refused_in_the_upgrade() -> None:
    listener = socketlib.create_server(("127.0.0.1", 0))

    def garbage() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(4096)
            sock.sendall(b"220 mail.example ESMTP\r\n\r\n")

    thread = threading.Thread(target=garbage, daemon=True)
    thread.start()
    with listener, pytest.raises(ConnectFailed, match="upgrade"):
        connect(Address(host="127.0.0.1", port=listener.getsockname()[1]), "/v1", Log())
    thread.join()


def test_a_ping_is_answered() -> None:
    log = Log()
    pongs: list[bytes] = []

    def ping(peer: Peer) -> None:
        peer.protocol.send_ping(b"are you there")
        peer.flush()
        data = peer.sock.recv(4096)
        pongs.append(data)
        peer.send({"done": 1})
        peer.receive()

    with FakeServer(ping) as server:
        socket = open_to(server, log)
        log.wait(frames=1)
        socket.close()
    assert len(pongs[0]) == 2 + 4 + len(b"are you there")


def test_a_message_larger_than_allowed_ends_the_connection() -> None:
    log = Log()
    with FakeServer(lambda peer: (peer.send(b"x" * 3_000_000), peer.receive())[0]) as server:
        open_to(server, log)
        log.wait(ends=1)
    assert log.frames == []


def test_what_the_kernel_does_not_take_at_once_is_written_later() -> None:
    log = Log()
    sizes: list[int] = []

    def slow(peer: Peer) -> None:
        time.sleep(0.2)
        for _ in range(40):
            message = peer.receive()
            assert message is not None
            sizes.append(len(message["x"]))
        peer.send({"done": 1})
        peer.receive()

    with FakeServer(slow) as server:
        socket = open_to(server, log)
        for _ in range(40):
            socket.send(b'{"x":"' + b"y" * 90_000 + b'"}')
        log.wait(frames=1)
        socket.close()
    assert sizes == [90_000] * 40


WIRE = b"".join(
    [
        Frame(Opcode.TEXT, b'{"n":1}').serialize(mask=False),
        Frame(Opcode.TEXT, b'{"n"', fin=False).serialize(mask=False),
        Frame(Opcode.CONT, b":2}", fin=True).serialize(mask=False),
        Frame(Opcode.TEXT, b'{"n":"' + b"z" * 300 + b'"}').serialize(mask=False),
    ]
)


@at_most(30)
@given(st.lists(st.integers(min_value=1, max_value=120), max_size=12))
def test_any_chunking_of_the_bytes_gives_the_same_messages(sizes: list[int]) -> None:
    log = Log()

    def pieces(peer: Peer) -> None:
        peer.send_in_pieces(WIRE, sizes)
        peer.receive()

    with FakeServer(pieces) as server:
        socket = open_to(server, log)
        log.wait(frames=3)
        socket.close()
    assert [data for data, _, _ in log.frames] == [
        b'{"n":1}',
        b'{"n":2}',
        b'{"n":"' + b"z" * 300 + b'"}',
    ]


@pytest.mark.parametrize("tls", [False, True])
def test_who_waits_goes_on_when_the_whole_read_was_handed_over(tls: bool) -> None:
    class Awaited(Log):
        def __init__(self) -> None:
            super().__init__()
            self.woken_at: list[int] = []

        def on_frame(self, data: bytes, arrived_ns: int, seen_ns: int) -> bool:
            super().on_frame(data, arrived_ns, seen_ns)
            return data == b"1"

        def wake(self) -> None:
            self.woken_at.append(len(self.frames))
            socket.close(wait_s=0)  # the story may do anything at all

    log = Awaited()

    def answer(peer: Peer) -> None:
        peer.receive()
        wire = b"".join(Frame(Opcode.TEXT, b"%d" % n).serialize(mask=False) for n in range(3))
        peer.sock.sendall(wire)
        peer.receive()

    with FakeServer(answer, tls=tls) as server:
        socket = open_to(server, log)
        socket.send(b"{}")
        log.wait(frames=3, ends=1)
    assert log.woken_at == [3]
