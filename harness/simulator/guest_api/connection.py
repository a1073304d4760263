"""One guest's websocket: reading requests, writing frames, closing, and being cut.

Frames are written straight to the transport in the order of the calls, so that handlers need not
be coroutines; with compression switched on they go through aiohttp's writer instead.

Normally the event loop reads, a task hands the request on, and what is written leaves at the end of
the loop's round; none of these moments is known, and on a busy machine milliseconds lie between
them. With ``--stamps`` each connection's bytes are read with the kernel's receive stamp
(``SO_TIMESTAMPNS``, Linux) and written at once, so that the account can say how long a request
waited to be read, how late its answer was, and what the whole took: from the moment when the
kernel had the request until the answer had been given to it. Not for TLS.
"""

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from harness.clock import monotonic_ns, wall_to_monotonic_ns
from harness.simulator import frames
from harness.simulator.faults import send_with_faults

if TYPE_CHECKING:
    from harness.simulator.service import Service
    from harness.simulator.truth import Deployment, Session

_SO_TIMESTAMPNS = 35  # not named by the socket module; same number on every Linux we run on
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_SIZE = socket.CMSG_SPACE(_TIMESPEC.size)
READ_SIZE = 65_536


class StampedSocket:
    """A second descriptor of a transport's socket, read and written past the transport."""

    __slots__ = ("_loop", "_sock", "_transport", "arrived_ns")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self.arrived_ns = 0
        """Monotonic time at which the kernel received the newest bytes that were read."""
        raw = transport.get_extra_info("socket")
        self._sock = socket.socket(raw.family, raw.type, raw.proto, os.dup(raw.fileno()))
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        transport.pause_reading()
        loop.add_reader(self._sock.fileno(), self._on_readable)

    def send(self, data: bytes) -> None:
        """Write now what the kernel takes; the transport keeps the rest."""
        sent = 0
        if not self._transport.get_write_buffer_size():
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                pass
            except OSError:  # the peer is gone; the reading side tells of it
                return
        if sent < len(data):
            self._transport.write(data[sent:])

    def close(self) -> None:
        """Give the second descriptor back; the connection only ends when both are closed."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _on_readable(self) -> None:
        try:
            data, ancillary, _, _ = self._sock.recvmsg(READ_SIZE, _ANCILLARY_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            self._transport.abort()
            return
        if not data:
            self.close()
            self._transport.close()
            return
        self.arrived_ns = now = monotonic_ns()
        if ancillary:
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            self.arrived_ns = wall_to_monotonic_ns(seconds * 1_000_000_000 + nanoseconds, now)
        protocol = self._transport.get_protocol()
        protocol.data_received(data)  # type: ignore[attr-defined]  # aiohttp's, it has one


class Refused(Exception):
    """A request is answered with an error: ``code`` and ``text``.

    With ``wait_s`` it is over a rate: 429, the whole seconds to wait, and ``inner`` as errorCode.
    """

    def __init__(
        self,
        code: int,
        text: str = "Request failed.",
        *,
        wait_s: float | None = None,
        inner: int = 4029,
    ) -> None:
        super().__init__(code, text)
        self.code, self.text, self.wait_s, self.inner = code, text, wait_s, inner


BUFFER_LIMIT = 8 * 1024 * 1024
"""A client that reads so slowly that this many bytes wait for it is cut."""


def cut_transport(transport: asyncio.Transport, how: str) -> None:
    """End a TCP connection at once: with a reset (``rst``), or plainly (``fin``)."""
    if how == "rst":
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()


@dataclass(slots=True, eq=False)
class Connection:
    """A connected websocket. ``session`` is None until it has configured one."""

    service: "Service"
    deployment: "Deployment"
    _ws: "web.WebSocketResponse[bool]"
    transport: asyncio.Transport
    _: KW_ONLY
    base: str
    id: str = field(init=False)
    session: "Session | None" = None
    opened: float = field(init=False)
    last_active: float = field(init=False)
    request_times: deque[float] | None = None
    echo_times: deque[float] | None = None
    overtaken: bytes | None = None
    closing: bool = False
    muted: bool = False
    stamped: StampedSocket | None = None
    _compress: bool = field(init=False)
    _awaited: set[asyncio.Task[object]] | None = None

    def __post_init__(self) -> None:
        self.id = self.service.ids.hex()[:16]
        self.opened = self.last_active = self.service.now()
        self._compress = bool(self._ws.compress)
        if self.service.settings.stamps:
            self.stamped = StampedSocket(self.transport, self.service.loop)

    def send(self, frame: bytes) -> bool:
        """Send one frame's JSON, with whatever frame faults are on; False if they spoilt it."""
        if self.service.faults.frames:
            return send_with_faults(self, frame)
        self.write(frame)
        return True

    def refuse(self, error: Refused, tracing_id: str | None) -> None:
        """Answer a request with an error, in the class that the knob sets."""
        service, code, text = self.service, error.code, error.text
        service.truth.count(f"error_{code}")
        if service.question is not None:
            service.question.refused = code
        if error.wait_s is not None:
            wait_s = max(1, -int(-error.wait_s // 1))
            self.send(frames.too_many(wait_s, text, tracing_id, code=error.inner))
        elif service.knobs.error_class == "string":
            self.send(frames.error(code, text, tracing_id))
        else:
            body = {"name": "Error", "message": text, "errorCode": code, "errorMessage": text}
            self.send(frames.envelope("response", "Error", body, code=code, tracing_id=tracing_id))

    def retire(self, reason: str | None = None) -> None:
        """Tell the connection that it no longer belongs to a session."""
        service = self.service
        body = {} if reason is None else {service.knobs.closed_reason_field: reason}
        self.send(frames.message("ConnectionClosedEvent", body))
        if service.knobs.closed_connection_code:
            service.later(0.05, self.close, service.knobs.closed_connection_code)

    def write(self, frame: bytes) -> None:
        """Write one frame as it is; nothing once the connection is closing."""
        self.push(frames.text_frame(frame), frame)

    def push(self, ready: bytes, frame: bytes) -> None:
        """``write``, for a frame that has its websocket header already."""
        if self.closing or self.muted:
            return
        if self.service.stall.on:
            self.service.stall.defer(self.push, ready, frame)
            return
        if self._compress:
            self._later(self._ws.send_frame(frame, WSMsgType.TEXT))
            return
        transport = self.transport
        if transport.is_closing():
            return
        if self.stamped is not None:
            self.stamped.send(ready)
        else:
            transport.write(ready)
        if transport.get_write_buffer_size() > BUFFER_LIMIT:
            self.service.log("a connection that reads too slowly was cut")
            self.cut()

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake from our side."""
        if not self.closing:
            self.closing = True
            self._later(self._ws.close(code=code, message=reason.encode()))

    def cut(self, how: str = "fin") -> None:
        """End the TCP connection without a close frame: ``fin``, or ``rst`` (a reset)."""
        self.closing = True
        cut_transport(self.transport, how)

    def _later(self, work: "asyncio.Future[object] | object") -> None:
        task: asyncio.Task[object] = asyncio.ensure_future(work)  # type: ignore[arg-type]
        if self._awaited is None:
            self._awaited = set()
        self._awaited.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[object]") -> None:
        if self._awaited is not None:
            self._awaited.discard(task)
        if not task.cancelled():
            task.exception()  # a peer that vanished meanwhile is no news

    async def read(self, handle: Callable[["Connection", bytes], None]) -> None:
        """Hand each message to ``handle`` until the connection ends."""
        receive = self._ws.receive
        stamped = self.stamped
        while True:
            got = await receive()
            kind = got.type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                if stamped is not None:
                    self.service.arrived_s = stamped.arrived_ns / 1e9
                handle(self, got.data)
            elif kind is WSMsgType.PING:
                await self._ws.pong(got.data)
                if self.service.knobs.pings_keep_alive:
                    self.last_active = self.service.now()
            elif kind is not WSMsgType.PONG:
                return
