"""One HTTP request on a connection of its own, over the same dialling as the websockets.

For the few calls that a guest makes beside its socket: history, uploads, the deployment's
configuration. HTTP/1.1 with ``Connection: close``; redirects are not followed.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import gevent

from harness.clock import monotonic_ns
from harness.errors import ConfigError, ConnectionLost, safe_quote
from harness.transport.dial import MOST_INTERIM, READ_SIZE, Address, Link, dial, receive, send_all

CHUNK = 65_536
MAX_URL = 8192
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,100}")
_VALUE = re.compile(r"[\x00-\xff]{0,8192}")
"""Latin-1, as a header may be."""
_OURS = frozenset({"connection", "content-length", "host", "transfer-encoding"})
"""Headers by which a message would say of itself what it is not."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer; header names are in lower case. Times are monotonic nanoseconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_ns: int
    arrived_ns: int


def request(
    method: str,
    url: str,
    *,
    way: Address,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float = 30.0,
    on_sent: Callable[[int], None] | None = None,
) -> Answer:
    """Send it and give the answer, whatever its status. ``on_sent`` hears of bytes written so far.

    It leaves by the proxy and the source addresses of ``way``, whatever that leads to, and with its
    TLS context where the URL asks for TLS.

    Raises ConfigError for a URL that is none, ConnectFailed, or ConnectionLost.
    """
    address, resource = _where(url, way)
    head = [f"{method} {resource} HTTP/1.1", f"Host: {_host(address)}", "Connection: close"]
    if body or method in ("PUT", "POST", "PATCH"):
        head.append(f"Content-Length: {len(body)}")
    for name, value in (headers or {}).items():
        if any(character in name + value for character in "\r\n\0"):
            raise ConfigError(f"the header {safe_quote(name, 40)!r} holds a line break")
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ConfigError(f"the header {safe_quote(name, 40)!r} is none")
        if name.lower() not in _OURS:
            head.append(f"{name}: {value}")
    began = monotonic_ns()
    link = dial(address, timeout_s=timeout_s)
    left_s = max(0.001, timeout_s - (monotonic_ns() - began) / 1e9)
    late = ConnectionLost(None, f"no answer within {timeout_s:g} s", timed_out=True)
    try:
        with gevent.Timeout(left_s, late):
            sent = monotonic_ns()
            data = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
            with contextlib.suppress(ConnectionError):  # it may have answered without reading all
                _write(link, data, len(data) - len(body), on_sent)
            return _parse(_read_all(link), method, sent)
    except OSError as error:
        timed_out = isinstance(error, TimeoutError)  # the kernel's own limit
        raise ConnectionLost(None, str(error), timed_out=timed_out) from error
    finally:
        link.close()


def _where(url: str, way: Address) -> tuple[Address, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{_shown(url)} is not a URL") from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not url.isascii()
        or not url.isprintable()
        or " " in url
        or len(url) > MAX_URL
    ):
        raise ConfigError(f"{_shown(url)} is not an http(s) URL")
    secure = parts.scheme == "https"
    if secure and way.tls is None:
        raise ConfigError(f"{_shown(url)} needs TLS, and this target has none")
    port = port or (443 if secure else 80)
    address = replace(way, host=parts.hostname, port=port, tls=way.tls if secure else None)
    return address, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _shown(url: str) -> str:
    """What of it is no secret: a query may be a signature, and a path may hold one too."""
    place, mark, rest = url[:80].partition("://")
    host = rest.partition("/")[0].rpartition("@")[2]
    return repr(safe_quote(f"{place}{mark}{host}/…" if mark else f"{url[:20]}…"))


def _host(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return host if address.port in (80, 443) else f"{host}:{address.port}"


def _write(link: Link, data: bytes, head_size: int, on_sent: Callable[[int], None] | None) -> None:
    for at in range(0, len(data), CHUNK):
        chunk = data[at : at + CHUNK]
        send_all(link.sock, chunk if link.tls is None else link.tls.encrypt(chunk))
        if on_sent is not None:
            on_sent(max(0, at + len(chunk) - head_size))


def _read_all(link: Link) -> bytes:
    answer = bytearray()
    with contextlib.suppress(ConnectionResetError):  # what came before it may be all
        while data := receive(link.sock, READ_SIZE):
            answer += data if link.tls is None else link.tls.decrypt(data)
            if link.tls is not None and link.tls.ended:
                break
            if len(answer) > MAX_ANSWER_BYTES:
                raise ConnectionLost(None, f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    return bytes(answer)


def _parse(data: bytes, method: str, sent_ns: int) -> Answer:
    arrived = monotonic_ns()
    if not data:
        raise ConnectionLost(None, "no HTTP answer")
    try:
        # The standard library's reader takes a socket, of which it only wants a file.
        file = BytesIO(data)
        received: Any = SimpleNamespace(makefile=lambda _: file)
        read: list[HTTPResponse] = []  # one that is let go closes what holds the next one
        for _ in range(MOST_INTERIM + 1):
            read.append(answer := HTTPResponse(received, method=method))
            answer.begin()
            if answer.status >= 200 or answer.status == 101:
                break
        body = answer.read()
    except HTTPException as error:
        raise ConnectionLost(None, f"a broken HTTP answer: {error!r}") from None
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(
        status=answer.status, headers=headers, body=body, sent_ns=sent_ns, arrived_ns=arrived
    )
