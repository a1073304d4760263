"""Reading and writing a connection ourselves, to know when its bytes really came and went.

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

from harness.clock import monotonic_ns, wall_to_monotonic_ns

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
