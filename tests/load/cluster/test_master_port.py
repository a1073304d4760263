"""Whatever comes in at the master's port, the run of its workers goes on and is copied whole."""

import json
import time
import zlib
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from locusts import locustfile, start_elsewhere

from harness.ledger.reader import read_account
from harness.load.cluster.messages import (
    BEFORE_READY,
    FORMS,
    MOST_BYTES,
    REPORT,
    has_form,
    pack,
    unpack,
)
from harness.supervise.children import free_port

CLOCK = {"asked_ns": 1, "ahead_ns": -2}
BATCH = {
    "run": "", "worker": "w", "number": 1, "inserts": [[1, "t", "intended", 1, 1]],
    "updates": [["lost", "", "", 2, 1]], "meta": {"a": "b"},
    "intervals": b"", "histograms": b"", "snapshot": "",
}  # fmt: skip
LIVE = {
    "process": "p", "encoded": {"tag": "HIST"},
    "row": {
        "phase": "running", "counts": {"late": 1}, "arrivals": {}, "process": {"cpu": 0.1},
        "sessions": {"opened": 1}, "outcomes": {"reply": {"ok": 1}}, "left_by_reason": {},
    },
}  # fmt: skip
GOOD: dict[str, Any] = {
    "harness_report": {"live": LIVE, "clock": CLOCK, "share": "w", "batch": BATCH},
    "locustfile": {"version": "2"},
    "harness_ask_files": {"harness": "1", "locust": "2", "host": "h"},
    "harness_facts": {"target": "t", "ca": "none", "modules": {"shop": "abc"}},
    "harness_drained": {"left": 0, "failures": ["x"], "behind": False},
    "harness_hello": {
        "harness": "1", "locust": "2", "locustfile": "f", "schedule": "none", "host": "h",
        "files": 1, "ports": 2, "cores": 3, "parameters": {}, "restarted": False,
    },
}  # fmt: skip


FREE = {"failures", "behind", "ca", "modules", "live", "share", "batch"}


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_each_message_has_a_form(kind: str) -> None:
    good = msgpack.loads(msgpack.dumps(GOOD[kind]))
    assert has_form(kind, good)
    for bad in (None, 1, "x", b"", [], {}, {key: [[]] for key in good}):
        assert not has_form(kind, bad)
    for name in good.keys() - FREE:
        assert not has_form(kind, {key: value for key, value in good.items() if key != name})


@pytest.mark.parametrize("part", [LIVE, BATCH, CLOCK], ids=["live", "batch", "clock"])
def test_each_part_of_a_report_has_a_form(part: dict[str, Any]) -> None:
    (name,) = [name for name, content in GOOD[REPORT].items() if content is part]
    for key in part:
        for bad in ({**part, key: [[[]]]}, {one: part[one] for one in part if one != key}):
            assert not has_form(REPORT, {**GOOD[REPORT], name: bad}), (name, key)


@pytest.mark.parametrize("data", [None, 5, "x", b"", b"x", pack({})[:-1], zlib.compress(b"[1]")])
def test_what_is_no_report_is_refused(data: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        unpack(data)


@pytest.mark.slow
def test_a_report_that_unpacks_to_more_than_a_message_may_have_is_refused() -> None:
    with pytest.raises(ValueError, match="too much"):
        unpack(pack({"live": " " * (MOST_BYTES + 1)}))


def send(port: str, identity: bytes, *frames: list[bytes]) -> None:
    """Several messages from one sender, each of them some frames."""
    context = zmq.Context()
    sock = context.socket(zmq.DEALER)
    sock.setsockopt(zmq.IDENTITY, identity)
    sock.setsockopt(zmq.LINGER, 2000)
    sock.connect(f"tcp://127.0.0.1:{port}")
    for message in frames:
        sock.send_multipart(message)
    time.sleep(0.5)
    sock.close()
    context.term()


def packed(kind: object, data: object, node: str) -> list[bytes]:
    return [msgpack.dumps((kind, data, node))]


@pytest.mark.process
def test_a_run_outlives_what_comes_in_at_the_port(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=3, think="200ms")
    port = free_port()
    bind = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    master = start_elsewhere(
        file, tmp_path / "m", simulator.url, "--master", "--expect-workers", "1", *bind,
        "-u", "3", "-r", "3", "-t", "9s", "--only-summary",
    )  # fmt: skip
    worker = start_elsewhere(file, tmp_path / "w", simulator.url, "--worker", "--master-port", port)
    deadline = time.monotonic() + 40
    while not list((tmp_path / "m").glob("reports/*/ledger-*.sqlite")):
        assert time.monotonic() < deadline, master.communicate()[0]
        time.sleep(0.2)
    # Bytes that are none of Locust's.
    send(port, b"noise", [b"\xc1"], [b""], [b"\xff" * 100], [msgpack.dumps(5)], [b"a", b"b"])
    send(port, b"deep", [msgpack.dumps(("stats", {"__datetime__": 1}, "deep"))])
    # Who has not reported; who speaks for somebody else; who has, and sends nonsense.
    send(port, b"stranger", *[packed(kind, GOOD[kind], "stranger") for kind in GOOD])
    send(port, b"liar", packed("quit", None, "somebody"), packed(7, None, "liar"))
    send(
        port, b"joined", packed("client_ready", -1, "joined"),
        *[packed(kind, {"worker": "x", "number": "y"}, "joined") for kind in GOOD],
        packed("heartbeat", {}, "joined"), packed("stats", 3, "joined"),
        packed("client_stopped", None, "joined"),
    )  # fmt: skip
    output, _ = master.communicate(timeout=90)
    worker.communicate(timeout=30)
    (run,) = [
        path
        for path in (tmp_path / "m" / "reports").iterdir()
        if path.is_dir() and not path.is_symlink()
    ]
    refused = json.loads((run / "run.json").read_text())["how"]["refused_messages"]
    # Anybody may ask for the locustfile, as Locust has it, and for files: before he is ready.
    assert refused["unknown sender"] == len(GOOD) - len(BEFORE_READY), output
    assert refused["malformed"] == len(GOOD) + 10, output
    assert "refused a message (unknown sender) of 'stranger'" in output
    account = read_account(run)
    opened = json.loads(next((tmp_path / "w").glob("reports/2*/start.json")).read_text())
    assert opened
    assert account.leftover == 0
    # The copy did not end with the noise; who was coming in as the run ended has no session.
    assert account.intended == account.cleared + account.never_configured
    assert account.cleared > 3
    assert simulator.open_tokens() <= before
