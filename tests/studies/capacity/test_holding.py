"""A level is held on while the service changes, and is missed only once it had its time."""

from collections.abc import Callable, Mapping

import pytest

from harness.measure.statistics import Estimate, Share
from harness.studies.capacity.holding import (
    Change,
    Holding,
    Judged,
    ObjectiveState,
    Shown,
    change_between,
    look,
    scatter,
    show_errors,
    show_figure,
)

HOLDING = Holding(hold_s=60, longest_s=960, settle_s=180)
LIMIT_MS = 500.0
MET, MISSED = Shown(state=ObjectiveState.MET), Shown(state=ObjectiveState.MISSED)


def p95(figure: float, error: float = 0.03, progress: float = 1.0) -> dict[str, Shown]:
    """A percentile that is known with a standard error as a share of it."""
    estimate = Estimate(
        figure=figure,
        low=figure * (1 - 2.6 * error),
        high=figure * (1 + 2.6 * error),
        error_share=error,
    )
    return {"reply p95": show_figure(estimate, LIMIT_MS, progress)}


def course(figure: Callable[[float], float]) -> Callable[..., Mapping[str, Shown]]:
    """A level whose figure at any moment is that of the middle of what is looked at."""
    return lambda begin_s, end_s, progress: p95(figure((begin_s + end_s) / 2), progress=progress)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (p95(500), p95(520), Change.STEADY),
        (p95(500), p95(600), Change.WORSE),
        (p95(600), p95(500), Change.BETTER),
        ({"a": MISSED}, {"a": MET}, Change.BETTER),
        ({"a": MET}, {"a": MISSED}, Change.WORSE),
        ({"a": MISSED, "b": MET}, {"a": MET, "b": MISSED}, Change.WORSE),
        ({"a": MET}, {"b": MISSED}, Change.STEADY),
        ({}, {}, Change.STEADY),
    ],
)
def test_halves_differ_by_more_than_chance(
    before: dict[str, Shown], after: dict[str, Shown], change: Change
) -> None:
    assert change_between(before, after) is change


def test_a_steady_level_is_clear_at_the_first_look_where_it_is_met() -> None:
    seen = look(HOLDING, course(lambda _: 200.0), 0, 60)
    assert (seen.clear, seen.next_s, seen.begin_s) == (True, None, 0)


def test_no_level_is_missed_before_the_service_had_its_time() -> None:
    bad = course(lambda _: 5000.0)
    assert [look(HOLDING, bad, 0, at).next_s for at in (60, 120, 180)] == [120, 180, None]


def test_a_level_that_gets_better_is_held_on_without_its_beginning() -> None:
    machines_come = course(lambda at: 5000.0 if at < 100 else 5000 - 30 * (at - 100))
    seen = look(HOLDING, machines_come, 0, 180)
    assert (seen.change, seen.clear, seen.begin_s, seen.next_s) == (Change.BETTER, False, 90, 360)


def test_what_has_piled_up_does_not_hide_that_it_turned() -> None:
    hill = course(lambda at: 4000.0 if at < 150 else 3000.0)
    assert change_between(hill(0, 120, 1), hill(120, 240, 1)) is Change.BETTER
    late = course(lambda at: 1000.0 if at < 120 else 4000.0 if at < 200 else 2000.0)
    seen = look(HOLDING, late, 0, 240)
    assert (seen.change, seen.clear) == (Change.BETTER, False)


def test_a_level_that_gets_worse_is_not_yet_met() -> None:
    seen = look(HOLDING, course(lambda at: 100.0 + at), 0, 60)
    assert (seen.change, seen.clear, seen.next_s) == (Change.WORSE, False, 120)


def test_what_suffices_for_the_search_ends_a_level_unless_it_changes() -> None:
    near = course(lambda _: 480.0)
    assert look(HOLDING, near, 0, 60).next_s == 120
    assert look(HOLDING, near, 0, 60, suffices=lambda _: True).next_s is None
    assert look(HOLDING, near, 0, 60, suffices=lambda _: True, least_s=120).next_s == 120
    moving = course(lambda at: 400.0 + at)
    assert look(HOLDING, moving, 0, 120, suffices=lambda _: True).next_s is not None


def test_it_ends_at_the_longest_whatever_it_does() -> None:
    better = course(lambda at: 1e6 / (1 + at))
    begin_s, end_s, looks = 0.0, 60.0, 0
    while end_s < HOLDING.whole_s:
        seen = look(HOLDING, better, begin_s, end_s)
        if seen.next_s is None:
            break
        assert seen.next_s > end_s
        begin_s, end_s, looks = seen.begin_s, seen.next_s, looks + 1
    assert looks < 12
    assert end_s <= HOLDING.whole_s


def test_what_was_missed_is_held_again_for_longer() -> None:
    assert HOLDING.again_s(180, Judged.OVER) == 720
    assert HOLDING.again_s(960, Judged.OVER) == 960
    assert HOLDING.again_s(240, Judged.UNDER) == 240
    assert Holding(hold_s=8, longest_s=24, settle_s=24).again_s(24, Judged.OVER) == 48


@pytest.mark.parametrize(
    ("bad", "progress", "expected"),
    [
        (0, 1.0, None),
        (300, 1.0, ObjectiveState.MISSED),
        (2, 1.0, ObjectiveState.MET),
        (9, 0.1, ObjectiveState.CLOSE),
        (9, 1.0, ObjectiveState.MET),
        (12, 1.0, ObjectiveState.CLOSE),
    ],
)
def test_errors_count_without_an_objective(bad: int, progress: float, expected: str | None) -> None:
    share = Share(
        figure=bad / 1000,
        low=max(0.0, bad / 1000 - 0.006),
        high=bad / 1000 + 0.006,
        confidence=0.99,
    )
    shown = show_errors(share, progress)
    assert (None if shown is None else shown.state) == expected


def test_parts_of_a_level_that_wander_lie_off_their_mean() -> None:
    off, freedom = scatter(course(lambda at_s: 480 + 100 * (100 < at_s < 300)), 0, 400)
    assert freedom == 3
    assert off > 25
    steady, freedom = scatter(course(lambda _: 480), 0, 400)
    assert (steady, freedom) == (pytest.approx(0, abs=1e-9), 3)


def test_the_objective_nearest_to_breaking_says_whether_a_level_wanders() -> None:
    def shows(begin_s: float, end_s: float, progress: float) -> Mapping[str, Shown]:
        calm, wild = p95(480, progress=progress), p95(100 + begin_s, progress=progress)
        return {**calm, "other p95": wild["reply p95"]}

    assert scatter(shows, 0, 200)[0] == pytest.approx(0, abs=1e-9)


def test_parts_without_intervals_say_nothing_of_wandering() -> None:
    assert scatter(lambda *_: {"a": MISSED}, 0, 400) == (0.0, 0)
