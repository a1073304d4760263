"""The record is a pure function of the files, and its verdict never flatters."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.clock import wall_ns
from harness.errors import ConfigError
from harness.judge.objective import parse_objective
from harness.judge.record import (
    build_record,
    declare_invalid,
    record_of_nothing,
    write_record,
)
from harness.judge.validity import LATE_MS
from harness.ledger.ledger import Stage, Store
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import (
    GUESTS_ARRIVED,
    GUESTS_CONNECTED,
    GUESTS_JOINED,
    GUESTS_REPLIED,
    GUESTS_SERVED,
    LAG_LOOP,
    REPLIES_RECEIVED,
    STORIES_BEGUN,
    STORIES_FINISHED,
    Recorder,
)
from harness.measure.snapshot import IntervalWriter
from harness.rundir.layout import RunDirectory, write_start

MS = 1_000_000


def make_run(
    directory: Path,
    *,
    stages: list[tuple[Stage, str]] | None = None,
    ended: bool = True,
    lag_ms: int = 1,
    replies: int = 100,
    objectives: tuple[str, ...] = (),
    measured: bool = True,
) -> None:
    stages = [(Stage.CLEARED, "")] * 3 if stages is None else stages
    write_start(directory, target="ws://127.0.0.1/v1", objectives=list(objectives))
    store = Store(directory / "ledger-w.sqlite", {"worker": "w"})
    for number, (stage, reason) in enumerate(stages, start=1):
        store.write(
            [(number, f"t{number}", Stage.INTENDED, 1, 1)], [(stage, reason, "", 2, number)], {}
        )
    store.write((), (), {"ended_ns": "9"} if ended else {})
    store.close()
    if not measured:
        return
    writer = IntervalWriter(directory, "w", started_ns=10**18)
    recorder = Recorder()
    for _ in range(replies):
        recorder.add(Sample("reply", 0, 10 * MS, 60 * MS, 61 * MS))
        recorder.add_duration(LAG_LOOP, lag_ms * MS)
    recorder.add(Sample("reply", 0, 0, 0, 0, Outcome.LOST))
    for step in (GUESTS_CONNECTED, GUESTS_JOINED, GUESTS_REPLIED):
        recorder.count(step, 3)
    recorder.count(REPLIES_RECEIVED, replies + 5)
    recorder.questions_asked += replies + 1
    for account in (GUESTS_ARRIVED, GUESTS_SERVED, STORIES_BEGUN, STORIES_FINISHED):
        recorder.count(account, 3)
    writer.write(
        recorder.take(),
        ended_ns=10**18 + 2 * 10**9,
        length_s=2.0,
        state={
            "phase": "ended",
            "sessions": {"opened": 3},
            "arrivals": {"due": 3, "started": 3},
            "process": {"cpu": 0.5, "rss_mb": 80.0},
        },
    )
    writer.close()


def test_a_good_run_passes_with_its_figures(tmp_path: Path) -> None:
    make_run(tmp_path, objectives=("reply p95 < 100ms", "reply errors < 2%"))
    record = build_record(tmp_path)
    assert (record["verdict"], record["exit_code"], record["reasons"]) == ("PASS", 0, [])
    assert record["sessions"]["opened"] == record["sessions"]["cleared"] == 3
    reply = record["operations"]["reply"]
    assert (reply["count"], reply["outcomes"]) == (101, {"ok": 100, "lost": 1})
    assert reply["service_ms"]["p50"] == pytest.approx(50, rel=1e-3)
    assert reply["corrected_ms"]["max"] == pytest.approx(60, rel=1e-3)
    assert record["generator"]["lag_arrival_ms"]["p99"] == pytest.approx(1, rel=1e-2)
    assert record["generator"]["late_share"] == 0
    assert record["duration_s"] == 2.0
    assert record["replies"] == {"received": 105, "answered": 100, "no_reply": 0}
    assert record["funnel"]["connected"] == record["funnel"]["replied"] == 3
    assert "guests_joined" not in record["forensics"]
    assert record["generator"]["arrival_stamps"] in ("kernel", "userspace")
    assert [o["text"] for o in record["objectives"]] == [
        "leftovers == 0",
        "guests failed < 1%",
        "reply p95 < 100ms",
        "reply errors < 2%",
    ]
    assert build_record(tmp_path) == record


def test_the_name_and_note_of_a_run_stand_in_its_record(tmp_path: Path) -> None:
    make_run(tmp_path)
    label = RunDirectory(tmp_path).label
    label.write_text('{"name": "Spring launch", "note": ""}')
    how = build_record(tmp_path)["how"]
    assert (how["name"], "note" in how) == ("Spring launch", False)
    label.write_text("[1]")
    assert "name" not in build_record(tmp_path)["how"]


def test_leftovers_fail_with_their_own_code(tmp_path: Path) -> None:
    make_run(tmp_path, stages=[(Stage.CLEARED, ""), (Stage.LOST, "clear_unanswered")])
    record = build_record(tmp_path)
    assert (record["verdict"], record["exit_code"]) == ("FAIL", 4)
    assert record["sessions"]["leftover_reasons"] == {"clear_unanswered": 1}


@pytest.mark.parametrize("heard", [True, False])
def test_what_a_lost_worker_may_have_opened_is_not_nothing(tmp_path: Path, heard: bool) -> None:
    make_run(tmp_path)
    assert build_record(tmp_path)["sessions"]["may_lack"] is False
    found = {"worker": "far", "copy_of": "far", "heartbeat_ns": str(wall_ns() if heard else 0)}
    Store(tmp_path / "ledger-far.sqlite", found).close()
    record = build_record(tmp_path)
    (leftovers, *_) = record["objectives"]
    assert (leftovers["figure"], leftovers["verdict"]) == (0, "NO_DATA")
    assert record["sessions"]["may_lack"] is True
    assert record["complete"] is False
    assert any("far did not report its end" in reason for reason in record["reasons"])
    assert record["verdict"] == "INVALID"


def test_a_missed_objective_fails(tmp_path: Path) -> None:
    make_run(tmp_path, objectives=("reply p95 < 10ms",))
    record = build_record(tmp_path)
    assert (record["verdict"], record["exit_code"]) == ("FAIL", 3)
    assert "reply p95 < 10ms" in record["reasons"][0]


def test_nothing_measured_is_no_pass(tmp_path: Path) -> None:
    make_run(tmp_path, stages=[], replies=0, objectives=("join p95 < 1s",))
    record = build_record(tmp_path)
    assert (record["verdict"], record["exit_code"]) == ("NO_DATA", 5)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"ended": False}, "1 of 1 processes did not end properly"),
        ({"lag_ms": int(LATE_MS) + 50}, "the generator lagged: w was later than 100 ms in 100"),
        ({"measured": False}, "no measurements beside ledger-w.sqlite"),
    ],
)
def test_what_can_not_be_believed_is_invalid(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    make_run(tmp_path, **how)
    record = build_record(tmp_path)
    assert (record["verdict"], record["exit_code"]) == ("INVALID", 6)
    assert any(why in reason for reason in record["reasons"])


def test_failures_noted_by_a_process_make_it_invalid(tmp_path: Path) -> None:
    make_run(tmp_path)
    (tmp_path / "failures.txt").write_text("the disk is full\n")
    assert build_record(tmp_path)["reasons"] == ["the disk is full"]
    assert build_record(tmp_path, incomplete="killed")["complete"] is False


def test_it_is_written_whole(tmp_path: Path) -> None:
    make_run(tmp_path)
    record = build_record(tmp_path)
    path = write_record(tmp_path, record)
    assert json.loads(path.read_text())["verdict"] == "PASS"
    assert record_of_nothing(tmp_path, "unreadable")["verdict"] == "INVALID"


def test_leftovers_outweigh_whatever_comes_up_later(tmp_path: Path) -> None:
    make_run(tmp_path, stages=[(Stage.CLEARED, ""), (Stage.LOST, "clear_unanswered")])
    record = build_record(tmp_path)
    declare_invalid(record, "the simulator says something else")
    assert (record["verdict"], record["exit_code"]) == ("INVALID", 4)
    assert record["invalid_because"] == ["the simulator says something else"]
    nothing = record_of_nothing(tmp_path, "unreadable")
    declare_invalid(nothing, "the record can't be written")
    assert nothing["exit_code"] == 4  # the ledger can be read


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("tls timeout == 0", "max, count, ok"),
        ("upgrade errors < 1%", "max, count, ok"),
        ("connect forbidden == 0", "max, errors, count, ok, timeout, refused, rate_limited"),
        ("clear unanswered == 0", "max, errors, count, ok, timeout,"),
        ("reply dropped == 0", "unanswered, cut_short"),
        ("session_open unanswered == 0", "service_error, cut_short"),
        ("delivered cut_short == 0", "service_error"),
    ],
)
def test_an_outcome_that_no_code_produces_is_refused_with_those_that_exist(
    text: str, there: str
) -> None:
    with pytest.raises(ConfigError, match="has no") as refused:
        parse_objective(text)
    assert there in str(refused.value)


@pytest.mark.parametrize("objectives", [("reply p95 < 100ms",), ("join p95 < 1s",)])
def test_a_run_that_an_objective_stopped_has_missed_it_whatever_came_later(
    tmp_path: Path, objectives: tuple[str, ...]
) -> None:
    make_run(tmp_path, objectives=objectives)
    write_start(tmp_path, aborted=["reply errors < 1% was 40%"])
    record = build_record(tmp_path)
    assert (record["verdict"], record["exit_code"]) == ("FAIL", 3)
    assert "stopped early: reply errors < 1% was 40%" in record["reasons"]
