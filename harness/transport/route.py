"""How a connection leaves this machine: from which address, and through which proxy."""

import random
import socket

from gevent import socket as gsocket

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


def tunnel(sock: socket.socket, host: str, port: int) -> None:
    """Ask an HTTP proxy for a connection (CONNECT). Raises OSError with what it answered."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()
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
    if status.split(" ")[1:2] != ["200"]:
        raise OSError(f"the proxy refused the connection to {place}: {status}")
