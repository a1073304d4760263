"""Stopping early: only after the grace, only when missed for the whole delay."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.judge.gate import Judgement, MissedSince, consider_abort, judge_one
from harness.judge.objective import Objective, parse_objective


def look(objective: Objective, leftover: int | None) -> Judgement:
    figures: dict[str, Any] = {"sessions": {"opened": 100}}
    if leftover is not None:
        figures["sessions"]["leftover"] = leftover
    return judge_one(objective, figures, percentile=lambda *_: None)


def stop_time(objective: Objective, looks: list[tuple[float, int | None]]) -> float | None:
    since: MissedSince = {}
    for now_s, leftover in looks:
        since, reasons = consider_abort(since, [look(objective, leftover)], now_s=now_s)
        if reasons:
            return now_s
    return None


def objective(delay: float = 0, grace: float = 0) -> Objective:
    return parse_objective("leftovers == 0", abort_on_fail=True, delay=delay, grace=grace)


def test_without_delay_the_first_miss_stops() -> None:
    assert stop_time(objective(), [(1, 0), (2, 3), (3, 0)]) == 2


def test_misses_during_the_grace_do_not_count() -> None:
    looks: list[tuple[float, int | None]] = [(t, 3) for t in range(100)]
    assert stop_time(objective(grace=60), looks) == 60
    assert stop_time(objective(grace=60, delay=10), looks) == 70


def test_a_good_look_or_one_without_data_starts_the_delay_anew() -> None:
    looks: list[tuple[float, int | None]] = [(0, 1), (9, 1), (10, 0), (11, 1), (20, 1), (21, 1)]
    assert stop_time(objective(delay=10), looks) == 21
    looks[2] = (10, None)
    assert stop_time(objective(delay=10), looks) == 21


def test_objectives_without_abort_never_stop() -> None:
    plain = parse_objective("leftovers == 0")
    assert stop_time(plain, [(t, 5) for t in range(100)]) is None


def test_the_reason_names_objective_and_figure() -> None:
    state, reasons = consider_abort({}, [look(objective(delay=5), 3)], now_s=1)
    assert reasons == ()
    state, reasons = consider_abort(state, [look(objective(delay=5), 4)], now_s=8)
    assert reasons == ("FAIL  leftovers == 0  was 4 for 7s",)


@given(
    st.lists(st.tuples(st.floats(min_value=0.1, max_value=9), st.sampled_from([0, 1, None]))),
    st.floats(min_value=0, max_value=40),
    st.floats(min_value=0, max_value=40),
)
def test_it_stops_exactly_at_the_first_unbroken_miss_of_the_delay(
    steps: list[tuple[float, int | None]], delay: float, grace: float
) -> None:
    looks: list[tuple[float, int | None]] = []
    now = 0.0
    for step, leftover in steps:
        now += step
        looks.append((now, leftover))
    expected = None
    for end, (end_s, _) in enumerate(looks):
        if any(
            all(bad == 1 for _, bad in looks[start : end + 1])
            and looks[start][0] >= grace
            and end_s - looks[start][0] >= delay
            for start in range(end + 1)
        ):
            expected = end_s
            break
    assert stop_time(objective(delay, grace), looks) == expected
