"""A level as a process is ended when its figures are clear, and told apart from one that failed."""

import sys
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.studies.capacity.holding import Holding
from harness.studies.capacity.level import look_at
from harness.studies.capacity.runner import hold_level

LEVEL = """
import json, pathlib, signal, sys, time
sys.path.insert(0, {tests!r})
out = pathlib.Path(sys.argv[1])
from harness.measure.recorder import Recorder
from harness.measure.model import Sample
from harness.measure.snapshot import IntervalWriter

asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
run = out / "run-1"
run.mkdir()
writer = IntervalWriter(run, "w", started_ns=10**18)
(run / "start.json").write_text(json.dumps({{"objectives": ["reply p95 < 500ms"]}}))
for second in range(1, 61):
    recorder = Recorder()
    for number in range(1, 200):
        took = number * {reply_ms} * 10_000
        recorder.add(Sample("reply", 0, 0, took, took))
    writer.write(recorder.take(), ended_ns=10**18 + second * 10**9, length_s=1.0,
                 state={{"phase": "running", "sessions": {{}}, "arrivals": {{}}, "process": {{}}}})
    if asked:
        break
    time.sleep(0.05)
writer.close()
(run / "run.json").write_text(json.dumps({{"seconds": second}}))
"""


HOLDING = Holding(hold_s=10, longest_s=40)


def run_times(tmp_path: Path, reply_ms: float) -> tuple[float, float]:
    script = LEVEL.format(tests=str(Path(__file__).parents[2]), reply_ms=reply_ms)
    finished = hold_level(
        [sys.executable, "-c", script, str(tmp_path)],
        tmp_path,
        warmup_s=2,
        holding=HOLDING,
        looked=lambda run, begin_s, end_s: look_at(
            run, warmup_s=2, holding=HOLDING, begin_s=begin_s, end_s=end_s
        ),
        say=print,
    )
    text = (finished.directory / "run.json").read_text()
    return finished.end_s, float(text.split(":")[1].strip(" }"))


@pytest.mark.process
@pytest.mark.parametrize("reply_ms", [100, 600])
def test_a_clear_level_is_ended_early(tmp_path: Path, reply_ms: float) -> None:
    judged_s, ran_s = run_times(tmp_path, reply_ms)
    assert judged_s in (10, 20)
    assert ran_s < 60


@pytest.mark.process
def test_a_level_that_is_not_clear_is_held_for_the_longest(tmp_path: Path) -> None:
    # p95 of 1 to 199 hundredths of 263.15 ms is 500 ms: always next to the limit.
    judged_s, ran_s = run_times(tmp_path, 263.15)
    assert judged_s == 40
    assert ran_s >= 42


@pytest.mark.process
def test_a_level_that_did_not_run_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('error: no such target'); raise SystemExit(8)"]
    with pytest.raises(ConfigError, match=r"level-01 did not run: no such target"):
        hold_level(
            command,
            tmp_path / "level-01",
            warmup_s=1,
            holding=HOLDING,
            looked=lambda *_, **__: pytest.fail("it never ran"),
            say=print,
        )
