"""The upgrade asks what the library would ask, and takes only what the library would take."""

import contextlib
import ssl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri
from websockets.utils import accept_key

from harness.errors import ConnectFailed, UpgradeRejected
from harness.transport.dial import MOST_INTERIM, Address
from harness.transport.frames import Upgrade

PATH = "/v1?deploymentId=d-1"
PLAIN = Address(host="127.0.0.1", port=8080)


def key_of(request: bytes) -> str:
    return request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://127.0.0.1:8080", PLAIN),
        ("ws://guests.example:80", Address(host="guests.example", port=80)),
        ("ws://[::1]:9000", Address(host="::1", port=9000)),
        (
            "wss://guests.example",
            Address(host="guests.example", port=443, tls=ssl.create_default_context()),
        ),
    ],
)
@pytest.mark.parametrize("origin", [None, "https://shop.example"])
def test_the_request_is_the_librarys_byte_for_byte(
    url: str, address: Address, origin: str | None
) -> None:
    request = Upgrade(address, PATH, origin).request()
    library = ClientProtocol(parse_uri(url + PATH), origin=origin)
    library.key = key_of(request)
    library.send_request(library.connect())
    assert request == b"".join(library.data_to_send())


def test_a_server_accepts_it_and_its_first_frame_is_left_for_others() -> None:
    upgrade, server = Upgrade(PLAIN, PATH, None), ServerProtocol()
    server.receive_data(upgrade.request())
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    wire = b"".join(server.data_to_send()) + b"\x81\x01x"
    assert upgrade.feed(wire[:30]) == (False, b"")
    assert upgrade.feed(wire[30:]) == (True, b"\x81\x01x")
    assert not upgrade.failed


FIELDS = {
    "upgrade": "Upgrade: websocket",
    "connection": "Connection: Upgrade",
    "accept": "Sec-WebSocket-Accept: {accept}",
}
CHANGES = [
    ("upgrade", "UPGRADE:WebSocket  "),
    ("upgrade", "Upgrade: h2c"),
    ("upgrade", ""),
    ("connection", "connection: keep-alive, Upgrade"),
    ("connection", "Connection: close"),
    ("connection", ""),
    ("accept", "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ("accept", ""),
    ("accept", "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Accept: {accept}"),
    ("more", "Sec-WebSocket-Extensions: permessage-deflate"),
    ("more", "Sec-WebSocket-Protocol: chat"),
    ("more", "no field at all"),
    ("more", "Bad name: x"),
    ("more", ": no name"),
    ("more", " folded: x"),
    ("more", "X: \0"),
    ("more", "X: \u00fc"),
    ("more", "X: " + "x" * 9000),
    ("more", "\r\n".join(f"X{n}:" for n in range(70))),
    ("more", "\r\n".join(f"X{n}:" for n in range(200))),
    ("more", "Server: x"),
    ("status", "HTTP/1.0 101 Switching Protocols"),
    ("status", "HTTP/1.1 101 Because"),
    ("status", "HTTP/1.1 101 "),
    ("status", "HTTP/1.1 101"),
    ("status", "HTTP/1.1 101 Why\0"),
    ("status", "HTTP/1.1 200 OK"),
    ("status", "SSH-2.0-x"),
]


@example([("more", "no field at all")], [])
@given(st.lists(st.sampled_from(CHANGES), max_size=3), st.lists(st.integers(1, 200), max_size=4))
def test_what_is_accepted_is_what_the_library_accepts(
    changes: list[tuple[str, str]], sizes: list[int]
) -> None:
    upgrade = Upgrade(PLAIN, PATH, None)
    library = ClientProtocol(parse_uri("ws://127.0.0.1:8080" + PATH))
    library.key = key_of(upgrade.request())
    library.send_request(library.connect())
    parts = {"status": "HTTP/1.1 101 Switching Protocols", **FIELDS, **dict(changes)}
    lines = [line.format(accept=accept_key(library.key)) for line in parts.values() if line]
    wire, accepted, at = "\r\n".join([*lines, "", ""]).encode(), False, 0
    library.receive_data(wire)
    for size in [*sizes, len(wire)]:
        if wire[at : at + size]:
            accepted, _ = upgrade.feed(wire[at : at + size])
        at += size
    assert accepted is (library.state.name == "OPEN")
    if not accepted:
        with contextlib.suppress(EOFError):
            library.receive_eof()
        upgrade.end()
        assert upgrade.failed
        error = upgrade.error(1.0)
        assert isinstance(error, ConnectFailed | UpgradeRejected)
        assert not error.timed_out


EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"


@pytest.mark.parametrize("library", [False, True])
@pytest.mark.parametrize("portion", [1, 50, 5000])
@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\n\r\n", EARLY, EARLY * MOST_INTERIM])
def test_answers_may_come_before_the_final_one(interim: bytes, portion: int, library: bool) -> None:
    upgrade = Upgrade(PLAIN, PATH, None, library=library)
    accept = accept_key(key_of(upgrade.request()))
    lines = [line.format(accept=accept) for line in FIELDS.values()]
    final = "\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode()
    wire, accepted, rest = interim + final + b"\x81\x01x", False, b""
    for at in range(0, len(wire), portion):
        more = wire[at : at + portion]
        if accepted:
            rest += more
        else:
            accepted, rest = upgrade.feed(more)
    assert (accepted, rest, upgrade.failed) == (True, b"\x81\x01x", False)


def test_a_refusal_after_an_interim_answer_is_that_refusal() -> None:
    upgrade = Upgrade(PLAIN, PATH, None)
    upgrade.request()
    upgrade.feed(EARLY + b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    error = upgrade.error(1.0)
    assert isinstance(error, UpgradeRejected)
    assert error.status == 403


@pytest.mark.parametrize("interim", [EARLY, EARLY[:-2] + b"X: " + b"x" * 8000 + b"\r\n\r\n"])
def test_interim_answers_are_bounded(interim: bytes) -> None:
    upgrade = Upgrade(PLAIN, PATH, None)
    upgrade.request()
    for _ in range(MOST_INTERIM + 1):
        upgrade.feed(interim)
    assert upgrade.failed


def test_no_answer_says_how_long_was_waited() -> None:
    error = Upgrade(PLAIN, PATH, None).error(3.0)
    assert "no answer within 3 s" in str(error)
    assert error.timed_out


@pytest.mark.parametrize("portion", [1000, 4096, 200_000])
@pytest.mark.parametrize("ends", [True, False])
def test_a_head_without_bounds_is_refused_whatever_it_says(portion: int, ends: bool) -> None:
    upgrade = Upgrade(PLAIN, PATH, None)
    accept = accept_key(key_of(upgrade.request()))
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n"
    ) + "".join(f"X-{n}: {'x' * 1000}\r\n" for n in range(100))
    wire = head.encode() + b"\r\n" * ends + b"\x81\x01x"
    accepted = [upgrade.feed(wire[at : at + portion])[0] for at in range(0, len(wire), portion)]
    assert True not in accepted
    assert upgrade.failed
    assert "longer than 65,536 bytes" in str(upgrade.error(1.0))


@pytest.mark.parametrize(
    ("lines", "wait_s"),
    [
        ("Retry-After: 7", 7.0),
        ("Retry-After: 99999999999999999999999999", 3600.0),
        ("Retry-After: -5", None),
        ("Retry-After: nan", None),
        ("Retry-After: \u00b2", None),
        ("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("Retry-After: 1\r\nRetry-After: 2", None),
    ],
)
def test_what_a_refusal_asks_to_wait_is_bounded(lines: str, wait_s: float | None) -> None:
    upgrade = Upgrade(PLAIN, PATH, None)
    upgrade.request()
    answer = f"HTTP/1.1 429 Too Many Requests\r\n{lines}\r\nContent-Length: 0\r\n\r\n"
    upgrade.feed(answer.encode("latin-1"))
    error = upgrade.error(1.0)
    assert isinstance(error, UpgradeRejected)
    assert error.retry_after_s == wait_s
