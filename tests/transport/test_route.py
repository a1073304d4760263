"""Ways to the target: source addresses, IPv6, an HTTP proxy, a private CA behind it."""

import socket
from collections.abc import Iterator

import pytest
from fakes import FakeServer, Peer
from proxies import Proxy

from harness.config.target import Target, parse_target
from harness.errors import ConfigError, ConnectFailed
from harness.transport.dial import Address, check_sources, dial

ID = "deploymentId=12345678-90ab-cdef-1234-567890abcdef"


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
        assert link.phases.keys() == {"tcp", "proxy", "tls"}
        assert all(duration > 0 for duration in link.phases.values())
        link.close()


def test_a_proxy_that_refuses_or_is_not_there() -> None:
    with Proxy(answer=b"HTTP/1.1 403 Forbidden\r\n\r\n") as proxy:
        with pytest.raises(ConnectFailed, match=r"proxy refused: HTTP/1\.1 403") as caught:
            dial(Address(host="127.0.0.1", port=9, proxy=proxy.address), timeout_s=5)
        assert caught.value.phase == "proxy"
        gone = proxy.address
    with pytest.raises(ConnectFailed, match="nothing listens"):
        dial(Address(host="127.0.0.1", port=9, proxy=gone), timeout_s=5)


@pytest.mark.parametrize(
    ("login", "why"),
    [("", "wants a login"), ("me:wrong", "did not accept our login"), ("me:süß:x", None)],
)
def test_a_proxy_with_a_login(listener: socket.socket, login: str, why: str | None) -> None:
    with Proxy(login="me:süß:x") as proxy:
        address = Address(
            host="127.0.0.1",
            port=listener.getsockname()[1],
            proxy=proxy.address,
            proxy_login=login,
        )
        assert "süß" not in repr(address)
        if why is None:
            dial(address, timeout_s=5).close()
        else:
            with pytest.raises(ConnectFailed, match=rf"407.*{why}") as caught:
                dial(address, timeout_s=5)
            assert caught.value.phase == "proxy"
            assert not login or login not in str(caught.value)


def test_a_proxy_that_repeats_the_login_does_not_get_it_printed() -> None:
    said = b"HTTP/1.1 502 no bob:hunter2 here, Basic Ym9iOmh1bnRlcjI= nor hunter2\x1b[2J\r\n\r\n"
    with Proxy(answer=said) as proxy:
        address = Address(host="h.example", port=1, proxy=proxy.address, proxy_login="bob:hunter2")
        with pytest.raises(ConnectFailed, match=r"502 no … here, Basic … nor …\\x1b") as caught:
            dial(address, timeout_s=5)
    assert "hunter2" not in str(caught.value)
    assert "Ym9iOmh1bnRlcjI" not in str(caught.value)


def target(host: str, *sources: str, proxy: str | None = None) -> Target:
    return parse_target(f"ws://{host}:1/v1?{ID}", sources=sources, proxy=proxy)


def test_a_proxy_may_answer_before_its_final_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nVia: us\r\n\r\n"
    with Proxy(answer=early + b"HTTP/1.1 200 OK\r\n\r\n") as proxy:
        dial(Address(host="127.0.0.1", port=9, proxy=proxy.address), timeout_s=5).close()
    with Proxy(answer=early + b"HTTP/1.1 502 No\r\n\r\n") as proxy:
        refusing = Address(host="127.0.0.1", port=9, proxy=proxy.address)
        with pytest.raises(ConnectFailed, match=r"proxy refused: HTTP/1\.1 502"):
            dial(refusing, timeout_s=5)


def test_every_source_is_looked_at_before_one_is_used() -> None:
    check_sources(target("127.0.0.1"))
    check_sources(target("127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"))
    check_sources(target("some.host.example", "::1"))
    with pytest.raises(ConfigError, match=r"sources: 192\.0\.2\.1 is no address of this machine"):
        check_sources(target("127.0.0.1", "127.0.0.2", "192.0.2.1"))
    with pytest.raises(ConfigError, match="none of them is an IPv6 address"):
        check_sources(target("[::1]", "127.0.0.2"))
    with pytest.raises(ConfigError, match="none of them is an IPv4 address"):
        check_sources(target("[::1]", "::1", proxy="http://127.0.0.1:9"))
