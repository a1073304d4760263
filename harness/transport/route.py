"""How a connection leaves this machine: from which address, and through which proxy."""

import contextlib
import ipaddress
import random
import socket
from base64 import b64encode

from gevent import socket as gsocket

from harness.config.target import Target
from harness.errors import ConfigError
from harness.safe_text import safe_quote, without_secret

HEAD_LIMIT = 16_384
# Linux: choose the port at connect, so that one address can use a port towards several servers.
IP_BIND_ADDRESS_NO_PORT = 24


def bind_source(
    sock: socket.socket, family: socket.AddressFamily, sources: tuple[str, ...]
) -> None:
    """Bind to one of the source addresses of the socket's family, any of them as likely.

    Raises OSError when an address is not of this machine, or when all are of the other family.
    """
    if not sources:
        return
    fitting = [one for one in sources if (":" in one) == (family == socket.AF_INET6)]
    if not fitting:
        raise OSError(f"no source address fits {family.name}")
    source = random.choice(fitting)
    if family == socket.AF_INET:
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


def tunnel(sock: socket.socket, host: str, port: int, login: str = "") -> None:
    """Ask an HTTP proxy for a connection (CONNECT). Raises OSError with what it answered.

    ``login`` is the ``user:password`` for it (RFC 7617).
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    encoded = b64encode(login.encode()).decode()
    granted = f"Proxy-Authorization: Basic {encoded}\r\n" * bool(login)
    request = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{granted}\r\n".encode()
    while request:
        try:
            request = request[sock.send(request) :]
        except BlockingIOError:
            gsocket.wait_write(sock.fileno())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # One byte at a time: what follows the head belongs to the connection behind the proxy.
        try:
            byte = sock.recv(1)
        except BlockingIOError:
            gsocket.wait_read(sock.fileno())
            continue
        head += byte
        if not byte or len(head) > HEAD_LIMIT:
            raise OSError("the proxy closed the connection without an answer to CONNECT")
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    code = status.split(" ")[1:2]
    password = login.partition(":")[2]
    status = safe_quote(without_secret(status, login, encoded, password), 200)
    if code == ["407"]:
        why = "it did not accept our login" if login else "it wants a login (proxy_login_env)"
        raise OSError(f"the proxy refused: {status}: {why}")
    if code != ["200"]:
        raise OSError(f"the proxy refused: {status}")
