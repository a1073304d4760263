"""Ways to the target: source addresses, IPv6, an HTTP proxy, a private CA behind it."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from fakes import FakeServer, Peer

from harness.errors import ConnectFailed
from harness.transport.dial import Address, dial


class Proxy:
    """Takes CONNECT and hands bytes on; remembers what was asked for."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\nVia: us\r\n\r\n"):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", int(self._listener.getsockname()[1]))
        self.asked: list[str] = []
        self._answer = answer
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            near, _ = self._listener.accept()
            with near:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += near.recv(1)
                place = head.split()[1].decode()
                self.asked.append(place)
                if b"200" not in self._answer:
                    near.sendall(self._answer)
                    return
                host, _, port = place.rpartition(":")
                with socket.create_connection((host.strip("[]"), int(port))) as far:
                    near.sendall(self._answer)
                    back = threading.Thread(target=_copy, args=(far, near), daemon=True)
                    back.start()
                    _copy(near, far)
                    back.join(10)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def test_connections_leave_from_the_source_addresses(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    address = Address(host="127.0.0.1", port=port, sources=("127.0.0.2", "127.0.0.3"))
    seen = set()
    for _ in range(40):
        link = dial(address, timeout_s=5)
        near, (host, _) = listener.accept()
        seen.add(host)
        near.close()
        link.close()
    assert seen == {"127.0.0.2", "127.0.0.3"}


def test_a_source_that_is_not_ours_is_named(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed, match=r"source address 192\.0\.2\.1"):
        dial(Address(host="127.0.0.1", port=port, sources=("192.0.2.1",)), timeout_s=5)
    with pytest.raises(ConnectFailed, match="no source address fits AF_INET"):
        dial(Address(host="127.0.0.1", port=port, sources=("::1",)), timeout_s=5)


def test_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        link = dial(Address(host="::1", port=port, sources=("::1", "127.0.0.1")), timeout_s=5)
        near, place = listener.accept()
        assert place[0] == "::1"
        near.close()
        link.close()


def test_tls_with_a_private_ca_through_a_proxy() -> None:
    def idle(peer: Peer) -> None:
        peer.receive()

    with FakeServer(idle, tls=True) as server, Proxy() as proxy:
        address = Address(
            host="127.0.0.1", port=server.port, tls=server.client_tls, proxy=proxy.address
        )
        link = dial(address, timeout_s=5)
        assert proxy.asked == [f"127.0.0.1:{server.port}"]
        assert link.tls is not None
        assert {"tcp", "tls"} <= link.phases.keys()
        link.close()


def test_a_proxy_that_refuses_or_is_not_there() -> None:
    with Proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
        with pytest.raises(ConnectFailed, match=r"proxy.*407") as caught:
            dial(Address(host="127.0.0.1", port=9, proxy=proxy.address), timeout_s=5)
        assert caught.value.phase == "proxy"
        gone = proxy.address
    with pytest.raises(ConnectFailed, match="nothing listens"):
        dial(Address(host="127.0.0.1", port=9, proxy=gone), timeout_s=5)
