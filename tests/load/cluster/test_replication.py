"""The copy of a remote worker's ledger: complete, in order, bounded, told when it is not."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import gevent
import pytest
from locusts import locustfile, passed, start_elsewhere

from harness.clock import monotonic_ns
from harness.ledger.ledger import Group, Ledger, Stage, Store
from harness.ledger.reader import read_account, read_leftovers, read_process, read_rows
from harness.load.cluster import replication as shipping
from harness.load.cluster.messages import pack, unpack
from harness.load.cluster.replication import Copies, Shipper, new_node_name
from harness.measure.histogram import Histogram
from harness.measure.model import Sample
from harness.measure.recorder import Recorder, service_tag
from harness.measure.snapshot import IntervalWriter, read_measurements
from harness.rundir.layout import RunDirectory
from harness.supervise.children import free_port


class Wire:
    """Between a worker and its master; ``mute`` swallows what the worker sends."""

    def __init__(self, copies: Copies) -> None:
        self.copies = copies
        self.mute = False
        self.sent: list[dict[str, Any]] = []
        copies.on_taken = lambda _, answer: gevent.spawn(self.shipper.take_answer, answer)

    def join(self, directory: Path, worker: str, meta: dict[str, str]) -> Shipper:
        """A worker that ships from now on."""
        self.shipper = Shipper(self.report, directory, worker, meta)
        return self.shipper

    def report(self) -> None:
        """As each second."""
        batch = self.shipper.next_batch()
        if batch is not None:
            self.sent.append(batch)
            if not self.mute:
                self.deliver(batch)

    def deliver(self, batch: dict[str, Any], node: str = "worker-1") -> None:
        gevent.spawn(self.copies.take, node, unpack(pack({"batch": batch}))["batch"])


def rig(
    folder: Path, worker: str = "w", meta: dict[str, str] | None = None, *, own: Path | None = None
) -> tuple[Wire, Copies, Shipper]:
    """A worker that ships what its files hold to a master, which keeps it in ``folder``."""
    copies = Copies()
    copies.open(folder)
    wire = Wire(copies)
    return wire, copies, wire.join(own or folder / "nowhere", worker, meta or {})


STATE = {"phase": "running", "sessions": {}, "arrivals": {"due": 3}, "process": {}}


class Worker:
    """One with files of its own, whose ledger and measurements are shipped."""

    def __init__(self, folder: Path, shipper: Shipper) -> None:
        self.folder, self.shipper, self.second = folder, shipper, 0
        self.ledger = Ledger(Store(folder / "ledger-w.sqlite", {"worker": "w"}))
        self.ledger.on_commit = shipper.take
        self.writer = IntervalWriter(folder, "w", started_ns=10**18)
        shipper.take_measured(b"", self.writer.header)
        self.writer.on_write = shipper.take_measured
        self.recorder = Recorder()

    def work(self, sessions: int) -> None:
        """So many sessions more, one in three of them over, and an interval."""
        entries = [self.ledger.record_intent(f"token-{self.second}-{n}") for n in range(sessions)]
        self.ledger.flush()
        for entry in entries:
            self.ledger.mark(entry, Stage.JOINED, message_id=f"m-{entry.id}")
        for entry in entries[::3]:
            self.ledger.mark(entry, Stage.CLEARED)
        self.ledger.flush()
        for number in range(20):
            self.recorder.add(Sample("reply", 0, 0, 10**6 * (number + self.second), 10**9))
        self.second += 1
        ended_ns = 10**18 + self.second * 10**9
        self.writer.write(self.recorder.take(), ended_ns=ended_ns, length_s=1.0, state=STATE)

    def close(self) -> None:
        self.writer.close()
        self.ledger.close()

    def is_copied_to(self, folder: Path) -> bool:
        """Whether all that its files hold is there, and nothing else."""
        same = [
            (folder / name).read_bytes() == (self.folder / name).read_bytes()
            for name in ("intervals-w.jsonl", "histograms-w.hlog")
        ]
        rows, copied = (read_rows(at / "ledger-w.sqlite") for at in (self.folder, folder))
        return all(same) and rows == copied


def two_folders(folder: Path) -> tuple[Path, Path]:
    """The worker's and the master's."""
    here, there = folder / "worker", folder / "master"
    here.mkdir()
    there.mkdir()
    return here, there


def test_the_copy_says_what_the_ledger_says(tmp_path: Path) -> None:
    here, there = two_folders(tmp_path)
    wire, copies, shipper = rig(there, "w-1", {"worker": "w-1", "host": "far"})
    store = Store(here / "ledger-w-1.sqlite", {"worker": "w-1"})
    ledger = Ledger(store, on_commit=shipper.take)
    entries = [ledger.record_intent(f"token-{n}") for n in range(5_000)]
    ledger.flush()
    for entry in entries:
        ledger.mark(entry, Stage.JOINED, message_id=f"m-{entry.id}")
    ledger.flush()
    for entry in entries[::2]:
        ledger.mark(entry, Stage.CLEARED)
    ledger.close()
    assert shipper.flush(within_s=20)
    copies.close()
    assert copies.failures == []
    (copy,) = RunDirectory(there).ledgers()
    ours = [(row[:4], row[6]) for row in read_rows(here / "ledger-w-1.sqlite")]
    assert [(row[:4], row[6]) for row in read_rows(copy)] == ours
    assert max(len(batch["inserts"]) + len(batch["updates"]) for batch in wire.sent) <= 2_000
    assert read_account(there).workers_lost == 0


def test_an_unanswered_batch_is_sent_again_and_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "AGAIN_AFTER_S", 0.05)
    wire, copies, shipper = rig(tmp_path)
    wire.mute = True
    shipper.take(Group(inserts=[(1, "t", Stage.INTENDED, 1, 1)]))
    assert not shipper.flush(within_s=0.3)
    wire.mute = False
    assert shipper.flush(within_s=5)
    copies.close()
    assert len(wire.sent) > 1
    assert {batch["number"] for batch in wire.sent} == {1}
    assert read_account(tmp_path).intended == 1


@pytest.mark.parametrize("bound", ["WAITING", "MEASURED_WAITING"])
def test_what_waits_is_bounded_and_then_all_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(shipping, "AGAIN_AFTER_S", 0.05)
    monkeypatch.setattr(shipping, bound, 300)
    here, there = two_folders(tmp_path)
    wire, copies, shipper = rig(there, own=here)
    worker = Worker(here, shipper)
    wire.mute = True
    for _ in range(10):
        worker.work(100)
        wire.report()
        gevent.sleep(0)
        assert len(shipper._inserts) + len(shipper._updates) <= shipping.WAITING
        assert shipper._measured_bytes <= max(shipping.MEASURED_WAITING, 2_000)
    wire.mute = False
    worker.work(10)
    worker.close()
    assert shipper.flush(within_s=20)
    copies.close()
    assert copies.failures == []
    assert worker.is_copied_to(there)
    account = read_account(there)
    assert (account.intended, account.damaged, account.workers_lost) == (1010, [], 0)
    assert any(batch["snapshot"] for batch in wire.sent)


def test_a_file_that_is_the_workers_own_is_left_alone(tmp_path: Path) -> None:
    wire, copies, shipper = rig(tmp_path)
    own = tmp_path / "ledger-w.sqlite"
    own.write_bytes(b"its own")
    shipper.take(Group(inserts=[(1, "t", Stage.INTENDED, 1, 1)]))
    assert shipper.flush(within_s=5)
    shipper.take_measured(b"{}\n", b"Tag=a\n")  # the master has said that it needs nothing
    shipper.take(Group(inserts=[(2, "t", Stage.INTENDED, 1, 1)]))
    assert shipper.flush(within_s=0)
    copies.close()
    assert own.read_bytes() == b"its own"
    assert [path.name for path in tmp_path.iterdir()] == [own.name]
    assert len(wire.sent) == 1


def test_measurements_come_whole_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "MEASURED_BATCH", 1_000)
    here, there = two_folders(tmp_path)
    wire, copies, shipper = rig(there, "w", {"worker": "w"})
    writer = IntervalWriter(here, "w", started_ns=10**18)
    shipper.take_measured(b"", writer.header)
    writer.on_write = shipper.take_measured
    recorder = Recorder()
    state = {"phase": "running", "sessions": {}, "arrivals": {"due": 3}, "process": {}}
    for second in range(1, 8):
        for number in range(50):
            recorder.add(Sample("reply", 0, 0, 10**6 * (number + second), 10**9))
        ended_ns = 10**18 + second * 10**9
        writer.write(recorder.take(), ended_ns=ended_ns, length_s=1.0, state=state)
        wire.report()
        gevent.sleep(0)
    writer.close()
    assert shipper.flush(within_s=10)
    copies.close()
    assert copies.failures == []
    for name in ("intervals-w.jsonl", "histograms-w.hlog"):
        assert (there / name).read_bytes() == (here / name).read_bytes()
    assert len([batch for batch in wire.sent if batch["intervals"]]) > 1
    assert read_measurements(there).arrivals == {"due": 21}


def test_no_token_is_used_that_the_master_does_not_know_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, _, shipper = rig(tmp_path)
    used = 0
    shipper._used = lambda: used
    assert not shipper.may_use_token(), "it has not heard of this worker"
    assert shipper.may_use.wait(2)
    while shipper.may_use_token() or shipper.may_use.wait(2):  # a slow disk answers late
        if shipper.may_use_token():
            used += 1
            gevent.sleep(0.001)
        if used == 500:
            wire.mute = True
    assert used > 500
    assert read_process(tmp_path / "ledger-w.sqlite").reserved == used
    for batch in wire.sent[-1:]:
        wire.deliver(batch)
    assert shipper.may_use.wait(2)
    assert shipper.may_use_token()
    silent_ns = int(shipping.HEARTBEAT_FRESH_S * 1e9) + monotonic_ns()
    monkeypatch.setattr(shipping, "monotonic_ns", lambda: silent_ns)
    assert not shipper.may_use_token(), "the master takes this worker for dead"


def test_a_token_that_goes_while_more_are_asked_for_is_not_used_twice(tmp_path: Path) -> None:
    wire, _, shipper = rig(tmp_path)
    used = 0
    shipper._used = lambda: used
    shipper.may_use_token()
    assert shipper.may_use.wait(2)
    wire.mute, used = True, shipping.RESERVE - 1

    def send_slowly() -> None:
        nonlocal used
        used += 1  # by another guest, while this greenlet waits

    shipper._report = send_slowly
    assert not shipper.may_use_token()


def test_each_batch_is_a_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, copies, shipper = rig(tmp_path, meta={"heartbeat_ns": "1"})
    shipper.take(Group(inserts=[(1, "t", Stage.INTENDED, 1, 1)]))
    assert shipper.flush(within_s=5)
    later_ns = 2 * 10**18
    monkeypatch.setattr(shipping, "wall_ns", lambda: later_ns)
    shipper.take(Group(inserts=[(2, "u", Stage.INTENDED, 1, 1)]))  # a backlog: no heartbeat in it
    assert shipper.flush(within_s=5)
    copies.close()
    assert read_process(tmp_path / "ledger-w.sqlite").heartbeat_ns == later_ns


def test_no_token_is_used_when_the_master_has_another_run(tmp_path: Path) -> None:
    _, _, shipper = rig(tmp_path, meta={"run_id": "another-run"})
    shipper.may_use_token()
    assert shipper.may_use.wait(2)
    assert not shipper.may_use_token()


def test_a_name_from_the_network_can_not_leave_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "run"
    inside.mkdir()
    _, copies, shipper = rig(inside, "../../x/y")
    shipper.take(Group(inserts=[(1, "t", Stage.INTENDED, 1, 1)]))
    assert shipper.flush(within_s=5)
    copies.close()
    (file,) = RunDirectory(inside).ledgers()
    assert "/" not in file.name
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


LOSSY = """
from harness.load.cluster.replication import Shipper

whole = Shipper.next_batch

def lossy(self):
    batch = whole(self)
    if batch is not None and batch["number"] in (1, 3):
        self._on_its_way = batch = None  # it takes the batch for taken
    return batch

Shipper.next_batch = lossy
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "more", [pytest.param("", marks=pytest.mark.long), LOSSY], ids=["", "batches are lost"]
)
def test_a_killed_workers_sessions_are_swept_from_the_masters_copy(
    simulator: Any, tmp_path: Path, more: str
) -> None:
    # Two folders stand for two machines: the master can't see the worker's own file.
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=500, think="200ms", more=more)
    port = free_port()
    bind = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    master = start_elsewhere(
        file, tmp_path / "m", simulator.url, "--master", "--expect-workers", "1", *bind,
        "-u", "6", "-r", "6", "-t", "5m", "--only-summary",
    )  # fmt: skip
    worker = start_elsewhere(file, tmp_path / "w", simulator.url, "--worker", "--master-port", port)
    deadline = time.monotonic() + 40
    copies: list[Path] = []
    while time.monotonic() < deadline:
        copies = list((tmp_path / "m").glob("reports/*/ledger-*.sqlite"))
        if copies and sum(row.state == "joined" for row in read_leftovers(copies[0].parent)) == 6:
            break
        time.sleep(0.2)
    opened = simulator.open_tokens() - before
    assert len(opened) == 6
    assert opened <= {left.token for left in read_leftovers(copies[0].parent)}
    worker.kill()
    worker.communicate()
    time.sleep(1)
    os.kill(master.pid, signal.SIGINT)  # SIGTERM leaves no time to wait for what may still open
    output, _ = master.communicate(timeout=90)
    assert master.returncode == 6, output
    account = read_account(copies[0].parent)
    assert (account.intended, account.settled, account.leftover) == (6, 6, 0)
    assert simulator.open_tokens() <= before
    assert ("all of its ledger is asked for again" in output) == bool(more), output
    told = json.loads((copies[0].parent / "run.json").read_text())["how"]
    assert ("out of sequence" in told.get("refused_messages", {})) == bool(more)


@pytest.mark.process
def test_figures_of_workers_elsewhere_are_exact(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path)
    port = free_port()
    bind = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    master = start_elsewhere(
        file, tmp_path / "m", simulator.url, "--master", "--expect-workers", "2", *bind,
        "-u", "6", "-r", "6", "-t", "4s", "--stop-timeout", "20", "--only-summary",
    )  # fmt: skip
    folders = [tmp_path / name for name in ("one", "two")]
    workers = [
        start_elsewhere(file, folder, simulator.url, "--worker", "--master-port", port)
        for folder in folders
    ]
    output, _ = master.communicate(timeout=90)
    for worker in workers:
        worker.communicate(timeout=30)
    assert passed(master.returncode, output), output
    (whole,) = [
        p for p in (tmp_path / "m" / "reports").iterdir() if p.is_dir() and not p.is_symlink()
    ]
    parts = [read_measurements(next((f / "reports").glob("2*"))) for f in folders]
    merged = Histogram()
    for part in parts:
        merged.merge(part.histograms[service_tag("reply")])
    entry = json.loads((whole / "run.json").read_text())["operations"]["reply"]
    assert entry["count"] == merged.count == sum(p.outcomes["reply"]["ok"] for p in parts) > 5
    assert entry["service_ms"]["p95"] == merged.percentile_ms(95)


def test_two_lives_of_one_container_are_two_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Restarted in place: the same host name, process 1 again, and a disk that is empty again.
    monkeypatch.setattr("os.getpid", lambda: 1)
    wire, copies, first = rig(tmp_path, new_node_name())
    first.take(Group(inserts=[(n, f"a{n}", Stage.INTENDED, 1, 1) for n in range(1, 6)]))
    assert first.flush(within_s=5)
    second = wire.join(tmp_path, new_node_name(), {})
    second.take(Group(inserts=[(n, f"b{n}", Stage.INTENDED, 1, 1) for n in range(1, 9)]))
    assert second.flush(within_s=5)
    copies.close()
    assert copies.failures == []
    listed = {left.token for left in read_leftovers(tmp_path)}
    assert listed == {f"a{n}" for n in range(1, 6)} | {f"b{n}" for n in range(1, 9)}


@pytest.mark.parametrize("seed", range(4))
def test_what_does_not_follow_is_refused_aloud_and_all_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    # Batches that are lost on the way, also those of what is being sent again.
    monkeypatch.setattr(shipping, "AGAIN_AFTER_S", 0.05)
    monkeypatch.setattr(shipping, "BATCH", 100)
    monkeypatch.setattr(shipping, "SNAPSHOTS", 1000)
    chance = random.Random(seed)
    here, there = two_folders(tmp_path)
    wire, copies, shipper = rig(there, own=here)
    worker = Worker(here, shipper)
    deliver, lost, losing = wire.deliver, 0, True

    def lose_some(batch: dict[str, Any]) -> None:
        nonlocal lost
        if losing and lost < 12 and chance.random() < 0.3:
            lost += 1
            shipper._on_its_way = None  # it takes the batch for taken
        else:
            deliver(batch)

    monkeypatch.setattr(wire, "deliver", lose_some)
    for _ in range(8):
        worker.work(150)
        wire.report()
        gevent.sleep(0.03)
    worker.close()
    assert shipper.flush(within_s=30)
    losing = False
    worker.shipper.take(Group(meta={"last": "word"}))  # so that a lost last batch shows as well
    assert shipper.flush(within_s=30)
    copies.close()
    assert lost > 3
    assert copies.failures == []
    assert copies.refused > 0
    told = caplog.text
    assert "it is refused, and all of its ledger is asked for again" in told
    assert "all is sent again" in told
    assert worker.is_copied_to(there)
    account = read_account(there)
    assert (account.intended, account.damaged, account.workers_lost) == (1200, [], 0)
    assert sorted(path.name for path in there.iterdir()) == [
        "histograms-w.hlog", "intervals-w.jsonl", "ledger-w.sqlite",
    ]  # fmt: skip


def test_a_copy_that_can_not_be_made_whole_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, copies, shipper = rig(tmp_path)  # its own files are gone
    shipper.take(Group(inserts=[(1, "t1", Stage.INTENDED, 1, 1)]))
    assert shipper.flush(within_s=5)
    shipper._batch = 7
    shipper.take(Group(inserts=[(2, "t2", Stage.INTENDED, 1, 1)]))
    assert not shipper.flush(within_s=5)
    copies.close()
    (why,) = copies.failures
    assert "batch 8 of w came after batch 1, and not all of it came again" in why
    assert "its own files can't be read" in caplog.text
    assert read_account(tmp_path).damaged


def test_what_is_open_stays_listed_while_all_is_sent_again(tmp_path: Path) -> None:
    here, there = two_folders(tmp_path)
    _, copies, shipper = rig(there, own=here)
    worker = Worker(here, shipper)
    worker.work(30)
    assert shipper.flush(within_s=5)
    before = {left.token for left in read_leftovers(there)}
    assert len(before) == 20
    batch = {"run": "", "worker": "w", "number": 99} | shipping._part(snapshot=shipping.BEGIN)
    copies._take("worker-1", batch)  # and the worker dies
    assert {left.token for left in read_leftovers(there)} == before
    copies.close()
    worker.close()


def test_who_takes_the_name_of_another_worker_is_refused_aloud(tmp_path: Path) -> None:
    wire, copies, shipper = rig(tmp_path)
    shipper.take(Group(inserts=[(1, "t1", Stage.INTENDED, 1, 1)]))
    assert shipper.flush(within_s=5)
    other = {
        "run": "", "worker": "w", "number": 1, "inserts": [(1, "x1", Stage.INTENDED, 1, 1)],
        "updates": [], "meta": {}, "intervals": b"", "histograms": b"",
    }  # fmt: skip
    wire.deliver(other, "worker-2")
    gevent.sleep(0.2)
    copies.close()
    assert any("two workers call themselves w" in why for why in copies.failures)
    assert {left.token for left in read_leftovers(tmp_path)} == {"t1"}


def test_a_late_word_of_the_run_before_goes_into_no_other(tmp_path: Path) -> None:
    _, copies, shipper = rig(tmp_path, "w", {"run_id": "another-run"})
    shipper.take(Group(inserts=[(1, "t1", Stage.INTENDED, 1, 1)]))
    assert shipper.flush(within_s=5)
    copies.close()
    assert copies.failures == []
    assert RunDirectory(tmp_path).ledgers() == []
