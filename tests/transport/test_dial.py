"""Connecting: phases are timed, failures name their phase, nothing stays open."""

import socket
import ssl

import pytest
from fakes import FakeServer, Peer

from harness.errors import ConnectFailed
from harness.transport.dial import Address, dial


def idle(peer: Peer) -> None:
    peer.receive()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_plain_and_tls_phases_are_timed() -> None:
    with FakeServer(idle, tls=True) as server:
        link = dial(Address(host="localhost", port=server.port, tls=server.client_tls), timeout_s=5)
        link.close()
    assert link.phases.keys() == {"dns", "tcp", "tls"}
    assert all(duration > 0 for duration in link.phases.values())
    with FakeServer(idle) as server:
        link = dial(Address(host="127.0.0.1", port=server.port), timeout_s=5)
        link.close()
    assert link.phases.keys() == {"tcp"}  # an address needs no looking up


def test_a_refused_connection_names_the_phase_and_the_place() -> None:
    port = unused_port()
    with pytest.raises(ConnectFailed, match=rf"tcp.*nothing listens on 127.0.0.1:{port}"):
        dial(Address(host="127.0.0.1", port=port), timeout_s=5)


def test_a_certificate_nobody_vouches_for_is_refused() -> None:
    with (
        FakeServer(idle, tls=True) as server,
        pytest.raises(ConnectFailed, match=r"tls.*certificate of 127\.0\.0\.1") as caught,
    ):
        dial(
            Address(host="127.0.0.1", port=server.port, tls=ssl.create_default_context()),
            timeout_s=5,
        )
    assert caught.value.phase == "tls"


def test_a_server_that_never_shakes_hands_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        address = Address(host="127.0.0.1", port=port, tls=ssl.create_default_context())
        with pytest.raises(ConnectFailed, match=r"tls.*within 0\.2 s"):
            dial(address, timeout_s=0.2)


def test_a_name_without_an_address_fails_in_dns() -> None:
    with pytest.raises(ConnectFailed, match="dns"):
        dial(Address(host="no-such-host.invalid", port=1), timeout_s=20)
