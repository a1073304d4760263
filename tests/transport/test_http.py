"""One HTTP request over a real socket, plain and TLS, whatever the server does."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import trustme

from harness.errors import ConfigError, ConnectFailed, ConnectionLost
from harness.transport import http
from harness.transport.dial import Address

Answering = Callable[[socket.socket], None]


def request(
    method: str, url: str, *, tls: ssl.SSLContext | None = None, **more: Any
) -> http.Answer:
    return http.request(method, url, way=Address(host="", port=0, tls=tls), **more)


@contextlib.contextmanager
def server(answer: Answering, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            sock, _ = listener.accept()
            with sock if tls is None else tls.wrap_socket(sock, server_side=True) as peer:
                answer(peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    thread.join(5)


def read_request(peer: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line[:15] == b"Content-Length:"), 0
    )
    while len(body) < length:
        body += peer.recv(65536)
    return head, body


def echo(peer: socket.socket) -> None:
    head, body = read_request(peer)
    method = head.split()[0]
    peer.sendall(b"HTTP/1.1 200 OK\r\nX-Method: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % method)
    half = len(body) // 2
    for part in (body[:half], body[half:]):
        if part:
            peer.sendall(b"%x\r\n%s\r\n" % (len(part), part))
    peer.sendall(b"0\r\n\r\n")


@pytest.mark.parametrize("secure", [False, True])
def test_a_large_body_there_and_back(secure: bool) -> None:
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)
    data = bytes(range(256)) * 4000
    told: list[int] = []
    with server(echo, theirs if secure else None) as url:
        answer = request("PUT", f"{url}/x?y=1", body=data, tls=ours, on_sent=told.append)
    assert (answer.status, answer.headers["x-method"], answer.body) == (200, "PUT", data)
    assert told[-1] == len(data)
    assert answer.arrived_ns > answer.sent_ns


def test_an_answer_ends_with_the_tls_stream_though_tcp_goes_on() -> None:
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)

    def answer(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        peer.unwrap()  # type: ignore[attr-defined]  # says good-bye and waits for ours

    with server(answer, theirs) as url:
        assert request("GET", url, tls=ours, timeout_s=5).body == b"all of it"


def test_the_loop_goes_on_while_a_server_is_slow() -> None:
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            gevent.sleep(0.01)
            ticks += 1

    def slow(peer: socket.socket) -> None:
        read_request(peer)
        threading.Event().wait(0.3)
        peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    ticking = gevent.spawn(tick)
    with server(slow) as url:
        assert request("GET", url).status == 204
    ticking.kill()
    assert ticks > 5


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "no HTTP answer"),
        (b"220 smtp ready\r\n", "broken HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "broken HTTP answer"),
    ],
)
def test_broken_answers(answer: bytes, why: str) -> None:
    def script(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(answer)

    with server(script) as url, pytest.raises(ConnectionLost, match=why):
        request("GET", url)


def test_answers_may_come_before_the_final_one() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

    def answer(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(early * 2 + b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")

    with server(answer) as url:
        got = request("GET", f"{url}/")
    assert (got.status, got.body) == (201, b"ok")


def test_silence_has_a_limit() -> None:
    def script(peer: socket.socket) -> None:
        read_request(peer)
        peer.recv(1)

    with server(script) as url, pytest.raises(ConnectionLost, match="no answer within") as caught:
        request("GET", url, timeout_s=0.2)
    assert caught.value.timed_out


def test_what_is_no_request_is_refused_before_anything_is_sent() -> None:
    for url in ("ftp://127.0.0.1/", "http://", "http://127.0.0.1:x/", "http://127.0.0.1/a b"):
        with pytest.raises(ConfigError):
            request("GET", url)
    with pytest.raises(ConfigError, match="needs TLS"):
        request("GET", "https://127.0.0.1/")
    with pytest.raises(ConfigError, match="line break"):
        request("GET", "http://127.0.0.1:1/", headers={"X": "a\r\nb"})
    with pytest.raises(ConnectFailed):
        request("GET", "http://127.0.0.1:1/")
