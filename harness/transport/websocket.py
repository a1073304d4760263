"""A websocket driven by the event loop; :mod:`harness.transport.frames` knows what is on the wire.

One descriptor, no thread and no reading greenlet per connection: the loop calls us when bytes have
come, and we call the receiver. The receiver's methods therefore run inside the event loop and must
not block; to let a waiting greenlet go on, they schedule it.

When bytes arrived is told by the kernel (``SO_TIMESTAMPNS``, Linux, also on TCP: the stamp of the
last segment that a read takes), so that it does not matter how late we come to read them. Elsewhere
the time of the read is used, and :data:`KERNEL_STAMPS` says so.

Is there a guest API at this address that would let us in? Connects, upgrades, closes.
"""

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass, field
from typing import Any, Protocol

from gevent import getcurrent
from gevent.hub import get_hub

from harness.clock import KERNEL_STAMPS, SO_TIMESTAMPNS, monotonic_ns, wall_to_monotonic_ns
from harness.config.target import Target
from harness.errors import ConnectionLost
from harness.transport.dial import Address, Link, check_sources, dial
from harness.transport.frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Control,
    FastFrames,
    FrameError,
    Frames,
    LibraryFrames,
    Upgrade,
    close_payload,
    read_close,
)


@dataclass(slots=True, eq=False)
class Waiter:
    """One waiting greenlet at a time; to notify nobody does nothing.

    Much lighter than an event object with a timeout: one switch per wait, and in most cases no
    timer, because the one of an earlier wait is left running if it comes early enough.
    """

    _waiting: Any = None
    _notified: bool = False
    _timer: Any = None
    _due_ns: int = 0
    _hub: Any = field(default_factory=get_hub)

    def wait(self, timeout_s: float) -> bool:
        """Sleep until :meth:`notify` (True) or until the time is over (False)."""
        deadline = monotonic_ns() + int(timeout_s * 1e9)
        while not self.wait_until(deadline):
            if monotonic_ns() >= deadline:
                return False
        return True

    def wait_until(self, deadline_ns: int) -> bool:
        """As :meth:`wait`, but may also return (False) before the time is over."""
        timer = self._timer
        if timer is None or deadline_ns < self._due_ns:
            if timer is not None:
                timer.stop()
                timer.close()
            after_s = max(0.0, (deadline_ns - monotonic_ns()) / 1e9)
            self._timer = timer = self._hub.loop.timer(after_s)
            self._due_ns = deadline_ns
            timer.start(self._on_timer)
        self._waiting = getcurrent()
        try:
            return self._hub.switch() is True
        finally:
            self._waiting = None

    def notify(self) -> None:
        """Let the waiting greenlet go on, soon; may be called from anywhere."""
        if self._waiting is not None and not self._notified:
            self._notified = True
            self._hub.loop.run_callback(self._wake)

    def wake(self) -> None:
        """Let it go on at once; for the last line of what the event loop calls, and only there."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.switch(True)

    def close(self) -> None:
        """Stop the timer, if one is left running."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def _wake(self) -> None:
        # Only now is it certain that the greenlet still waits here: it may have been killed.
        self._notified = False
        self.wake()

    def _on_timer(self) -> None:
        self.close()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.switch(False)


_TIMESPEC = struct.Struct("@ll")
_unpack_timespec = _TIMESPEC.unpack
_ANCILLARY_SIZE = socket.CMSG_SPACE(_TIMESPEC.size) if KERNEL_STAMPS else 0
_READ_SIZE = 4096
"""Enough for nearly every read; a smaller buffer is a cheaper one."""
_BACKLOG_LIMIT = 1 << 20
_MAX_MESSAGE_BYTES = 1 << 20


class Receiver(Protocol):
    """Who gets what arrives. All methods run inside the event loop and must not block."""

    def on_frame(self, data: bytes, arrived_ns: int, seen_ns: int) -> bool | None:
        """One whole message, with the time its last bytes reached the kernel and ours.

        True if somebody waits for it: :meth:`wake` is called when the read is done with.
        """

    def wake(self) -> None:
        """Let who waits go on, at once."""

    def on_end(self, code: int | None, reason: str) -> None:
        """The connection has ended, by whichever side; called exactly once."""


@dataclass(slots=True, eq=False, repr=False)
class WebSocket:
    """An open websocket. Made by :func:`connect`."""

    _link: Link
    _handshake: Upgrade | None
    _receiver: Receiver
    _frames: Frames
    phases: dict[str, int] = field(init=False)
    """Nanoseconds of each phase of the connecting, by operation name."""
    _close_received: tuple[int | None, str] | None = None
    _close_sent: bool = False
    _backlog: bytes = b""
    closed: bool = False
    """Whether the socket is gone."""
    _answered_ns: int = 0
    _waiter: Waiter = field(default_factory=Waiter)
    _recvmsg: Any = None
    _reader: Any = None
    _writer: Any = None

    def __post_init__(self) -> None:
        sock, self.phases = self._link.sock, self._link.phases
        self._recvmsg = sock.recvmsg if KERNEL_STAMPS else None
        self._reader = get_hub().loop.io(sock.fileno(), 1)

    def send(self, data: bytes) -> int:
        """Send one text message; returns the stamp taken just before the bytes were written.

        Raises ConnectionLost when the connection is not open any more. Never blocks: what the
        kernel does not take at once is kept (up to 1 MiB) and written when it can be.
        """
        if self.closed or self._close_sent or self._handshake is not None:
            raise ConnectionLost(*(self._close_received or (None, "")))
        frame = self._frames.encode(TEXT, data)
        if self._link.tls is not None:
            frame = self._sealed(frame)
        stamp = monotonic_ns()
        self._push(frame)
        return stamp

    def close(self, *, wait_s: float = 1.0) -> None:
        """Close with 1000 and give the other side ``wait_s`` seconds to answer; never raises."""
        if self.closed:
            return
        if not self._close_sent and self._handshake is None:
            self._close_sent = True
            self._write_frame(CLOSE, close_payload(1000))
        if not self.closed and wait_s > 0:
            self._waiter.wait(wait_s)
        self._end()

    def abort(self) -> None:
        """Drop the socket without a word, as a crashed client would."""
        with contextlib.suppress(OSError):
            self._link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end()

    def upgrade(self, *, timeout_s: float) -> None:
        """Do the HTTP upgrade. Raises UpgradeRejected or ConnectFailed; the socket is closed then.

        The server may send its first frames right behind the 101 answer; they are received.
        """
        started = monotonic_ns()
        handshake = self._handshake
        assert handshake is not None
        if KERNEL_STAMPS:
            self._link.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._reader.start(self._on_readable)
        try:
            self._write(handshake.request())
            if self._handshake is not None and not self.closed:
                self._waiter.wait(timeout_s)
        except BaseException:
            self._end()
            raise
        if self._handshake is None:
            # Whatever came behind the answer may have ended the connection again already; the
            # receiver has been told then.
            self.phases["upgrade"] = self._answered_ns - started
            return
        self._end()
        raise handshake.error(timeout_s)

    # What the event loop calls.

    def _on_readable(self) -> None:
        tls = self._link.tls
        try:
            if self._recvmsg is not None:
                data, ancillary, _, _ = self._recvmsg(_READ_SIZE, _ANCILLARY_SIZE)
                arrived = seen = monotonic_ns()
                if ancillary:
                    seconds, nanoseconds = _unpack_timespec(ancillary[0][2])
                    arrived = wall_to_monotonic_ns(seconds * 1_000_000_000 + nanoseconds, seen)
            else:
                data = self._link.sock.recv(_READ_SIZE)
                arrived = seen = monotonic_ns()
            if tls is not None and data:
                data = tls.decrypt(data)
                if not data and not tls.ended:
                    self._push(tls.pending())
                    return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # reset, or TLS gone wrong (ssl.SSLError is one of these)
            data, arrived = b"", monotonic_ns()
            seen = arrived
        if not data:
            self._on_eof()
            return
        if self._handshake is not None:
            data = self._feed_handshake(data, arrived)
        receiver, awaited = self._receiver, False
        for item in self._frames.feed(data):
            if type(item) is bytes:
                if receiver.on_frame(item, arrived, seen):
                    awaited = True
            else:
                if type(item) is FrameError:
                    self._on_error(item)
                else:
                    self._on_control(item)  # type: ignore[arg-type]  # it is one of three
                if self.closed:
                    break
        if tls is not None and tls.ended:
            self._on_eof()
        if awaited:
            receiver.wake()  # the last thing: the story goes on from here, and may close us

    def _on_eof(self) -> None:
        if self._handshake is not None:
            self._handshake.end()
        self._end()

    def _feed_handshake(self, data: bytes, arrived: int) -> bytes:
        """What follows the answer that these bytes complete, if they do."""
        assert self._handshake is not None
        accepted, rest = self._handshake.feed(data)
        if accepted:
            self._handshake = None
            self._answered_ns = arrived
            self._waiter.notify()
        elif self._handshake.failed:
            self._waiter.notify()
        return rest

    def _on_error(self, error: FrameError) -> None:
        self._close_received = None, error.why
        if not self._close_sent:
            self._write_frame(CLOSE, close_payload(error.code))
        # What came was no websocket any more: there is nothing more to learn from waiting.
        self._end()

    def _on_control(self, control: Control) -> None:
        if control.opcode == PING:
            if not self._close_sent:
                self._write_frame(PONG, control.payload)
        elif control.opcode == CLOSE:
            self._close_received = read_close(control.payload)
            if not self._close_sent:
                code = read_close(control.payload)[0] if control.payload else 1000
                self._close_sent = True
                self._write_frame(CLOSE, close_payload(code))
            # Both close frames are out. The server should end the TCP connection now; there is
            # no sense in waiting for it.
            self._end()

    def _on_writable(self) -> None:
        backlog, self._backlog = self._backlog, b""
        self._push(backlog)
        if not self._backlog and self._writer is not None:
            self._writer.stop()

    # Sending.

    def _write_frame(self, opcode: int, payload: bytes) -> None:
        self._write(self._frames.encode(opcode, payload))

    def _write(self, data: bytes) -> None:
        self._push(self._sealed(data))

    def _sealed(self, data: bytes) -> bytes:
        """What goes over the wire; nothing where TLS has failed, which ends the connection."""
        tls = self._link.tls
        if tls is not None:
            try:
                return tls.encrypt(data)
            except ssl.SSLError:
                self._end()
                return b""
        return data

    def _push(self, data: bytes) -> None:
        if self.closed or not data:
            return
        if self._backlog:
            self._backlog += data
            if len(self._backlog) > _BACKLOG_LIMIT:
                self._end()  # the other side does not read; there is no sense in storing more
            return
        try:
            sent = self._link.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._end()
            return
        if sent < len(data):
            self._backlog = data[sent:]
            if self._writer is None:
                self._writer = get_hub().loop.io(self._link.sock.fileno(), 2)
            self._writer.start(self._on_writable)

    # The end.

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._link.close()
        self._waiter.close()
        self._waiter.notify()
        self._receiver.on_end(*(self._close_received or (None, "")))


def connect(
    address: Address,
    path: str,
    receiver: Receiver,
    *,
    timeout_s: float = 10.0,
    origin: str | None = None,
    library: bool = False,
) -> WebSocket:
    """Dial and upgrade. ``path`` is the resource with its query, such as ``/v1?deploymentId=…``.

    With ``library`` the upgrade and all frames are the websockets library's work.
    Raises ConnectFailed or UpgradeRejected; nothing stays open then.
    """
    started = monotonic_ns()
    link = dial(address, timeout_s=timeout_s)
    dialled = monotonic_ns()
    frames: Frames = (LibraryFrames if library else FastFrames)(_MAX_MESSAGE_BYTES)
    upgrade = Upgrade(address, path, origin, library=library)
    websocket = WebSocket(link, upgrade, receiver, frames)
    left = timeout_s - (dialled - started) / 1e9
    websocket.upgrade(timeout_s=max(0.001, left))
    websocket.phases["connect"] = dialled - started + websocket.phases["upgrade"]
    return websocket


class _Nobody:
    def on_frame(self, data: bytes, arrived_ns: int, seen_ns: int) -> None:
        """Nothing is expected."""

    def wake(self) -> None:
        """Nobody waits."""

    def on_end(self, code: int | None, reason: str) -> None:
        """It may end as it likes."""


def probe(target: Target, *, timeout_s: float = 10.0) -> dict[str, int]:
    """Upgrade and leave again; nanoseconds by phase.

    An upgrade without configureSession creates no session. Raises ConnectFailed, UpgradeRejected
    or ConfigError.
    """
    check_sources(target)
    address = Address.of(target, target.tls_context())
    websocket = connect(
        address, target.resource, _Nobody(), timeout_s=timeout_s, origin=target.origin
    )
    websocket.close(wait_s=0.5)
    return websocket.phases
