"""What a process wrote comes back whole, also when the last line is torn."""

from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from harness.measure.histogram import DIGITS, HIGHEST_US, LOWEST_US, Histogram
from harness.measure.model import Outcome, Sample, interval_s
from harness.measure.recorder import Recorder
from harness.measure.snapshot import (
    IntervalWriter,
    read_histograms,
    read_intervals,
    read_measurements,
)

STATE = {
    "sessions": {"opened": 1},
    "arrivals": {"due": 2, "started": 2},
    "process": {"cpu": 0.1},
}


def write(directory: Path, worker: str, durations_ms: list[int]) -> None:
    writer = IntervalWriter(directory, worker, started_ns=10**18)
    for number, duration in enumerate(durations_ms, start=1):
        recorder = Recorder()
        recorder.add(Sample("reply", 0, 0, duration * 10**6, duration * 10**6))
        recorder.add(Sample("reply", 0, 0, 0, 0, Outcome.LOST))
        recorder.count("late")
        writer.write(recorder.take(), ended_ns=10**18 + number * 10**9, length_s=1.0, state=STATE)
    writer.close()


def test_processes_merge_exactly(tmp_path: Path) -> None:
    write(tmp_path, "a-1", [10, 20])
    write(tmp_path, "b-2", [30])
    merged = read_measurements(tmp_path)
    assert merged.workers == ["a-1", "b-2"]
    assert merged.histograms["reply.service"].count == 3
    assert merged.histograms["reply.service"].percentile_ms(100) == pytest.approx(30, rel=1e-3)
    assert merged.outcomes == {"reply": {"ok": 3, "lost": 3}}
    assert (merged.counts, merged.arrivals) == ({"late": 3}, {"due": 6, "started": 6})
    assert "join.service" not in merged.histograms


def test_intervals_grow_with_the_run_and_lose_nothing(tmp_path: Path) -> None:
    assert [interval_s(at) for at in (0, 3599, 3600, 86_399, 86_400)] == [1, 1, 10, 10, 60]
    writer = IntervalWriter(tmp_path, "a-1", started_ns=10**18)
    parts, began = 25, 2 * 3600
    for number in range(1, parts + 1):
        recorder = Recorder()
        recorder.add(Sample("reply", 0, 0, number * 10**6, number * 10**6))
        writer.write(
            recorder.take(),
            ended_ns=10**18 + (began + number) * 10**9,
            length_s=1.0,
            state=STATE,
        )
    writer.close()
    intervals = list(read_intervals(tmp_path / "intervals-a-1.jsonl"))
    assert [interval.length_s for interval in intervals] == [10, 10, 5]
    merged = read_measurements(tmp_path)
    assert merged.histograms["reply.service"].count == parts
    assert merged.outcomes["reply"]["ok"] == parts
    assert merged.arrivals["due"] == 2 * parts


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a-1", [10, 20])
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    merged = read_measurements(tmp_path)
    assert merged.histograms["lag.arrival"].count == 1  # the last line of that log
    assert merged.histograms["reply.service"].count == 2
    assert merged.outcomes == {"reply": {"ok": 1, "lost": 1}}


@pytest.mark.parametrize(
    "line",
    [
        b'{"t": 1}',
        b"\x00\x00\x00\xff",
        b"[]",
        b"7",
        b'{"t":"x","s":1,"sessions":{},"arrivals":{},"outcomes":{},"counts":{},"process":{}}',
        b'{"t":1,"s":1,"sessions":[],"arrivals":{},"outcomes":{},"counts":{},"process":{}}',
        b'{"t":1,"s":1,"sessions":{},"arrivals":{"due":"4"},"outcomes":{},"counts":{},"process":{}}',
        b'{"t":1,"s":1,"sessions":{},"arrivals":{},"outcomes":{"reply":{"ok":[]}},"counts":{},"process":{}}',
    ],
)
def test_a_damaged_line_is_left_out_and_counted(tmp_path: Path, line: bytes) -> None:
    write(tmp_path, "a-1", [10, 20])
    whole = read_measurements(tmp_path)
    path = tmp_path / "intervals-a-1.jsonl"
    path.write_bytes(line + b"\n" + path.read_bytes())
    log = tmp_path / "histograms-a-1.hlog"
    bad = b"Tag=reply.service,0,1,2,AAAA\nTag=reply.service,x,1,2,A\nTag=\n\xff\xfe\n"
    log.write_bytes(log.read_bytes() + bad)
    found = read_measurements(tmp_path)
    assert found.outcomes == whole.outcomes
    assert found.arrivals == whole.arrivals
    medians = [one.histograms["reply.service"].percentile_ms(50) for one in (found, whole)]
    assert medians[0] == medians[1]
    assert len(found.damaged) == 5
    assert found.damaged[0].startswith("intervals-a-1.jsonl:1: not an interval of a run")


NOT_NUMBERS = ("1e308", "1" + 30 * "0", "-1", "NaN", "Infinity", "true", "null", '"1"')


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ('"t":{}', (*NOT_NUMBERS, "1e12")),
        ('"s":{}', (*NOT_NUMBERS, "1e9")),
        ('"sessions":{{"opened":{}}}', (*NOT_NUMBERS, "1.5")),
        ('"arrivals":{{"due":{}}}', (*NOT_NUMBERS, "1.5")),
        ('"outcomes":{{"reply":{{"ok":{}}}}}', (*NOT_NUMBERS, "1.5")),
        ('"counts":{{"guests_arrived":{}}}', (*NOT_NUMBERS, "1.5")),
        ('"process":{{"cpu":{}}}', NOT_NUMBERS),
    ],
)
def test_a_line_with_a_number_that_no_run_writes_is_left_out_by_its_name(
    tmp_path: Path, where: str, numbers: tuple[str, ...]
) -> None:
    path = tmp_path / "intervals-a-1.jsonl"
    blocks = ("sessions", "arrivals", "outcomes", "counts", "process")
    keys = {"t": "1", "s": "1", **dict.fromkeys(blocks, "{}")}
    for number in numbers:
        pairs = [f'"{key}":{value}' for key, value in keys.items()]
        pairs = [one for one in pairs if one.split(":")[0] != where.split(":")[0]]
        path.write_text("{" + ",".join([*pairs, where.format(number)]) + "}\n")
        found = read_measurements(tmp_path)
        assert not found.counts, number
        assert not found.arrivals, number
        assert not found.outcomes, number
        assert len(found.damaged) == 1, number
        assert found.damaged[0].startswith("intervals-a-1.jsonl:1: "), number


@pytest.mark.parametrize(
    "times", ["nan,1", "1,nan", "inf,1", "1,inf", "-1e9,1", "1,-1", "1e308,1", "1,1e308"]
)
def test_a_histogram_at_a_time_that_no_run_writes_is_left_out(tmp_path: Path, times: str) -> None:
    write(tmp_path, "a-1", [10, 20])
    log = tmp_path / "histograms-a-1.hlog"
    encoded = Histogram().encode()
    log.write_bytes(b"#[StartTime: 5 s]\n" + f"Tag=x.service,{times},2,{encoded}\n".encode())
    damaged: list[str] = []
    assert not list(read_histograms(log, damaged))
    assert damaged[0].startswith("histograms-a-1.hlog:2: ")


def test_the_histogram_log_is_the_standard_form(tmp_path: Path) -> None:
    write(tmp_path, "a-1", [10, 20])
    log = str(tmp_path / "histograms-a-1.hlog")
    reader = HistogramLogReader(log, HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS))
    counts = []
    while (histogram := reader.get_next_interval_histogram()) is not None:
        counts.append(histogram.get_total_count())
    reader.input_file.close()
    assert sum(counts) == 6  # service, corrected and lag of both intervals
