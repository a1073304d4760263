"""Bins over time keep every count, follow gaps and lost processes, and merge times exactly."""

from pathlib import Path

import pytest
from synthetic import START_S, make_run

from harness.judge.series import MOST_BINS, MOST_PARTS, MOST_ROWS, bin_width_s, read_series
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.measure.snapshot import IntervalWriter, Measurements, read_measurements


def write(
    directory: Path,
    worker: str,
    at_s: list[int],
    *,
    times_ms: tuple[int, ...] = (10, 20, 30),
    length_s: float = 1.0,
    lost: int = 1,
    **sessions: int,
) -> None:
    writer = IntervalWriter(directory, worker, started_ns=START_S * 10**9)
    for second in at_s:
        recorder = Recorder()
        for took in times_ms:
            recorder.add(Sample("reply", 0, 0, took * 10**6, took * 10**6))
        for _ in range(lost):
            recorder.add(Sample("reply", 0, 0, 0, 0, Outcome.LOST))
        writer.write(
            recorder.take(),
            ended_ns=int((START_S + second + length_s) * 10**9),
            length_s=length_s,
            state={
                "sessions": sessions,
                "arrivals": {"due": 4},
                "process": {"cpu": 0.5},
            },
        )
    writer.close()


def test_nothing_recorded_is_nothing(tmp_path: Path) -> None:
    assert read_series(tmp_path) is None
    (tmp_path / "intervals-w0.jsonl").write_bytes(b"")
    assert read_series(tmp_path) is None


@pytest.mark.parametrize("span_s", [1, 59, 240, 241, 3600, 86_400, 30 * 86_400, 900 * 86_400])
def test_bins_are_few_and_never_narrower_than_what_was_recorded(span_s: float) -> None:
    finer = 1.0
    for most in (MOST_ROWS, MOST_BINS, MOST_PARTS):
        width = bin_width_s(span_s, finer, most)
        assert span_s / width <= most
        assert width % finer == 0
        finer = width
    assert bin_width_s(span_s, 10.0, MOST_BINS) >= 10


@pytest.mark.slow
def test_processes_add_up_and_nothing_is_lost(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "r", length_s=60, trouble=True)
    series, merged = read_series(run_dir), read_measurements(run_dir)
    assert series is not None
    assert series.parts is not None
    for tag, histogram in merged.histograms.items():
        assert list(series.totals[tag].buckets_us()) == list(histogram.buckets_us())
    assert {name: dict(counts) for name, counts in series.outcomes.items()} == merged.outcomes
    assert series.rows is not None
    for columns in (series, series.parts, series.rows):
        for name, count in merged.arrivals.items():
            rates = [value for value in columns.rates[name] if value is not None]
            assert sum(rates) * columns.width_s == pytest.approx(count)
        for operation, outcomes in merged.outcomes.items():
            for outcome, count in outcomes.items():
                per_bin = columns.operations[f"{operation}.{outcome}"]
                assert sum(value or 0 for value in per_bin) == count
        assert sum(value or 0 for value in columns.samples["reply.service"]) == len_replies(merged)
    assert sum(series.heat.values()) == merged.histograms["reply.service"].count


def len_replies(merged: Measurements) -> int:
    return merged.histograms["reply.service"].count


def test_a_gap_is_a_gap_and_totals_go_on(tmp_path: Path) -> None:
    write(tmp_path, "w0", [0, 1, 5], opened=3, occupancy=2)
    series = read_series(tmp_path)
    assert series is not None
    assert series.rates["due"] == [4, 4, None, None, None, 4]
    assert series.bands_ms["reply.service"][50.0][2] is None
    assert series.sessions["opened"] == [3] * 6
    assert series.failures == {"lost": [1, 1, None, None, None, 1]}


def test_a_process_that_ends_early_keeps_its_totals_but_occupies_nothing(tmp_path: Path) -> None:
    write(tmp_path, "w0", [0, 1], opened=3, occupancy=2)
    write(tmp_path, "w1", [0, 1, 2, 3], opened=5, occupancy=1)
    series = read_series(tmp_path)
    assert series is not None
    assert series.sessions["opened"] == [8, 8, 8, 8]
    assert series.sessions["occupancy"] == [3, 3, 1, 1]
    assert series.rates["due"] == [8, 8, 4, 4]


@pytest.mark.slow
def test_bins_of_several_intervals_merge_times_exactly(tmp_path: Path) -> None:
    write(tmp_path, "w0", list(range(0, 300)), times_ms=(10,), lost=0)
    write(tmp_path, "w1", list(range(0, 300)), times_ms=(90,), lost=0)
    series = read_series(tmp_path)
    assert series is not None
    assert series.width_s == 2
    bands = series.bands_ms["reply.service"]
    assert series.samples["reply.service"] == [4] * 150
    assert bands[50.0] == pytest.approx([10] * 150, rel=1e-3)
    assert bands[99.0] == pytest.approx([90] * 150, rel=1e-3)
    assert series.parts is not None
    assert len(series.parts) <= MOST_PARTS


def test_what_never_came_ranks_above_all_that_did(tmp_path: Path) -> None:
    write(tmp_path, "w0", [0, 1, 2], times_ms=(10, 20, 30), lost=1)
    series = read_series(tmp_path)
    assert series is not None
    assert series.bands_ms["reply.service"][50.0] == pytest.approx([20] * 3, rel=1e-3)
    assert series.at_least("reply.service", 50.0) == [False] * 3
    assert series.bands_ms["reply.service"][99.0] == pytest.approx([30] * 3, rel=1e-3)
    assert series.at_least("reply.service", 99.0) == [True] * 3


def test_who_was_not_answered_soon_is_no_fast_answer(tmp_path: Path) -> None:
    writer = IntervalWriter(tmp_path, "w0", started_ns=START_S * 10**9)
    recorder = Recorder()
    for took_ms, outcome in ((1, Outcome.UNANSWERED), (800, Outcome.OK), (900, Outcome.OK)):
        recorder.add(Sample("reply", 0, 0, took_ms * 10**6, took_ms * 10**6, outcome))
    state = {"sessions": {}, "arrivals": {}, "process": {}}
    writer.write(recorder.take(), ended_ns=(START_S + 1) * 10**9, length_s=1.0, state=state)
    writer.close()
    series = read_series(tmp_path)
    assert series is not None
    bands = series.bands_ms["reply.service"]
    assert bands[50.0] == pytest.approx([900], rel=1e-3)
    assert (series.at_least("reply.service", 50.0), series.at_least("reply.service", 95.0)) == (
        [False],
        [True],
    )


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "w0", [0, 1])
    whole = read_series(tmp_path)
    path = tmp_path / "intervals-w0.jsonl"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    log = tmp_path / "histograms-w0.hlog"
    log.write_bytes(log.read_bytes() + b"Tag=reply.service,0,1,2,!!!!\nTag=x\n")
    series = read_series(tmp_path)
    assert whole is not None
    assert series is not None
    assert series.samples == whole.samples
