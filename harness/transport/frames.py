"""The upgrade to a websocket, and then its frames (RFC 6455), as a client without extensions.

:class:`FastFrames` does the work of the ``websockets`` library's sans-I/O protocol, which serves
any role, extension and state, for a client without extensions (they are never offered, so a frame
with one of their bits set is an error). It is kept because it costs less: with the library's
upgrade and frames (:class:`LibraryFrames`, ``harness run --websockets library``) whole runs do
22 % fewer texts and 15 % fewer sessions per CPU second (``make bench-guest``, its kinds
*everything* and *library*; websockets 17.4, Python 3.11, 2026-11-28).
Tests hold both to the same messages, errors and close codes for the same bytes in any portions.

Neither looks whether a text is UTF-8: it is handed on as bytes, and the codec refuses what is none.
Only ours bounds the number of fragments of a message.

A load test makes thousands of upgrades, and nearly every answer is the plain one. That one is
checked here; whatever is not plainly right goes to the library's protocol, which knows everything
that a server may answer and decides.
"""

import contextlib
import logging
import os
import re
import struct
from base64 import b64encode
from dataclasses import KW_ONLY, dataclass, field
from hashlib import sha1
from typing import NamedTuple, Protocol

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, ProtocolError
from websockets.frames import Close, Frame, Opcode
from websockets.headers import build_host
from websockets.protocol import OPEN, Side
from websockets.protocol import Protocol as LibraryProtocol
from websockets.uri import WebSocketURI

from harness.errors import ConnectFailed, TransportError, UpgradeRejected
from harness.transport.dial import MOST_INTERIM, Address
from harness.units import read_retry_after_s

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
PROTOCOL_ERROR, NO_TEXT, TOO_BIG = 1002, 1007, 1009
NO_STATUS = 1005
"""The code of a close frame that gives none."""
_FIN = 0x80
_WHOLE_TEXT = _FIN | TEXT
_SHORT = struct.Struct(">BB4s").pack
_MIDDLING = struct.Struct(">BBH4s").pack
_LONG = struct.Struct(">BBQ4s").pack
_MOST_FRAGMENTS = 4096
"""Of one message: also an empty fragment costs something, and nothing else bounds them."""
_MASKS_AT_ONCE = 512
QUIET = logging.getLogger("harness.transport.websockets")
QUIET.setLevel(logging.CRITICAL)  # the library would log each frame, and with it tokens
_masks: list[bytes] = []
"""Masks have to be unpredictable, so they come from the system, but many in one call."""
if hasattr(os, "register_at_fork"):  # not the same ones in two processes
    os.register_at_fork(after_in_child=_masks.clear)


class FrameError(NamedTuple):
    """The server broke the framing; ``code`` is what to close with."""

    code: int
    why: str


class Control(NamedTuple):
    """A close, ping or pong frame."""

    opcode: int
    payload: bytes


Item = bytes | Control | FrameError


class Frames(Protocol):
    """One connection's frames, both ways."""

    def feed(self, data: bytes) -> list[Item]:
        """What these bytes complete: whole messages (as bytes) and controls, in their order.

        Nothing comes behind a close frame or a FrameError.
        """

    def encode(self, opcode: int, payload: bytes) -> bytes:
        """One final frame as a client must write it: masked."""


@dataclass(slots=True, eq=False)
class FastFrames:
    """Ours."""

    _max_bytes: int
    _rest: bytes = b""
    """the beginning of a frame whose end has not come"""
    _more: list[bytes] = field(default_factory=list)
    """what has come of it since: put together once, when it is whole"""
    _short: int = 0
    """so many bytes it still lacks, as far as is known"""
    _parts: list[bytes] | None = None
    """the fragments of a message whose end has not come"""
    _parts_bytes: int = 0
    _over: bool = False

    def encode(self, opcode: int, payload: bytes) -> bytes:
        """See :class:`Frames`."""
        try:
            mask = _masks.pop()
        except IndexError:
            drawn = os.urandom(4 * _MASKS_AT_ONCE)
            _masks.extend(drawn[at : at + 4] for at in range(0, len(drawn), 4))
            mask = _masks.pop()
        size = len(payload)
        if 126 <= size < 65536:
            head = _MIDDLING(_FIN | opcode, 0xFE, size, mask)
        elif size < 126:
            head = _SHORT(_FIN | opcode, 0x80 | size, mask)
        else:
            head = _LONG(_FIN | opcode, 0xFF, size, mask)
        return head + apply_mask(payload, mask)

    def feed(self, data: bytes) -> list[Item]:
        """See :class:`Frames`."""
        items: list[Item] = []
        at = 0
        if self._rest:
            self._more.append(data)
            self._short -= len(data)
            if self._short > 0:
                return []
            data = b"".join((self._rest, *self._more))
            self._more.clear()
        elif self._parts is None:
            # Nearly every read brings whole messages of 126 to 65,535 bytes and nothing else.
            size, max_bytes = len(data), self._max_bytes
            while size - at > 3 and data[at] == _WHOLE_TEXT and data[at + 1] == 126:
                start = at + 4
                length = data[at + 2] << 8 | data[at + 3]
                end = start + length
                if end > size or length > max_bytes:
                    break
                items.append(data[start:end])
                at = end
            if at == size:
                return items
        size = len(data)
        needed = 2
        while size - at >= 2 and not self._over:
            first, length = data[at], data[at + 1]
            start = at + 2
            if first != _WHOLE_TEXT and first & 0x0F not in _OPCODES:
                self._fail(items, PROTOCOL_ERROR, f"a frame of the unknown kind {first & 0x0F}")
                break
            if length > 125:
                if length & 0x80:
                    self._fail(items, PROTOCOL_ERROR, "a frame of the server is masked")
                    break
                wide = 2 if length == 126 else 8
                if size < start + wide:
                    needed = 2 + wide
                    break
                length = int.from_bytes(data[start : start + wide], "big")
                start += wide
            if length > self._max_bytes - self._parts_bytes:
                self._fail(items, TOO_BIG, "a message larger than allowed")
                break
            end = start + length
            if end > size:
                needed = end - at
                break
            if first == _WHOLE_TEXT and self._parts is None:
                items.append(data[start:end])
            else:
                self._take(first, data[start:end], items)
            at = end
            needed = 2
        if self._over:
            self._rest, self._parts = b"", []  # by which nothing goes the short way
            return items
        self._rest = data[at:] if at else data
        self._short = needed - len(self._rest)
        return items

    def _fail(self, items: list[Item], code: int, why: str) -> None:
        items.append(FrameError(code, why))
        self._over = True

    def _take(self, first: int, payload: bytes, items: list[Item]) -> None:
        opcode, final = first & 0x0F, bool(first & _FIN)
        if first & 0x70:
            self._fail(items, PROTOCOL_ERROR, "a frame uses an extension that was not offered")
        elif opcode in (CLOSE, PING, PONG):
            if not final or len(payload) > 125:
                self._fail(items, PROTOCOL_ERROR, "a broken control frame")
            elif opcode != CLOSE:
                items.append(Control(opcode, payload))
            else:
                self._take_close(payload, items)
        elif (opcode == CONTINUATION) is (self._parts is None):
            self._fail(items, PROTOCOL_ERROR, "a fragment out of order")
        else:
            if self._parts is None:
                self._parts = []
            self._parts.append(payload)
            self._parts_bytes += len(payload)
            if final:
                items.append(b"".join(self._parts))
                self._parts, self._parts_bytes = None, 0
            elif len(self._parts) > _MOST_FRAGMENTS:
                self._fail(items, TOO_BIG, "a message in more fragments than allowed")

    def _take_close(self, payload: bytes, items: list[Item]) -> None:
        try:
            Close.parse(payload)
        except UnicodeDecodeError:
            self._fail(items, NO_TEXT, "a close frame whose reason is no text")
        except ProtocolError:
            code, _ = read_close(payload)
            self._fail(items, PROTOCOL_ERROR, f"a close frame with the code {code}")
        else:
            if self._parts is not None:
                self._fail(items, PROTOCOL_ERROR, "a close frame amid the fragments of a message")
            else:
                items.append(Control(CLOSE, payload))
                self._over = True


class LibraryFrames:
    """The library's, for :attr:`harness.guest.settings.GuestSettings.library`."""

    def __init__(self, max_bytes: int) -> None:
        self._protocol = LibraryProtocol(Side.CLIENT, max_size=max_bytes, logger=QUIET)
        self._parts: list[bytes] = []

    def encode(self, opcode: int, payload: bytes) -> bytes:
        """See :class:`Frames`."""
        if opcode != TEXT or self._protocol.state is not OPEN:
            return Frame(Opcode(opcode), payload).serialize(mask=True)
        self._protocol.send_text(payload)
        return b"".join(self._protocol.data_to_send())

    def feed(self, data: bytes) -> list[Item]:
        """See :class:`Frames`."""
        protocol = self._protocol
        broken = protocol.parser_exc
        protocol.receive_data(data)
        protocol.data_to_send()  # its answers to pings and closes: we give our own
        items: list[Item] = []
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode in (CLOSE, PING, PONG):
                items.append(Control(int(frame.opcode), bytes(frame.data)))
                continue
            self._parts.append(bytes(frame.data))
            if frame.fin:
                items.append(b"".join(self._parts))
                self._parts.clear()
        if protocol.parser_exc is not broken and protocol.close_sent is not None:
            items.append(FrameError(int(protocol.close_sent.code), str(protocol.parser_exc)))
        return items


def close_payload(code: int) -> bytes:
    """Of a close frame without a reason."""
    return code.to_bytes(2, "big")


def read_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame's payload."""
    if not payload:
        return NO_STATUS, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")


_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_HEAD = 65_536
_PLAIN_HEAD = 512
"""No plain answer is longer, and none so short has more lines than the library allows."""
_INTERIM = re.compile(rb"HTTP/1\.1 1(?!01)[0-9]{2}[ \r]")
_WELL_FORMED = re.compile(
    rb"HTTP/1\.1 101 [\t -~\x80-\xff]*(?:\r\n[-!#$%&'*+.^_`|~\w]+:[\t -~\x80-\xff]*)*", re.ASCII
)


@dataclass(slots=True, eq=False)
class Upgrade:
    """One upgrade, from request to answer; it never takes a byte behind the answer's head."""

    _address: Address
    _path: str
    _origin: str | None
    _: KW_ONLY
    library: bool = False
    """whether it decides of every answer"""
    _key: bytes = field(default_factory=lambda: b64encode(os.urandom(16)))
    _head: bytes | None = b""
    """what has come of the answer; None once it is known to be a refusal"""
    _endless: bool = False
    """whether its head is longer than any that is taken"""
    _interim: int = 0
    """answers with 1xx that have come before it"""
    _interim_bytes: int = 0
    _protocol: ClientProtocol | None = None

    def request(self) -> bytes:
        """The bytes to send, the same that the library would."""
        address = self._address
        host = build_host(address.host, address.port, address.tls is not None)
        origin = "" if self._origin is None else f"Origin: {self._origin}\r\n"
        return (
            f"GET {self._path} HTTP/1.1\r\nHost: {host}\r\n{origin}Upgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {self._key.decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        ).encode()

    def feed(self, data: bytes) -> tuple[bool, bytes]:
        """Whether the upgrade is now accepted, and the bytes that follow the answer."""
        if self._endless:
            return False, b""
        if self._head is None:
            self._library().receive_data(data)
            return False, b""
        before = max(0, len(self._head) - 3)
        self._head += data
        end = self._head.find(b"\r\n\r\n", before)
        while end >= 0 and _INTERIM.match(self._head) and self._interim < MOST_INTERIM:
            self._interim, self._interim_bytes = self._interim + 1, self._interim_bytes + end + 4
            self._head = self._head[end + 4 :]
            end = self._head.find(b"\r\n\r\n")
        if self._interim_bytes + (end if end >= 0 else len(self._head)) > _MAX_HEAD:
            self._endless, self._head = True, b""
        if end < 0 or self._endless:
            return False, b""
        head, mark, rest = self._head[:end], b"\r\n\r\n", self._head[end + 4 :]
        if not self.library and self._plainly_right(head):
            return True, rest
        if head.split(b" ", 2)[1:2] == [b"101"]:
            self._library().receive_data(head + mark)
            return not self.failed, rest
        data, self._head = self._head, None
        self._library().receive_data(data)
        return False, b""

    def end(self) -> None:
        """The connection has ended in the middle of it."""
        protocol = self._library()
        if self._head:
            protocol.receive_data(self._head)
        with contextlib.suppress(EOFError):
            protocol.receive_eof()

    @property
    def failed(self) -> bool:
        """Whether it is known that there will be no websocket."""
        refused = self._protocol is not None and self._protocol.handshake_exc is not None
        return refused or self._endless

    def error(self, waited_s: float) -> TransportError:
        """Why there is none, ``waited_s`` seconds after the request."""
        if self._endless:
            return ConnectFailed("upgrade", f"the answer's head is longer than {_MAX_HEAD:,} bytes")
        error = None if self._protocol is None else self._protocol.handshake_exc
        if isinstance(error, InvalidStatus):
            response = error.response
            waits = response.headers.get_all("Retry-After")
            return UpgradeRejected(
                response.status_code,
                bytes(response.body or b"")[:500].decode("utf-8", "replace"),
                read_retry_after_s(waits[0]) if len(waits) == 1 else None,
            )
        if error is not None:
            return ConnectFailed("upgrade", str(error))
        return ConnectFailed("upgrade", f"no answer within {waited_s:g} s", timed_out=True)

    def _plainly_right(self, head: bytes) -> bool:
        if len(head) > _PLAIN_HEAD or not _WELL_FORMED.fullmatch(head):
            return False
        _, *lines = head.split(b"\r\n")
        fields = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not name.replace(b"-", b"").isalnum():
                return False  # for the library to judge
            fields[name.lower()] = value.strip(b" \t")
        return (
            len(fields) == len(lines)
            and fields.get(b"upgrade", b"").lower() == b"websocket"
            and fields.get(b"connection", b"").lower() == b"upgrade"
            and fields.get(b"sec-websocket-accept")
            == b64encode(sha1(self._key + _GUID, usedforsecurity=False).digest())
            and b"sec-websocket-extensions" not in fields
            and b"sec-websocket-protocol" not in fields
        )

    def _library(self) -> ClientProtocol:
        if self._protocol is None:
            address = self._address
            resource, _, query = self._path.partition("?")
            uri = WebSocketURI(address.tls is not None, address.host, address.port, resource, query)
            self._protocol = ClientProtocol(uri, logger=QUIET)
            self._protocol.key = self._key.decode()
            self._protocol.send_request(self._protocol.connect())
        return self._protocol
