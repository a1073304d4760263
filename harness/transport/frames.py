"""Websocket frames (RFC 6455) as a client reads and writes them, for the time after the upgrade.

The same work as the sans-I/O protocol of the ``websockets`` library does for any role, extension
and state; knowing that we are a client without extensions makes it several times faster, and a
connection needs no protocol object while it is held. Extensions are never offered, so a frame with
one of their bits set is an error.
"""

import os
import struct
from typing import NamedTuple

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PROTOCOL_ERROR, TOO_BIG = 1002, 1009
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
_masks: list[bytes] = []
"""Masks have to be unpredictable, so they come from the system, but many in one call."""
if hasattr(os, "register_at_fork"):  # not the same ones in two processes
    os.register_at_fork(after_in_child=_masks.clear)


class FrameError(Exception):
    """The server broke the framing; ``code`` is what to close with."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Control(NamedTuple):
    """A close, ping or pong frame."""

    opcode: int
    payload: bytes


class FrameReader:
    """Bytes in any portions to whole messages (as bytes) and controls, in their order."""

    __slots__ = ("_max_bytes", "_more", "_parts", "_parts_bytes", "_rest", "_short")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = b""
        """the beginning of a frame whose end has not come"""
        self._more: list[bytes] = []
        """what has come of it since: put together once, when it is whole"""
        self._short = 0
        """so many bytes it still lacks, as far as is known"""
        self._parts: list[bytes] | None = None
        """the fragments of a message whose end has not come"""
        self._parts_bytes = 0

    def feed(self, data: bytes) -> list[bytes | Control]:
        """What these bytes complete. Raises FrameError; nothing may be fed after that."""
        items: list[bytes | Control] = []
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
        while size - at >= 2:
            first, length = data[at], data[at + 1]
            start = at + 2
            if length > 125:
                if length & 0x80:
                    raise FrameError(PROTOCOL_ERROR, "a frame of the server is masked")
                wide = 2 if length == 126 else 8
                if size < start + wide:
                    needed = 2 + wide
                    break
                length = int.from_bytes(data[start : start + wide], "big")
                start += wide
                if length > self._max_bytes:
                    raise FrameError(TOO_BIG, f"a frame of {length} bytes")
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
        self._rest = data[at:] if at else data
        self._short = needed - len(self._rest)
        return items

    def _take(self, first: int, payload: bytes, items: list[bytes | Control]) -> None:
        opcode, final = first & 0x0F, bool(first & _FIN)
        if first & 0x70:
            raise FrameError(PROTOCOL_ERROR, "a frame uses an extension that was not offered")
        if opcode in (CLOSE, PING, PONG):
            if not final or len(payload) > 125 or (opcode == CLOSE and len(payload) == 1):
                raise FrameError(PROTOCOL_ERROR, "a broken control frame")
            items.append(Control(opcode, payload))
            return
        if opcode > BINARY:
            raise FrameError(PROTOCOL_ERROR, f"a frame of the unknown kind {opcode}")
        if (opcode == CONTINUATION) is (self._parts is None):
            raise FrameError(PROTOCOL_ERROR, "a fragment out of order")
        if self._parts is None:
            self._parts, self._parts_bytes = [], 0
        self._parts.append(payload)
        self._parts_bytes += len(payload)
        if self._parts_bytes > self._max_bytes:
            raise FrameError(TOO_BIG, "a message larger than allowed")
        if len(self._parts) > _MOST_FRAGMENTS:
            raise FrameError(TOO_BIG, "a message in more fragments than allowed")
        if final:
            items.append(b"".join(self._parts))
            self._parts = None


def encode(opcode: int, payload: bytes) -> bytes:
    """One final frame as a client must write it: masked."""
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


def encode_close(code: int) -> bytes:
    """A close frame without a reason."""
    return encode(CLOSE, code.to_bytes(2, "big"))


def read_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame's payload."""
    if not payload:
        return NO_STATUS, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")
