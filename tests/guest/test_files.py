"""Files are announced, put and sent; what the service refuses says why."""

import threading
from pathlib import Path
from typing import Any

import gevent
import pytest
from fakes import FakeServer, Peer
from guests import configured, line_to

from harness.errors import ConfigError, RemoteProtocolError, ReplyTimeout, ServiceError
from harness.guest import rest as files
from harness.guest.outcomes import STORY_ENDS
from harness.measure.model import Outcome
from harness.measure.recorder import Recorder
from harness.transport import http

PICTURE = bytes(range(256)) * 1024


@pytest.mark.process
def test_a_file_is_uploaded_and_sent(rig: Any, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(PICTURE)
    progress: list[tuple[int, int]] = []
    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
        found = guest.upload(picture, on_progress=lambda *told: progress.append(told))
        guest.say("look at this", file=found)
        guest.await_reply(within="5s", containing="look")
        guest.upload("note.txt", data=b"never sent")
    assert progress[-1] == (len(PICTURE), len(PICTURE))
    assert sorted(progress) == progress
    taken = rig.taken()
    assert taken.outcomes["upload"] == {Outcome.OK: 2}
    assert taken.outcomes["delivered"] == {Outcome.OK: 2}


@pytest.mark.process
@pytest.mark.parametrize(
    ("killed_by", "outcome"),
    [(gevent.GreenletExit, Outcome.CUT_SHORT), (gevent.Timeout, Outcome.TIMEOUT)],
)
def test_an_upload_that_is_killed_has_not_ended_well(
    rig: Any, killed_by: type[BaseException], outcome: Outcome
) -> None:
    def story() -> None:
        with rig.guest(health_check_every_s=0) as guest:
            rig.simulator.faults(drop_frame="#2")
            guest.upload("a.png", data=b"x")

    greenlet = gevent.spawn(story)
    gevent.sleep(0.5)
    greenlet.kill(killed_by)
    rig.simulator.faults()
    assert rig.outcomes("upload") == {outcome: 1}


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "data", "code"),
    [("virus.exe", b"x", "4001"), ("noextension", b"x", "4004"), ("empty.png", b"", "4102")],
)
def test_a_file_that_is_refused(rig: Any, name: str, data: bytes, code: str) -> None:
    with rig.guest() as guest, pytest.raises(ServiceError, match=code):
        guest.upload(name, data=data)
    assert rig.outcomes("upload") == {Outcome.SERVICE_ERROR: 1}


@pytest.mark.process
def test_an_upload_that_is_never_confirmed_times_out(rig: Any) -> None:
    with rig.guest(health_check_every_s=0) as guest:
        rig.simulator.faults(drop_frame="#2")
        with pytest.raises(ReplyTimeout):
            guest.upload("a.png", data=b"x", within="0.3s")
        rig.simulator.faults()
    assert rig.outcomes("upload") == {Outcome.TIMEOUT: 1}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.png: can't be read"):
        files.read(tmp_path / "gone.png")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": 5},
        {"url": "ftp://files.example/x?signature=s3cret"},
        {"url": "http://127.0.0.1:1/x\r\nHost: y?signature=s3cret"},
        {"url": "http://127.0.0.1:1/\u0131?signature=s3cret"},
        {"url": "http://127.0.0.1:x/?signature=s3cret"},
        {"url": "http://" + "a" * 9000 + "/?signature=s3cret"},
        {"url": "http://a..b/?signature=s3cret"},
        {"url": "https://127.0.0.1:1/?signature=s3cret"},
        {"url": "http://127.0.0.1:1/?signature=s3cret", "headers": ["x", "y"]},
        {"url": "http://127.0.0.1:1/?signature=s3cret", "headers": {"x": ["y"]}},
        {"url": "http://127.0.0.1:1/?signature=s3cret", "headers": {"x y": "z"}},
        {"url": "http://127.0.0.1:1/?signature=s3cret", "headers": {"x": "\u0131"}},
        {"url": "http://127.0.0.1:1/?signature=s3cret", "headers": {"x": "s3cret\r\nHost: y"}},
        {"url": "http://127.0.0.1:1/?signature=s3cret", "headers": {"x": "z" * 99_999}},
        {
            "url": "http://127.0.0.1:1/?signature=s3cret",
            "headers": {f"x{n}": "" for n in range(99)},
        },
    ],
)
def test_an_odd_place_to_upload_to_is_the_services_doing(body: dict[str, Any]) -> None:
    def script(peer: Peer) -> None:
        configured(peer)
        asked = peer.receive()
        assert asked is not None
        peer.send(
            {"type": "response", "class": "PresignedUrlResponse", "code": 200, "body": body,
             "tracingId": asked["tracingId"]}
        )  # fmt: skip
        peer.receive()

    recorder = Recorder()
    with FakeServer(script) as server:
        line = line_to(server, recorder)
        line.connect()
        line.configure()
        with pytest.raises(STORY_ENDS) as told:
            files.upload(line, recorder, name="a.png", data=b"x", within_s=2.0)
        line.close()
    assert "s3cret" not in str(told.value)
    assert len(str(told.value)) < 300
    outcomes = recorder.take().outcomes["upload"]
    assert sum(outcomes.values()) == 1
    assert Outcome.OK not in outcomes
    if "a..b" not in str(body) and "headers" not in body:
        assert isinstance(told.value, RemoteProtocolError)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, ["image/png"]),
        ({"content-type": "x/y"}, ["x/y"]),
        ({"x-amz-tagging": "t"}, ["image/png"]),
    ],
)
def test_the_type_that_was_announced_goes_with_the_upload(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], sent: list[str]
) -> None:
    put: list[dict[str, str]] = []
    uploaded = threading.Event()

    def script(peer: Peer) -> None:
        configured(peer)
        request = peer.receive()
        assert request is not None
        name = {"attachmentId": request["attachmentId"]}
        place = {**name, "url": "http://127.0.0.1:1/", "headers": asked}
        answer = {"class": "PresignedUrlResponse", "code": 200, "tracingId": request["tracingId"]}
        peer.send({"type": "response", **answer, "body": place})
        assert uploaded.wait(10)
        peer.send({"type": "message", "class": "UploadSuccessEvent", "code": 200, "body": name})
        peer.receive()

    def request(*_: object, headers: dict[str, str], **__: object) -> http.Answer:
        put.append(headers)
        uploaded.set()
        return http.Answer(status=200, headers={}, body=b"", sent_ns=1, arrived_ns=2)

    monkeypatch.setattr(http, "request", request)
    with FakeServer(script) as server:
        line = line_to(server)
        line.connect()
        line.configure()
        files.upload(line, Recorder(), name="a.png", data=b"x", within_s=5)
        line.close()
    types = [value for name, value in put[0].items() if name.lower() == "content-type"]
    assert types == sent
    assert asked.items() <= put[0].items()
