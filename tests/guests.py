"""A guest's line to a fake server, and the two things every such server has to answer."""

from fakes import FakeServer, Peer

from harness.config.target import parse_target
from harness.guest.connection import Connection
from harness.guest.settings import GuestSettings
from harness.measure.recorder import Recorder

ID = "12345678-90ab-cdef-1234-567890abcdef"


def line_to(server: FakeServer, recorder: Recorder | None = None, **settings: float) -> Connection:
    target = parse_target(f"ws://127.0.0.1:{server.port}/v1?deploymentId={ID}")
    times = {
        "clear_within_s": 0.3,
        "open_within_s": 0.3,
        "close_within_s": 0.1,
        "reconnect_every_s": 0.02,
        "reconnect_within_s": 0.3,
        **settings,
    }
    return Connection(
        GuestSettings(target=target, **times),  # type: ignore[arg-type]
        "token-1",
        recorder or Recorder(),
    )


def configured(peer: Peer, *, new: bool = True) -> None:
    message = peer.receive()
    assert message is not None
    assert message["action"] == "configureSession"
    assert (message["startNew"], message["deploymentId"]) == (False, ID)
    peer.send(
        {
            "type": "response",
            "class": "SessionResponse",
            "code": 200,
            "body": {"connected": True, "newSession": new},
            "tracingId": message["tracingId"],
        }
    )


def cleared(peer: Peer) -> None:
    message = peer.receive()
    assert message is not None
    assert message["message"]["events"][0]["presence"] == {"type": "Clear"}
    peer.send({"type": "message", "class": "SessionClearedEvent", "code": 200, "body": {}})
    peer.send({"type": "message", "class": "ConnectionClosedEvent", "code": 200, "body": {}})
