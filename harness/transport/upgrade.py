"""The HTTP upgrade to a websocket, as a client without extensions asks for it.

A load test makes thousands of these, and nearly every answer is the plain one. That one is checked
here; whatever is not plainly right goes to the library's protocol, which knows everything that a
server may answer and decides.
"""

import contextlib
import os
import re
from base64 import b64encode
from hashlib import sha1

from websockets.client import ClientProtocol
from websockets.datastructures import MultipleValuesError
from websockets.exceptions import InvalidStatus
from websockets.headers import build_host
from websockets.http11 import Response
from websockets.uri import WebSocketURI

from harness.errors import ConnectFailed, TransportError, UpgradeRejected
from harness.transport.dial import Address
from harness.transport.frames import QUIET
from harness.units import asked_wait_s

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_HEAD = 65_536
_PLAIN_HEAD = 512
"""No plain answer is longer, and none so short has more lines than the library allows."""
_WELL_FORMED = re.compile(
    rb"HTTP/1\.1 101 [\t -~\x80-\xff]*(?:\r\n[-!#$%&'*+.^_`|~\w]+:[\t -~\x80-\xff]*)*", re.ASCII
)


class Upgrade:
    """One upgrade, from request to answer; it never takes a byte behind the answer's head."""

    __slots__ = (
        "_address",
        "_always_library",
        "_endless",
        "_head",
        "_key",
        "_origin",
        "_path",
        "_protocol",
    )

    def __init__(
        self, address: Address, path: str, origin: str | None, *, library: bool = False
    ) -> None:
        """``library``: it decides of every answer."""
        self._address = address
        self._always_library = library
        self._path = path
        self._origin = origin
        self._key = b64encode(os.urandom(16))
        self._head: bytes | None = b""
        """what has come of the answer; None once it is known to be a refusal"""
        self._endless = False
        """whether its head is longer than any that is taken"""
        self._protocol: ClientProtocol | None = None

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
        if (end if end >= 0 else len(self._head)) > _MAX_HEAD:
            self._endless, self._head = True, b""
        if end < 0 or self._endless:
            return False, b""
        head, mark, rest = self._head[:end], b"\r\n\r\n", self._head[end + 4 :]
        if not self._always_library and self._plainly_right(head):
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
            return UpgradeRejected(
                error.response.status_code,
                bytes(error.response.body or b"")[:500].decode("utf-8", "replace"),
                _retry_after_s(error.response),
            )
        return ConnectFailed("upgrade", str(error) if error else f"no answer within {waited_s:g} s")

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


def _retry_after_s(response: Response) -> float | None:
    try:
        return asked_wait_s(response.headers.get("Retry-After"))
    except MultipleValuesError:
        return None
