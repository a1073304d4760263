"""Objectives stand by the intervals of what was measured in the window, errors as well as times."""

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.judge.objective import parse_objective
from harness.judge.record import KNOWN
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.measure.snapshot import IntervalWriter
from harness.studies.capacity.level import read_standings, read_window
from harness.studies.capacity.search import Standing

MS = 1_000_000


def run(directory: Path, *, errors_of_100: int, early: int = 0) -> Path:
    """Ten seconds with ``early`` errors of a hundred replies each, then thirty with fewer."""
    writer = IntervalWriter(directory, "w", started_ns=10**18)
    for second in range(1, 41):
        recorder = Recorder()
        bad = early if second <= 10 else errors_of_100
        for number in range(100):
            outcome = Outcome.RATE_LIMITED if number < bad else Outcome.OK
            recorder.add(Sample("reply", 0, 0, 80 * MS, 80 * MS, outcome))
        writer.write(
            recorder.take(),
            ended_ns=10**18 + second * 10**9,
            length_s=1.0,
            state={"phase": "running", "sessions": {}, "arrivals": {}, "process": {}},
        )
    writer.close()
    return directory


@pytest.mark.parametrize(
    ("text", "errors_of_100", "expected"),
    [
        ("reply errors < 5%", 0, Standing.MET),
        ("reply errors < 5%", 5, Standing.CLOSE),
        ("reply errors < 5%", 9, Standing.MISSED),
        ("reply rate_limited < 5%", 9, Standing.MISSED),
        ("reply timeout < 5%", 9, Standing.MET),
        ("reply p95 < 100ms", 0, Standing.MET),
        ("reply p95 < 60ms", 0, Standing.MISSED),
    ],
)
def test_by_interval(tmp_path: Path, text: str, errors_of_100: int, expected: Standing) -> None:
    directory = run(tmp_path, errors_of_100=errors_of_100, early=50)
    window = read_window(directory, 10)
    found = read_standings(
        directory, [parse_objective(text, KNOWN)], window, held=1.0, verdicts={text: "FAIL"}
    )
    assert found[text].standing is expected
    assert found[text].bounded
    reading = found[text].reading
    if expected is not Standing.CLOSE and reading is not None:
        assert (reading.value > 0) is (expected is Standing.MISSED)


def test_what_has_no_interval_stands_by_the_runs_verdict(tmp_path: Path) -> None:
    directory = run(tmp_path, errors_of_100=0)
    text = "reply count > 100"
    objectives = [parse_objective(text, KNOWN), parse_objective("dropped == 0", KNOWN)]
    window = read_window(directory, 10, longest_s=5)
    assert window.length_s == pytest.approx(5)
    for verdict, expected in (("PASS", Standing.MET), ("FAIL", Standing.MISSED)):
        found = read_standings(directory, objectives, window, held=1, verdicts={text: verdict})
        assert {name: one.standing for name, one in found.items()} == {text: expected}
    assert read_standings(directory, objectives, window, held=1, verdicts={}) == {}


def test_a_run_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="never ran"):
        read_window(tmp_path, 1)
