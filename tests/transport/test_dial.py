"""Connecting: phases are timed, failures name their phase, nothing stays open."""

import contextlib
import errno
import os
import socket
import ssl
import sys
import time
from pathlib import Path

import gevent
import pytest
from fakes import FakeServer, Peer

from harness.errors import ConnectFailed
from harness.transport.dial import Address, _alternating, _connect_first, bind_source, dial


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_each_source_address_has_its_turn() -> None:
    sources = ("127.0.0.2", "::1", "127.0.0.3", "127.0.0.4")
    used = []
    for _ in range(6):
        with socket.socket() as sock:
            bind_source(sock, socket.AF_INET, sources)
            used.append(sock.getsockname()[0])
    assert used[:3] == used[3:]
    assert set(used) == {"127.0.0.2", "127.0.0.3", "127.0.0.4"}


def test_a_refused_connection_names_the_phase_and_the_place() -> None:
    port = unused_port()
    with pytest.raises(ConnectFailed, match=rf"tcp.*nothing listens on 127.0.0.1:{port}") as caught:
        dial(Address(host="127.0.0.1", port=port), timeout_s=5)
    assert not caught.value.timed_out


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
        with pytest.raises(ConnectFailed, match=r"tls.*within 0\.2 s") as caught:
            dial(address, timeout_s=0.2)
        assert caught.value.timed_out


def test_the_kernels_own_limit_is_a_timeout_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives_up(*_: object) -> None:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    monkeypatch.setattr("harness.transport.dial._connect_first", gives_up)
    with pytest.raises(ConnectFailed) as caught:
        dial(Address(host="127.0.0.1", port=1), timeout_s=5)
    assert (caught.value.phase, caught.value.timed_out) == ("tcp", True)


def test_a_name_without_an_address_fails_in_dns() -> None:
    with pytest.raises(ConnectFailed, match="dns"):
        dial(Address(host="no-such-host.invalid", port=1), timeout_s=20)


def silent(places: contextlib.ExitStack) -> tuple[str, int]:
    """Where nothing answers: a listener whose queue is full; the kernel drops what comes."""
    listener = places.enter_context(socket.socket())
    listener.bind(("127.0.0.2", 0))
    listener.listen(0)
    place = listener.getsockname()
    for _ in range(3):
        sock = places.enter_context(socket.socket())
        sock.setblocking(False)
        sock.connect_ex(place)
    return str(place[0]), int(place[1])


@pytest.mark.parametrize("before", ["silent", "refusing", "other family", "all of them"])
def test_the_next_address_is_tried_when_one_does_not_answer(before: str) -> None:
    with contextlib.ExitStack() as places, FakeServer(idle) as server:
        bad = {
            "silent": [(socket.AF_INET, silent(places))],
            "refusing": [(socket.AF_INET, ("127.0.0.1", unused_port()))],
            "other family": [(socket.AF_INET6, ("::1", unused_port(), 0, 0))],
        }
        first = bad.get(before) or [*bad["silent"], *bad["other family"], *bad["refusing"]]
        began = time.monotonic()
        sock = _connect_first([*first, (socket.AF_INET, ("127.0.0.1", server.port))], ())
        assert sock.getpeername() == ("127.0.0.1", server.port)
        assert time.monotonic() - began < 3
        sock.close()


def open_files() -> set[str]:
    return {
        f"{path.name} {os.readlink(path)}"
        for path in Path("/proc/self/fd").iterdir()
        if path.is_symlink()
    }


def test_a_name_with_nothing_but_silence_ends_with_the_time() -> None:
    before = open_files()
    with contextlib.ExitStack() as places:
        candidates = [(socket.AF_INET, silent(places)), (socket.AF_INET, silent(places))]
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.6):
            _connect_first(candidates, ())
    assert open_files() <= before  # one of another test may have been collected since


def test_families_take_turns() -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    given = [(six, (n,)) for n in range(3)] + [(four, (n,)) for n in range(2)]
    assert [family for family, _ in _alternating(given)] == [six, four, six, four, six]
