"""One report and one answer a second: what each holds comes to who it is for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.event
import pytest
from live_rows import interval
from locust.rpc import Message

from harness.load.arrivals import Shares
from harness.load.cluster.handshake import Handshake
from harness.load.cluster.messages import (
    ANSWER,
    REPORT,
    Reports,
    pack,
    pack_stats,
    unpack,
    unpack_stats,
)
from harness.load.cluster.replication import Copies
from harness.load.live.totals import Live
from harness.workload.arrivals import steady

CLOCK = {"asked_ns": 1, "ahead_ns": -2}
BATCH: dict[str, Any] = {
    "run": "", "worker": "w", "number": 1, "inserts": [[1, "t", "intended", 1, 1]], "updates": [],
    "meta": {}, "intervals": b'{"t":1}\n\n', "histograms": b"#\nTag=a\n", "snapshot": "",
}  # fmt: skip


class Master:
    """As much of a master as reads reports; ``sent`` is what it answers."""

    def __init__(self, folder: Path) -> None:
        self.sent: list[dict[str, Any]] = []
        self.clients = SimpleNamespace(ready=[SimpleNamespace(id="a")])
        self.listeners: dict[str, Any] = {}
        self.live, self.copies = Live(), Copies()
        self.copies.open(folder)
        shares = Shares(self)  # type: ignore[arg-type]
        shares.open(steady(per_second=20, over="60s"), folder, lead_ns=0)
        Reports(
            self,  # type: ignore[arg-type]
            live=lambda: self.live,
            handshake=Handshake(self, dict),  # type: ignore[arg-type]
            shares=shares,
            copies=self.copies,
        )

    def register_message(self, name: str, listener: Any) -> None:
        self.listeners[name] = listener

    def send_message(self, name: str, data: Any, worker: str) -> None:
        assert (name, worker) == (ANSWER, "a")
        self.sent.append(data)

    def hear(self, **report: Any) -> None:
        """A report comes in, as it travels."""
        self.listeners[REPORT](None, SimpleNamespace(node_id="a", data=unpack(pack(report))))


def live_part() -> dict[str, Any]:
    row, encoded = interval(10, 20)
    return {"process": "w", "row": {**row, "phase": "running"}, "encoded": encoded}


def test_a_report_and_its_answer_hold_all_of_a_second(tmp_path: Path) -> None:
    master = Master(tmp_path)
    master.hear(live=live_part(), clock=CLOCK, share="w", batch=BATCH)
    assert master.sent == [], "the part of the ledger is not on disk yet"
    gevent.sleep(0.3)
    (answer,) = master.sent
    assert answer["clock"]["asked_ns"] == CLOCK["asked_ns"]
    assert answer["clock"]["held_ns"] > 0
    assert answer["share"]["until"] > 0
    assert answer["batch"] == {"worker": "w", "number": 1, "here": False}
    assert master.live.outcomes == {"reply": {"ok": 2}}
    master.copies.close()
    assert (tmp_path / "intervals-w.jsonl").read_bytes() == BATCH["intervals"]
    assert (tmp_path / "histograms-w.hlog").read_bytes() == BATCH["histograms"]


def test_a_slow_disk_delays_no_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    master = Master(tmp_path)
    slow, write = gevent.event.Event(), Copies._take

    def wait_first(copies: Copies, node: str, batch: dict[str, Any]) -> None:
        slow.wait()
        write(copies, node, batch)

    monkeypatch.setattr(Copies, "_take", wait_first)
    master.hear(live=live_part(), clock=CLOCK, share="w", batch=BATCH)
    gevent.sleep(0.05)
    assert master.sent == []
    for _ in range(3):  # the seconds after it, while the worker waits for the answer to the batch
        master.hear(live=live_part(), clock=CLOCK, share="w")
    assert [sorted(answer) for answer in master.sent] == 3 * [["clock", "share"]]
    slow.set()
    gevent.sleep(0.3)
    assert master.sent[3:] == [{"batch": {"worker": "w", "number": 1, "here": False}}]
    master.copies.close()


def test_locusts_own_statistics_travel_packed_and_whole() -> None:
    said: dict[str, Any] = {"stats": [{"name": "reply", "response_times": {12: 3, 2.5: 1}}]}
    wanted = dict(said)
    pack_stats("a", said)
    said["more"] = "of a listener that came later"
    message: Any = Message.unserialize(Message("stats", said, "a").serialize())
    assert unpack_stats(message.data) == {**wanted, "more": "of a listener that came later"}


def test_what_is_said_twice_costs_its_bytes_once() -> None:
    live = live_part()
    histograms = "".join(f"Tag={tag},1,1,1,{text}\n" for tag, text in live["encoded"].items())
    batch = {**BATCH, "histograms": histograms.encode()}
    alone, both = (
        len(pack({"live": live, "clock": CLOCK, **more})) for more in ({}, {"batch": batch})
    )
    assert both - alone < len(histograms)
    assert alone < 1_000
