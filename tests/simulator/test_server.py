"""Listening, the ready line, and ending."""

import asyncio
import json
import socket
from random import Random

import pytest
from examples import at_most
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.simulator import server
from harness.simulator.guest_api.upgrade import HANDLERS
from harness.simulator.service import Service
from harness.simulator.settings import DeploymentSettings, Settings

DEPLOYMENT = "11111111-2222-4333-8444-555555555555"


def test_a_port_in_use_is_told_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is in use"):
            server.listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "x" * 300])
def test_an_address_that_cannot_be_had(host) -> None:
    with pytest.raises(ConfigError, match="can't listen"):
        server.listen(host, 0)


@pytest.mark.parametrize(
    ("host", "ca_file", "start"),
    [("127.0.0.1", None, "ws://127.0.0.1:"), ("::1", "/tmp/ca.pem", "wss://[::1]:")],
)
def test_the_ready_line(host, ca_file, start) -> None:
    one = Settings(deployments=(DeploymentSettings(id="d-1"),))
    loop = asyncio.new_event_loop()
    sock = server.listen(host, 0)
    try:
        line = server.ready_line(Service(one, loop), sock, ca_file)
    finally:
        sock.close()
        loop.close()
    assert line["url"].startswith(start)
    assert line["url"].endswith("/v1")
    assert line["deployment_id"] == "d-1"
    assert line["target"] == f"{line['url']}?deploymentId=d-1"
    assert line.get("ca_file") == ca_file


def test_http_garbage_does_not_disturb_it(play, capfd) -> None:
    async def scenario(world):
        for garbage in (b"\x00" * 500, b"GET / HTTP/9.9\r\n\r\n", b"\xff\xfe\r\n\r\n", b"GET"):
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(garbage)
            writer.write_eof()
            await reader.read()
            writer.close()
        await world.ready()
        assert (await world.call("POST", "/v1"))[0] == 405
        assert (await world.get("/v1"))[0] == 403
        assert (await world.get("/nowhere"))[0] == 404

    play(scenario)
    assert "Traceback" not in capfd.readouterr().err


NAMES = [
    "action",
    "token",
    "tracingId",
    "deploymentId",
    "message",
    "type",
    "text",
    "events",
    "channel",
    "eventType",
    "presence",
    "metadata",
    "customAttributes",
    "content",
    "contentType",
    "attachment",
    "buttonResponse",
    "attachmentId",
    "fileName",
    "fileType",
    "fileSize",
    "data",
    "code",
    "startNew",
    "journeyContext",
    "customer",
    "id",
    "typing",
    "closeAllConnections",
    "Clear",
    "Join",
    "onMessage",
    "t-1",
]
KEYS = st.sampled_from(NAMES)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | KEYS
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


def valid_requests() -> list[dict]:
    """One of each kind that the service understands."""
    button = {"type": "QuickReply", "text": "Yes", "payload": "yes"}
    attributes = {"metadata": {"customAttributes": {"runId": "r-1", "a": "b"}}}
    messages = [
        {"type": "Text", "text": "hello", "metadata": {"id": "m-1"}, "channel": attributes},
        {
            "type": "Structured",
            "text": "Yes",
            "content": [{"contentType": "ButtonResponse", "buttonResponse": button}],
        },
        {"content": [{"contentType": "Attachment", "attachment": {"id": "a-1"}}]},
        {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]},
        *(
            {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": kind}}]}
            for kind in ("Join", "Clear", "Disconnect")
        ),
    ]
    fields = {
        "configureSession": {
            "deploymentId": DEPLOYMENT,
            "startNew": False,
            "journeyContext": {"customer": {"id": "j-1", "idType": "cookie"}},
        },
        "configureAuthenticatedSession": {"deploymentId": DEPLOYMENT, "data": {"code": "x"}},
        "closeSession": {"closeAllConnections": False},
        "getConfiguration": {"deploymentId": DEPLOYMENT},
        "echo": {"message": {"type": "Text", "text": "ping"}},
        "onAttachment": {
            "fileName": "a.png",
            "fileType": "image/png",
            "fileSize": 5,
            "fileMd5": "x",
            "attachmentId": "a-1",
        },
        "getAttachment": {"attachmentId": "a-1"},
        "deleteAttachment": {"attachmentId": "a-1"},
    }
    requests = [{"action": action, **fields.get(action, {})} for action in HANDLERS]
    requests += [
        {"action": "onMessage", "message": message, "channel": attributes} for message in messages
    ]
    return [{"token": "t-1", "tracingId": "x", **request} for request in requests]


def places(value: object, found: list | None = None) -> list[tuple]:
    """Every (container, key) inside a JSON value."""
    found = [] if found is None else found
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        found.append((value, key))
        places(value[key], found)
    return found


def spoilt(request: dict, changes: list[tuple[int, object]]) -> dict:
    """The request with some of its places set to other values, or taken out (None)."""
    request = json.loads(json.dumps(request))
    for number, value in changes:
        inside = places(request)
        container, key = inside[number % len(inside)]
        if value is None:
            del container[key]
        else:
            container[key] = value
        if not places(request):
            break
    return request


ODD = [
    b"[" * 100_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'{"action":"onMessage","message":{"text":"x","content":' + b"[" * 400 + b"]" * 400 + b"}}",
    b'{"action":"echo","message":{"text":"' + b"x" * 60_000 + b'"}}',
    b'{"action":"echo","token":"\\ud800"}',
    b'{"a":1e999999999}',
    b'{"action":"onMessage","message":{"content":[{"contentType":"ButtonResponse",'
    b'"buttonResponse":{"type":"Form","a":' + b"[" * 400 + b"]" * 400 + b"}}]}}",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe",
    b"",
]


def anything(source: Random, depth: int = 0) -> object:
    """Some JSON value."""
    kind = source.randrange(12 if depth < 4 else 9)
    if kind == 9:
        return [anything(source, depth + 1) for _ in range(source.randrange(4))]
    if kind > 9:
        return {
            source.choice(NAMES): anything(source, depth + 1) for _ in range(source.randrange(4))
        }
    text = "".join(chr(source.choice((65, 233, 0x1F600, 0))) for _ in range(source.randrange(9)))
    choices = (None, True, False, source.randrange(-9, 9), 2 ** source.randrange(70), 1.5e300)
    return (*choices, text, source.choice(NAMES), DEPLOYMENT)[kind]


def fuzzed(source: Random) -> bytes:
    """A frame: mostly a valid request with up to three places spoilt."""
    kind = source.random()
    if kind < 0.03:
        return source.choice(ODD)
    if kind < 0.06:
        return source.randbytes(source.randrange(60))
    if kind < 0.1:
        return json.dumps(anything(source)).encode()
    changes = [(source.randrange(60), anything(source)) for _ in range(source.randrange(4))]
    request = spoilt(source.choice(valid_requests()), changes)
    return json.dumps(request, indent=source.choice((None, 3))).encode()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_any_frames_get_an_answer_or_a_close_and_the_service_lives(play, seed) -> None:
    """Two thousand frames; ``play`` itself fails if one ran into an internal error."""

    async def scenario(world):
        source = Random(seed)
        guest = await world.ready("t-1")
        for _ in range(2000):
            if source.random() < 0.2:
                await guest.send(action="configureSession", deploymentId=DEPLOYMENT)
            frame = fuzzed(source)
            await (guest.ws.send_bytes(frame) if seed % 2 else guest.ws.send_frame(frame, 1))
            await guest.send(action="getConfiguration", deploymentId=DEPLOYMENT, tracingId="mark")
            try:
                await guest.until(lambda f: f.get("tracingId") == "mark")
            except AssertionError:  # closed for invalid UTF-8 or its size: a new connection
                assert guest.ws.close_code in (1007, 1009)
                guest = await world.ready("t-1")
        told = world.service.truth
        assert told.whole.texts > 50
        assert told.whole.sessions_cleared > 10
        assert {400, 4007, 4020} <= {int(k[6:]) for k in told.counts if k.startswith("error_4")}

    play(scenario, deployment={"authentication": True, "session_upgrade": True})


HTTP = st.sampled_from(
    [
        ("POST", "/oauth/token"),
        ("POST", "/api/v2/webdeployments/token/oauthcodegrantjwtexchange"),
        ("POST", "/api/v2/webdeployments/token/refresh"),
        ("DELETE", "/api/v2/webdeployments/token/revoke"),
        ("POST", "/api/v2/analytics/conversations/details/query"),
        ("POST", "/api/v2/conversations/participants/attributes/search"),
        ("POST", "/api/v2/analytics/queues/observations/query"),
        ("PUT", "/api/v2/conversations/messaging/threadingtimeline"),
        ("PUT", "/sim/faults"),
        ("GET", "/api/v2/webmessaging/messages?pageSize=x&pageNumber=-1"),
    ]
)


@at_most(40, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(HTTP, VALUES.map(json.dumps) | st.text()), min_size=1, max_size=12))
def test_any_http_body_is_answered_and_never_with_500(play, calls) -> None:
    async def scenario(world):
        await world.token()
        world.bearer = (await world.token())[1]["access_token"]
        headers = {"Authorization": f"Bearer {world.bearer}"}
        for (method, path), body in calls:
            data = body.encode("utf-8", "replace")
            status, _ = await world.call(method, path, data=data, headers=headers)
            assert status < 500

    play(scenario)
