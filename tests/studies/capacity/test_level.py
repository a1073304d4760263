"""A level is judged from its files: warm-up cut off, objectives first, then the generator.

A level is judged in an order that never calls the generator's limit the service's.

Objectives stand by the intervals of what was measured in the window, errors as well as times.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_once import made_once

from harness.errors import ConfigError
from harness.judge.objective import parse_objective
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.measure.snapshot import IntervalWriter
from harness.measure.statistics import Estimate
from harness.studies.capacity.holding import Holding, Judged, ObjectiveState, judge_level, state_of
from harness.studies.capacity.level import (
    Part,
    Written,
    judge_run,
    judged_so_far_s,
    look_at,
)

MS = 1_000_000


@made_once
def measured(
    directory: Path,
    *,
    reply_ms: float,
    warm_ms: float | None = None,
    then_ms: float | None = None,
    dropped: int = 0,
    dropped_at: int = 40,
    late: int = 0,
    then: tuple[Sample, ...] = (),
    paced: int = 0,
    refused: int = 0,
) -> None:
    """Twenty seconds of warm-up and sixty judged ones, 100 replies each; ``then_ms`` after half.

    ``then`` is measured as the run ends, ten seconds later.
    """
    rng = random.Random(4)
    writer = IntervalWriter(directory, "w", started_ns=10**18)
    for second in range(1, 91):
        recorder = Recorder()
        middle = warm_ms if warm_ms is not None and second <= 20 else reply_ms
        if then_ms is not None and second > 50:
            middle = then_ms
        for _ in range(100):
            took = int(rng.expovariate(1 / middle) * MS)
            recorder.add(Sample("reply", 0, 0, took, took))
        for sample in then if second == 90 else ():
            recorder.add(sample)
        for number in range(100 if refused else 0):
            outcome = Outcome.RATE_LIMITED if number < refused else Outcome.OK
            recorder.add(Sample("delivered", 0, 0, MS, MS, outcome))
        for _ in range(paced if second == 40 else 0):
            recorder.count("paced_connects")
        writer.write(
            recorder.take(),
            ended_ns=10**18 + second * 10**9,
            length_s=1.0,
            state={
                "phase": "running" if second <= 80 else "finishing",
                "sessions": {"occupancy": 12},
                "arrivals": {
                    "started": 3,
                    "dropped": dropped if second == dropped_at else 0,
                    "late": late if second == 40 else 0,
                },
                "process": {},
            },
        )
    writer.close()


def level(
    directory: Path,
    *,
    then: Sequence[Sample] = (),
    verdict: str = "PASS",
    leftover: int = 0,
    little: dict[str, float] | None = None,
    **how: Any,
) -> Path:
    """A run of which that was measured, with its record."""
    measured(directory, then=tuple(then), **how)
    record: dict[str, Any] = {
        "schema": 1,
        "run_id": directory.name,
        "verdict": verdict,
        "little": little,
        "reasons": ["the generator lagged"],
        "sessions": {"leftover": leftover},
        "objectives": [
            {"text": "leftovers == 0", "verdict": "FAIL" if leftover else "PASS"},
            {"text": "reply p95 < 500ms", "verdict": "PASS"},
            {"text": "session_open errors < 1%", "verdict": "PASS"},
        ],
    }
    (directory / "run.json").write_text(json.dumps(record))
    return directory


def test_well_below_the_limit_is_under(tmp_path: Path) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=100), warmup_s=20)
    assert judgement.judged is Judged.UNDER
    assert judgement.occupancy == pytest.approx(12)
    assert judgement.replies_per_s == pytest.approx(100)
    assert judgement.session_s == pytest.approx(4)
    assert judgement.nearest == "reply p95 < 500ms"
    figure = judgement.figures["reply p95 < 500ms"]
    assert float(figure.split()[0]) == pytest.approx(300, rel=0.05)


def test_well_above_is_over_and_names_what_broke(tmp_path: Path) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=250), warmup_s=20)
    assert judgement.judged is Judged.OVER
    assert judgement.reason.startswith("reply p95 < 500ms: 7")


def test_the_warm_up_is_not_judged(tmp_path: Path) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=100, warm_ms=4000), warmup_s=20)
    assert judgement.judged is Judged.UNDER


def test_at_the_limit_is_close(tmp_path: Path) -> None:
    # p95 of an exponential is three times its mean.
    assert judge_run(level(tmp_path, reply_ms=500 / 2.996), warmup_s=20).judged is Judged.CLOSE


@pytest.mark.parametrize("how", [{"verdict": "INVALID"}, {"dropped": 3}, {"late": 3}])
def test_a_struggling_generator_is_never_the_services_limit(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=100, **how), warmup_s=20)
    assert judgement.judged is Judged.INCONCLUSIVE
    assert "generator" in judgement.reason


def test_guests_who_waited_for_our_own_limit_are_not_the_services(tmp_path: Path) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=100, paced=3), warmup_s=20)
    assert judgement.judged is Judged.INCONCLUSIVE
    assert "3 guests waited for the limit of new connections" in judgement.reason


def test_a_level_of_occupancy_has_to_have_its_guests(tmp_path: Path) -> None:
    directory = level(tmp_path, reply_ms=100, little={"off": 0.01})
    judgement = judge_run(directory, warmup_s=20, guests=12)
    assert judgement.judged is Judged.UNDER
    assert judgement.arrivals_per_s == pytest.approx(3)
    assert judgement.little_off == pytest.approx(0.01)
    short = judge_run(directory, warmup_s=20, guests=13)
    assert short.judged is Judged.INCONCLUSIVE
    assert short.reason == "the generator was the limit: 12.0 of 13 guests were in session"


def test_what_was_dropped_at_the_end_of_the_run_does_not_count(tmp_path: Path) -> None:
    at_the_end = level(tmp_path, reply_ms=100, dropped=3, dropped_at=85)
    assert judge_run(at_the_end, warmup_s=20).judged is Judged.UNDER


def test_a_miss_counts_even_when_the_generator_struggled(tmp_path: Path) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=400, verdict="INVALID"), warmup_s=20)
    assert judgement.judged is Judged.OVER


@pytest.mark.slow
def test_a_service_that_sheds_load_is_over_though_its_answers_are_fast(tmp_path: Path) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=100, refused=35), warmup_s=20)
    assert judgement.judged is Judged.OVER
    assert judgement.reason.startswith("delivered errors <= 1%: 35.00% refused with 429")


def test_an_objective_of_the_user_says_how_much_may_be_refused(tmp_path: Path) -> None:
    objectives = [parse_objective("delivered rate_limited < 40%")]
    directory = level(tmp_path, reply_ms=100, refused=35)
    window = Written(directory).window(20)
    objective_intervals = Part(Written(directory), window).objective_intervals(objectives, {})
    assert {text: one.shown.state for text, one in objective_intervals.items()} == {
        "delivered rate_limited < 40%": ObjectiveState.MET
    }


@pytest.mark.parametrize(("low", "judged"), [(0.001, Judged.CLOSE), (0.012, Judged.OVER)])
def test_a_miss_of_a_few_guests_is_told_by_its_interval(
    tmp_path: Path, low: float, judged: Judged
) -> None:
    directory = level(tmp_path, reply_ms=100, verdict="FAIL")
    record = json.loads((directory / "run.json").read_text())
    missed = {"text": "guests failed < 1%", "verdict": "FAIL", "figure": 0.023}
    record["objectives"].append({**missed, "low": low, "high": 0.103})
    (directory / "run.json").write_text(json.dumps(record))
    judgement = judge_run(directory, warmup_s=20)
    assert judgement.judged is judged
    if judged is Judged.CLOSE:
        assert judgement.reason == "guests failed < 1%: 2.30% (0.10% to 10.30%)"


def sample(operation: str, waited_s: float, outcome: Outcome) -> Sample:
    waited = int(waited_s * 1000) * MS
    return Sample(operation, 0, 0, waited, waited, outcome)


@pytest.mark.parametrize("operation", ["connect", "session_open", "reply"])
def test_what_was_still_waited_for_at_the_end_was_not_given(tmp_path: Path, operation: str) -> None:
    """A service that takes no more connections answers the guests that it has as well as ever."""
    came = [sample(operation, 5, Outcome.OK) for _ in range(60)]
    hung = [sample(operation, 14, Outcome.CUT_SHORT) for _ in range(240)]
    judgement = judge_run(level(tmp_path, reply_ms=100, then=came + hung), warmup_s=20)
    # Most of the replies had come by then: whether the silence lasts nobody can tell.
    assert judgement.judged is (Judged.CLOSE if operation == "reply" else Judged.OVER)
    if operation == "connect":
        assert judgement.reason.startswith("connect errors <= 1%: 80.00% cut short")


def test_who_had_just_begun_to_wait_is_no_error(tmp_path: Path) -> None:
    came = [sample("connect", 5, Outcome.OK) for _ in range(60)]
    cut = [sample("connect", 4, Outcome.CUT_SHORT) for _ in range(240)]
    assert judge_run(level(tmp_path, reply_ms=100, then=came + cut), warmup_s=20).judged is (
        Judged.UNDER
    )


def test_what_fails_after_the_last_arrival_was_begun_before_it(tmp_path: Path) -> None:
    failed = [sample("connect", 10, Outcome.TIMEOUT) for _ in range(30)]
    judgement = judge_run(level(tmp_path, reply_ms=100, then=failed), warmup_s=20)
    assert judgement.judged is Judged.OVER
    assert judgement.reason.startswith("connect errors <= 1%: 100.00% timeout")


def with_objectives(directory: Path, *texts: str) -> Path:
    record = json.loads((directory / "run.json").read_text())
    record["objectives"] = [{"text": text, "verdict": "NO_DATA"} for text in texts]
    (directory / "run.json").write_text(json.dumps(record))
    return directory


def test_a_percentile_is_taken_over_all_that_was_tried(tmp_path: Path) -> None:
    objectives = ("delivered p95 < 500ms", "delivered errors < 40%")
    judgement = judge_run(
        with_objectives(level(tmp_path, reply_ms=100, refused=20), *objectives), warmup_s=20
    )
    assert judgement.judged is Judged.OVER
    assert judgement.reason == "delivered p95 < 500ms: more than 5 % never came"


def test_times_of_which_there_are_none_are_not_met(tmp_path: Path) -> None:
    directory = with_objectives(
        level(tmp_path, reply_ms=100), "greeting p95 < 1s", "reply errors < 1%"
    )
    judgement = judge_run(directory, warmup_s=20)
    assert (judgement.judged, judgement.reason) == (
        Judged.TOO_FEW,
        "greeting p95 < 1s: nothing was measured",
    )


def test_leftovers_are_over(tmp_path: Path) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=100, leftover=2), warmup_s=20)
    assert (judgement.judged, judgement.reason) == (Judged.OVER, "2 sessions left over")


def test_what_only_the_run_has_judged_is_told_with_its_figure(tmp_path: Path) -> None:
    directory = level(tmp_path, reply_ms=100)
    path = directory / "run.json"
    record = json.loads(path.read_text())
    failed = {"text": "guests failed < 1%", "verdict": "FAIL", "figure": 0.0884, "limit": 0.01}
    record["objectives"] = [failed | {"unit": "share"}]
    path.write_text(json.dumps(record))
    judgement = judge_run(directory, warmup_s=20)
    assert (judgement.judged, judgement.reason) == (Judged.OVER, "guests failed < 1%: 8.84%")
    assert judgement.figures["guests failed < 1%"] == "8.84%"


def test_no_level_no_judgement(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.json: can't be read"):
        judge_run(tmp_path, warmup_s=1)


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        ({"sessions": {}}, r"run\.json: sessions\.leftover: expected how many were left over"),
        ({"verdict": None}, r"run\.json: verdict: expected the run's verdict"),
    ],
)
def test_a_record_that_does_not_say_how_the_run_ended_is_no_level_that_was_met(
    tmp_path: Path, lost: dict[str, Any], why: str
) -> None:
    path = level(tmp_path, reply_ms=100) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | lost))
    with pytest.raises(ConfigError, match=why):
        judge_run(tmp_path, warmup_s=20)


@pytest.mark.slow
def test_a_level_that_goes_on_is_clear_only_when_it_would_be_judged_so(tmp_path: Path) -> None:
    def clear(reply_ms: float, judged_s: float) -> bool:
        directory = tmp_path / f"{reply_ms:g}-{judged_s:g}"
        directory.mkdir()
        level(directory, reply_ms=reply_ms)
        (directory / "run.json").unlink()
        (directory / "start.json").write_text(
            json.dumps({"objectives": ["reply p95 < 500ms", "leftovers == 0"]})
        )
        look = look_at(
            directory, warmup_s=20, holding=Holding(hold_s=8, longest_s=60), end_s=judged_s
        )
        assert look.reading is not None
        assert (look.reading.value > 0) is (reply_ms > 500 / 2.996 + 1)
        return look.clear

    assert judged_so_far_s(tmp_path, warmup_s=20) == 0
    assert clear(100, 10)
    assert clear(250, 10)
    # Ten per cent below the limit: not at the first look, but in the end.
    assert not clear(150, 8)
    assert clear(150, 60)
    assert not clear(164, 60)


def test_a_level_is_judged_by_what_was_looked_at(tmp_path: Path) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=100), warmup_s=20, end_s=15, longest_s=60)
    assert judgement.judged is Judged.UNDER
    assert judgement.held_s == pytest.approx(15, abs=0.1)


@pytest.mark.parametrize(
    ("reply_ms", "then_ms", "note"),
    [(100, 100, ""), (100, 160, "still getting worse"), (300, 160, "still getting better")],
)
def test_a_level_that_changed_to_the_end_says_so(
    tmp_path: Path, reply_ms: float, then_ms: float, note: str
) -> None:
    judgement = judge_run(level(tmp_path, reply_ms=reply_ms, then_ms=then_ms), warmup_s=20)
    assert (note in judgement.note, judgement.unsteady) == (True, bool(note))


MISSED, MET, CLOSE = ObjectiveState.MISSED, ObjectiveState.MET, ObjectiveState.CLOSE


@pytest.mark.parametrize(
    ("objectives", "growing", "healthy", "held_back", "expected"),
    [
        ([MET], False, True, False, Judged.UNDER),
        ([MET, MISSED], False, True, False, Judged.OVER),
        ([MET, MISSED], False, False, True, Judged.OVER),
        ([MET], True, False, False, Judged.OVER),
        ([MET], False, False, False, Judged.INCONCLUSIVE),
        ([MET], False, True, True, Judged.INCONCLUSIVE),
        ([CLOSE], False, False, False, Judged.INCONCLUSIVE),
        ([MET, CLOSE], False, True, False, Judged.CLOSE),
        ([], False, True, False, Judged.INCONCLUSIVE),
    ],
)
def test_levels_are_judged_in_order(
    objectives: list[ObjectiveState],
    growing: bool,
    healthy: bool,
    held_back: bool,
    expected: Judged,
) -> None:
    judged = judge_level(
        objectives, leftovers_growing=growing, generator_healthy=healthy, held_back=held_back
    )
    assert judged is expected


def test_an_objective_stands_by_its_interval() -> None:
    def estimate(low: float | None) -> Estimate:
        return Estimate(figure=2, low=low, high=4)

    assert state_of(estimate(1), 4.1) is MET
    assert state_of(estimate(1), 1.5) is CLOSE
    assert state_of(estimate(1), 0.9) is MISSED
    assert state_of(estimate(None), 9) is CLOSE
    # at a quarter of the time the interval counts as twice as wide: 0.5 to 8
    assert state_of(estimate(1), 7.9, progress=0.25) is CLOSE
    assert state_of(estimate(1), 8.1, progress=0.25) is MET
    assert state_of(estimate(1), 0.4, progress=0.25) is MISSED


@pytest.mark.parametrize("progress", [0, -1, 1.1, float("nan")])
def test_a_level_is_held_for_a_part_of_its_time(progress: float) -> None:
    figure = Estimate(figure=2, low=1, high=4)
    with pytest.raises(ConfigError, match="capacity: progress"):
        state_of(figure, 1, progress=progress)


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
        ("reply errors < 5%", 0, ObjectiveState.MET),
        ("reply errors < 5%", 5, ObjectiveState.CLOSE),
        ("reply errors < 5%", 9, ObjectiveState.MISSED),
        ("reply rate_limited < 5%", 9, ObjectiveState.MISSED),
        ("reply timeout < 5%", 9, ObjectiveState.MET),
        ("reply p95 < 100ms", 0, ObjectiveState.MET),
        ("reply p95 < 60ms", 0, ObjectiveState.MISSED),
        ("reply p95 < 100ms", 9, ObjectiveState.MISSED),
    ],
)
def test_by_interval(
    tmp_path: Path, text: str, errors_of_100: int, expected: ObjectiveState
) -> None:
    directory = run(tmp_path, errors_of_100=errors_of_100, early=50)
    window = Written(directory).window(10)
    part = Part(Written(directory), window)
    objective_intervals = part.objective_intervals([parse_objective(text)], {text: "FAIL"})
    assert objective_intervals[text].shown.state is expected
    assert objective_intervals[text].bounded
    reading = objective_intervals[text].shown.reading
    if expected is not ObjectiveState.CLOSE and reading is not None:
        assert (reading.value > 0) is (expected is ObjectiveState.MISSED)


def test_what_has_no_interval_stands_by_the_runs_verdict(tmp_path: Path) -> None:
    directory = run(tmp_path, errors_of_100=0)
    text = "reply count > 100"
    objectives = [parse_objective(text), parse_objective("dropped == 0")]
    window = Written(directory).window(10, end_s=5)
    assert window.length_s == pytest.approx(5)
    for verdict, expected in (("PASS", ObjectiveState.MET), ("FAIL", ObjectiveState.MISSED)):
        objective_intervals = Part(Written(directory), window).objective_intervals(
            objectives, {text: verdict}
        )
        assert {name: one.shown.state for name, one in objective_intervals.items()} == {
            text: expected
        }
    assert Part(Written(directory), window).objective_intervals(objectives, {}) == {}


def test_a_run_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="never ran"):
        Written(tmp_path).window(1)
