"""From an address to a connected socket: DNS, TCP and TLS, and how long each of them took.

The socket is the operating system's own, non-blocking, with no thread and no second descriptor.
TLS runs in memory (``ssl.MemoryBIO``) so that the socket stays ours to read with ``recvmsg``.

How a connection leaves this machine: from which address, and through which proxy.
"""

import contextlib
import errno
import ipaddress
import os
import random
import re
import socket
import ssl
import sys
from base64 import b64encode
from dataclasses import dataclass, field
from itertools import count, zip_longest

import gevent
from gevent import monkey
from gevent import socket as gsocket
from gevent.select import select

from harness.clock import monotonic_ns
from harness.config.target import Target
from harness.errors import ConfigError, ConnectFailed, safe_quote, without_secret

HEAD_LIMIT = 16_384
MOST_INTERIM = 16
"""Answers with 1xx, such as 103 Early Hints, that may come before the final one (RFC 9110)."""
# Linux: choose the port at connect, so that one address can use a port towards several servers.
IP_BIND_ADDRESS_NO_PORT = 24
# Whose turn it is among source addresses. Processes of one run don't all begin with the first.
_turns = count(random.randrange(1_000_000))


def bind_source(
    sock: socket.socket, family: socket.AddressFamily, sources: tuple[str, ...]
) -> None:
    """Bind to the next of the source addresses of the socket's family: each has its turn.

    Raises OSError when an address is not of this machine, or when all are of the other family.
    """
    if not sources:
        return
    fitting = [one for one in sources if (":" in one) == (family == socket.AF_INET6)]
    if not fitting:
        raise OSError(f"no source address fits {family.name}")
    source = fitting[next(_turns) % len(fitting)]
    if family == socket.AF_INET and sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((source, 0))
    except OSError as error:
        raise OSError(f"the source address {source} can't be used: {error.strerror}") from error


def why_not(source: str) -> str:
    """Why connections can't leave from this address; empty when they can."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((source, 0))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def check_sources(target: Target) -> None:
    """That each source address is of this machine, and that one of them can lead there.

    Raises ConfigError. Connections take any of them, so a wrong one would fail only some.
    """
    host, sources = target.host if target.proxy is None else target.proxy[0], target.sources
    for source in sources:
        if why := why_not(source):
            raise ConfigError(f"sources: {source} is no address of this machine ({why})")
    with contextlib.suppress(ValueError):
        six = ipaddress.ip_address(host).version == 6
        if sources and not any((":" in source) == six for source in sources):
            raise ConfigError(f"sources: none of them is an IPv{6 if six else 4} address")


def send_all(sock: socket.socket, data: bytes) -> None:
    """Write to a non-blocking socket, and wait where it takes no more. Raises OSError."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            gsocket.wait_write(sock.fileno())


def receive(sock: socket.socket, most: int) -> bytes:
    """Wait for bytes on a non-blocking socket; empty at its end. Raises OSError."""
    while True:
        try:
            return sock.recv(most)
        except BlockingIOError:
            gsocket.wait_read(sock.fileno())


def tunnel(sock: socket.socket, host: str, port: int, login: str = "") -> None:
    """Ask an HTTP proxy for a connection (CONNECT). Raises OSError with what it answered.

    ``login`` is the ``user:password`` for it (RFC 7617).
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    encoded = b64encode(login.encode()).decode()
    granted = f"Proxy-Authorization: Basic {encoded}\r\n" * bool(login)
    request = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{granted}\r\n".encode()
    send_all(sock, request)
    for _ in range(MOST_INTERIM + 1):
        status = _answer_of_proxy(sock)
        code = status.split(" ")[1:2]
        if not re.match("1[0-9]{2}$", "".join(code)):
            break
    password = login.partition(":")[2]
    status = safe_quote(without_secret(status, login, encoded, password), 200)
    if code == ["407"]:
        why = "it did not accept our login" if login else "it wants a login (proxy_login_env)"
        raise OSError(f"the proxy refused: {status}: {why}")
    if code != ["200"]:
        raise OSError(f"the proxy refused: {status}")


def _answer_of_proxy(sock: socket.socket) -> str:
    """The first line of its next answer. Raises OSError."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # One byte at a time: what follows the head belongs to the connection behind the proxy.
        byte = receive(sock, 1)
        head += byte
        if not byte or len(head) > HEAD_LIMIT:
            raise OSError("the proxy closed the connection without an answer to CONNECT")
    return head.split(b"\r\n", 1)[0].decode("latin-1")


READ_SIZE = 16_384
NEXT_AFTER_NS = 250_000_000
"""The delay that RFC 8305 recommends between two attempts."""
PlainSocket: type[socket.socket] = monkey.get_original("socket", "socket")
"""Locust replaces ``socket.socket`` by gevent's; ours is driven by the event loop directly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to connect to; ``tls`` is None for plain connections."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    proxy: tuple[str, int] | None = None
    proxy_login: str = field(default="", repr=False)
    """user:password, if the proxy asks for one"""
    sources: tuple[str, ...] = ()

    @classmethod
    def of(cls, target: Target, tls: ssl.SSLContext | None) -> "Address":
        """Of a target; ``tls`` is the context that all its connections share.

        Raises ConfigError when the proxy's login is not at hand.
        """
        return cls(
            host=target.host,
            port=target.port,
            tls=tls,
            proxy=target.proxy,
            proxy_login=target.proxy_login(),
            sources=target.sources,
        )


@dataclass(slots=True)
class Link:
    """A connected socket with its TLS, if any. ``phases`` holds nanoseconds by operation name."""

    sock: socket.socket
    tls: "Tls | None" = None
    phases: dict[str, int] = field(default_factory=dict)

    def close(self) -> None:
        """Close the socket at once; safe to call twice."""
        self.sock.close()


class Tls:
    """TLS on memory buffers: ciphertext in and out, the socket stays outside."""

    __slots__ = ("_incoming", "_object", "_outgoing", "ended")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self.ended = False
        """The other side has ended the TLS stream; some then wait for us with the TCP stream."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def shake(self, received: bytes) -> tuple[bool, bytes]:
        """One step of the handshake: (is it complete?, what to send). Raises ssl.SSLError."""
        if received:
            self._incoming.write(received)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        return True, self._outgoing.read()

    def encrypt(self, plain: bytes) -> bytes:
        """Ciphertext of ``plain``, with whatever else the TLS layer has to send."""
        self._object.write(plain)
        return self._outgoing.read()

    def decrypt(self, received: bytes) -> bytes:
        """The plain bytes that ``received`` completes; may be empty. Raises ssl.SSLError."""
        incoming, tls = self._incoming, self._object
        incoming.write(received)
        plain = b""
        try:
            while chunk := tls.read(READ_SIZE):
                plain = plain + chunk if plain else chunk
                if not incoming.pending and not tls.pending():
                    return plain  # asking for more would only cost an exception
        except ssl.SSLWantReadError:
            return plain
        except ssl.SSLZeroReturnError:
            pass
        self.ended = True
        return plain

    def pending(self) -> bytes:
        """What the TLS layer wants to send on its own, such as the answer to a key update."""
        return self._outgoing.read()


def dial(address: Address, *, timeout_s: float) -> Link:
    """Connect. Raises ConnectFailed naming the phase; nothing stays open then."""
    started = monotonic_ns()
    phase = "dns"
    link: Link | None = None
    try:
        late = ConnectFailed("timeout", f"nothing within {timeout_s:g} s", timed_out=True)
        with gevent.Timeout(timeout_s, late):
            host, port = address.proxy or (address.host, address.port)
            candidates, looked_up = _resolve(host, port)
            resolved = monotonic_ns()
            phase = "tcp"
            link = Link(_connect_first(candidates, address.sources))
            connected = monotonic_ns()
            if looked_up:
                link.phases["dns"] = resolved - started
            link.phases["tcp"] = connected - resolved
            if address.proxy is not None:
                phase = "proxy"
                tunnel(link.sock, address.host, address.port, address.proxy_login)
                led = monotonic_ns()
                link.phases["proxy"], connected = led - connected, led
            if address.tls is not None:
                phase = "tls"
                link.tls = _handshake(link.sock, Tls(address.tls, address.host))
                link.phases["tls"] = monotonic_ns() - connected
            return link
    except BaseException as error:
        if link is not None:
            link.close()
        if isinstance(error, ConnectFailed):
            raise ConnectFailed(phase, error.why, timed_out=error.timed_out) from None
        if isinstance(error, OSError):
            timed_out = isinstance(error, TimeoutError)  # the kernel's own limit
            raise ConnectFailed(phase, _sentence(error, address), timed_out=timed_out) from error
        raise


Place = tuple[socket.AddressFamily, tuple[object, ...]]
"""An address's family, and what a socket of that family connects to."""


def _resolve(host: str, port: int) -> tuple[list[Place], bool]:
    """Where to connect, and whether a name had to be looked up for it."""
    with contextlib.suppress(OSError):
        socket.inet_pton(socket.AF_INET, host)  # much cheaper than the question below
        return [(socket.AF_INET, (host, port))], False
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        try:
            entries = gsocket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:  # a label that is empty or too long
            raise socket.gaierror(socket.EAI_NONAME, "no host name") from None
        return [(entry[0], entry[4]) for entry in entries], True
    family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
    return [(family, (host, port))], False


def _connect_first(candidates: list[Place], sources: tuple[str, ...]) -> socket.socket:
    """A connection to the first of a name's addresses that takes it (RFC 8305).

    Each has a quarter of a second until the next is tried beside it; one that refuses has none.
    """
    waiting, going = _alternating(candidates), dict[int, socket.socket]()
    last = OSError("the name has no address")
    next_ns = 0
    try:
        while waiting or going:
            if waiting and (not going or monotonic_ns() >= next_ns):
                next_ns = monotonic_ns() + NEXT_AFTER_NS
                try:
                    sock = _begin(waiting.pop(0), sources)
                except OSError as error:
                    last = error
                    continue
                going[sock.fileno()] = sock
            for number in _writable(going, next_ns if waiting else 0):
                status = going[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                sock = going.pop(number)
                if not status:
                    return sock
                sock.close()
                last, next_ns = OSError(status, os.strerror(status)), 0
        raise last
    finally:
        for sock in going.values():
            sock.close()


def _alternating(candidates: list[Place]) -> list[Place]:
    """In their order, but the families in turn: where one of them leads nowhere, all of it does."""
    if len(candidates) < 3:
        return list(candidates)
    first = [one for one in candidates if one[0] == candidates[0][0]]
    others = [one for one in candidates if one[0] != candidates[0][0]]
    return [one for pair in zip_longest(first, others) for one in pair if one is not None]


def _begin(place: Place, sources: tuple[str, ...]) -> socket.socket:
    """A socket that is connecting. Raises OSError where that is refused at once."""
    family, where = place
    sock = PlainSocket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bind_source(sock, family, sources)
        status = sock.connect_ex(where)
        if status not in (0, errno.EINPROGRESS):
            raise OSError(status, os.strerror(status))
    except BaseException:
        sock.close()
        raise
    return sock


def _writable(going: dict[int, socket.socket], until_ns: int) -> list[int]:
    """Which of these sockets have come to an answer, if any has until then (0: without limit)."""
    if not until_ns and len(going) == 1:
        (number,) = going
        gsocket.wait_write(number)
        return [number]
    left_s = max(0.0, (until_ns - monotonic_ns()) / 1e9) if until_ns else None
    return list(select([], list(going), [], left_s)[1])


def _handshake(sock: socket.socket, tls: Tls) -> Tls:
    received = b""
    while True:
        complete, outgoing = tls.shake(received)
        send_all(sock, outgoing)
        if complete:
            return tls
        received = receive(sock, READ_SIZE)
        if not received:
            raise ConnectionResetError("the server closed the connection during the TLS handshake")


def _sentence(error: OSError, address: Address) -> str:
    where = f"{address.host}:{address.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {where} was not accepted: {error.verify_message} (who vouches for "
            "a private one is named with ca_file, or --ca-file)"
        )
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake with {where} failed: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return f"the host name {(address.proxy or (address.host, 0))[0]!r} was not found"
    if isinstance(error, ConnectionRefusedError):
        through = "" if address.proxy is None else f" (the proxy of {where})"
        place = where if address.proxy is None else f"{address.proxy[0]}:{address.proxy[1]}"
        return f"nothing listens on {place}{through}"
    return f"{where}: {error.strerror or error}"
