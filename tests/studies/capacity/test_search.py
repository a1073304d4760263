"""The search finds planted knees, is cheap, resumes from its list, and never blames the service for
the generator.

What a search raises, as people write it; one written for the other is refused.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil, inf
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from harness.errors import ConfigError
from harness.measure.statistics import Blocks
from harness.studies.capacity.holding import Judged, ObjectiveState, judge_level, state_of
from harness.studies.capacity.models import Reading, read_time
from harness.studies.capacity.search import (
    CHANGED,
    SETTLED_LATER,
    UNSTEADY,
    WANDERED,
    Answer,
    AnswerKind,
    Quantity,
    SearchPlan,
    TriedLevel,
    answer,
    is_again,
    next_rate,
)
from harness.studies.queueing import Queue

PLAN = SearchPlan(start=10, highest=10_000)


def search(plan: SearchPlan, run: Callable[[float], TriedLevel]) -> list[TriedLevel]:
    tried: list[TriedLevel] = []
    while (rate := next_rate(plan, tried)) is not None:
        tried.append(run(rate))
        assert len(tried) <= plan.max_levels
    return tried


def sharp(knee: float, generator: float = inf) -> Callable[[float], TriedLevel]:
    """A service whose objective breaks exactly at the knee."""

    def run(rate: float) -> TriedLevel:
        if rate > knee and rate <= generator * 2:
            return TriedLevel(rate=rate, judged=Judged.OVER, minutes=1, reason="reply p95")
        judged = Judged.INCONCLUSIVE if rate > generator else Judged.UNDER
        return TriedLevel(rate=rate, judged=judged, minutes=1)

    return run


@given(st.floats(min_value=0.1, max_value=9000), st.floats(min_value=0.02, max_value=0.3))
def test_a_sharp_knee_is_enclosed_as_finely_as_asked(knee: float, resolution: float) -> None:
    plan = SearchPlan(start=10, highest=10_000, resolution=resolution)
    tried = search(plan, sharp(knee))
    final = answer(plan, tried)
    assert final.kind is AnswerKind.KNEE
    assert final.low <= knee < final.high
    assert final.high / final.low <= 1 + resolution
    assert final.broke_first == "reply p95"
    assert final.levels == final.minutes == len(tried)


@given(st.floats(min_value=0.1, max_value=9000), st.data())
def test_a_search_resumes_from_any_part_of_its_list(knee: float, data: st.DataObject) -> None:
    tried = search(PLAN, sharp(knee))
    for part in range(len(tried)):
        assert next_rate(PLAN, tried[:part]) == tried[part].rate
        assert answer(PLAN, tried[:part]).kind is AnswerKind.SEARCHING
    # in what order the levels were run does not matter to the answer
    shuffled = data.draw(st.permutations(tried))
    assert answer(PLAN, shuffled).low == answer(PLAN, tried).low


@given(st.lists(st.sampled_from(list(Judged)), min_size=24, max_size=24))
def test_any_course_ends_within_the_plan(course: list[Judged]) -> None:
    plan = SearchPlan(start=10, highest=500, lowest=1)
    judgements = iter(course)
    tried = search(plan, lambda rate: TriedLevel(rate=rate, judged=next(judgements)))
    final = answer(plan, tried)
    assert final.kind is not AnswerKind.SEARCHING
    assert all(1 <= level.rate <= 500 for level in tried)
    assert final.low < final.high or final.low == 0
    if final.kind in (AnswerKind.KNEE, AnswerKind.AT_MOST):
        assert any(level.judged is Judged.OVER for level in tried)


def test_the_generators_limit_is_never_the_services() -> None:
    tried = search(PLAN, sharp(inf, generator=300))
    final = answer(PLAN, tried)
    assert final.kind is AnswerKind.GENERATOR
    assert final.low <= 300
    assert final.low > 300 / 1.2
    assert "the service's own was not found" in final.text("guests/min")
    # each inconclusive level had a second chance
    rates = [level.rate for level in tried if level.judged is Judged.INCONCLUSIVE]
    assert all(rates.count(rate) == 2 for rate in rates)


def test_a_struggle_that_passes_is_forgiven() -> None:
    first = iter([True])

    def run(rate: float) -> TriedLevel:
        if rate == 40 and next(first, False):
            return TriedLevel(rate=rate, judged=Judged.INCONCLUSIVE)
        return sharp(150)(rate)

    assert answer(PLAN, search(PLAN, run)).kind is AnswerKind.KNEE


def test_the_ends_of_what_is_allowed_are_told_as_such() -> None:
    plan = SearchPlan(start=10, highest=100, lowest=5)
    top = answer(plan, search(plan, sharp(1000)))
    assert (top.kind, top.low, top.high) == (AnswerKind.AT_LEAST, 100, inf)
    assert top.text("guests/min").startswith("at least 100 guests/min")
    assert top.centre is None
    bottom = answer(plan, search(plan, sharp(1)))
    assert (bottom.kind, bottom.low, bottom.high) == (AnswerKind.AT_MOST, 0, 5)
    assert "below 5 guests/min" in bottom.text("guests/min")


def test_contradicting_levels_widen_the_answer() -> None:
    tried = [
        TriedLevel(rate=80, judged=Judged.UNDER),
        TriedLevel(rate=90, judged=Judged.OVER),
        TriedLevel(rate=100, judged=Judged.UNDER),
        TriedLevel(rate=110, judged=Judged.OVER),
    ]
    final = answer(SearchPlan(start=80, highest=500, max_levels=4), tried)
    assert (final.low, final.high) == (80, 110)


def test_headroom_and_words() -> None:
    tried = search(PLAN, sharp(390))
    final = answer(PLAN, tried)
    assert final.headroom(final.low / 1.5) == pytest.approx(0.5)
    assert final.text("guests/min") == f"{final.low:.4g} to {final.high:.4g} guests/min (95 %)"
    assert final.low < (final.centre or 0) < final.high
    with pytest.raises(ConfigError, match="wanted"):
        final.headroom(0)


@given(st.integers(min_value=1, max_value=900), st.floats(min_value=0.02, max_value=0.3))
def test_of_guests_at_once_only_whole_numbers_are_tried(knee: int, resolution: float) -> None:
    plan = SearchPlan(start=10, highest=1000, lowest=1, resolution=resolution, whole=True)
    tried = search(plan, sharp(knee + 0.5))
    final = answer(plan, tried)
    assert all(level.rate == int(level.rate) for level in tried)
    assert len({level.rate for level in tried}) == len(tried)
    assert final.kind is AnswerKind.KNEE
    assert final.low <= knee < final.high
    assert final.high - final.low == 1 or final.high / final.low <= 1 + resolution


@given(st.integers(min_value=2, max_value=40), st.integers(min_value=0, max_value=3))
def test_few_guests_that_are_too_close_to_call_end_the_search(knee: int, around: int) -> None:
    def run(guests: float) -> TriedLevel:
        if abs(guests - knee) <= around:
            return TriedLevel(rate=guests, judged=Judged.CLOSE, minutes=1)
        judged = Judged.OVER if guests > knee else Judged.UNDER
        return TriedLevel(rate=guests, judged=judged, minutes=1)

    plan = SearchPlan(start=4, highest=100, lowest=1, whole=True)
    tried = search(plan, run)
    final = answer(plan, tried)
    assert len({level.rate for level in tried}) == len(tried)
    assert final.low <= knee <= final.high
    if knee - around > 1:
        assert final.kind is AnswerKind.KNEE


def test_the_interval_of_guests_at_once_ends_at_whole_numbers() -> None:
    plan = SearchPlan(start=50, highest=400, lowest=1, whole=True)

    def run(guests: float) -> TriedLevel:
        reading = read_time(0.1 * guests / 60, 0.13, 0.01)  # the limit is met at 78
        near = abs(guests / 78 - 1) < 0.03
        judged = Judged.CLOSE if near else Judged.OVER if guests > 78 else Judged.UNDER
        return TriedLevel(rate=guests, judged=judged, minutes=1, reading=reading)

    final = answer(plan, search(plan, run))
    assert final.kind is AnswerKind.KNEE
    assert final.low <= 78 <= final.high
    assert (final.low % 1, final.high % 1) == (0, 0)
    assert (
        final.text("guests at once") == f"{final.low:.0f} to {final.high:.0f} guests at once (95 %)"
    )


def test_a_search_that_ran_out_of_levels_says_so() -> None:
    plan = SearchPlan(start=10, highest=10_000, max_levels=3)
    final = answer(plan, search(plan, sharp(9000)))
    assert final.kind is AnswerKind.UNCLEAR
    assert final.text("guests/min") == "at least 40 guests/min, not searched further"
    nothing = answer(plan, search(plan, sharp(9000, generator=1)))
    assert nothing.text("guests/min") == "not found: no level was clearly met"


def test_large_figures_are_written_out() -> None:
    plan = SearchPlan(start=10_000, highest=40_000)
    final = answer(plan, search(plan, sharp(39_999)))
    assert " to 40,000 guests/min" in final.text("guests/min")
    assert "e+" not in final.text("guests/min")


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: SearchPlan(start=0, highest=10),
        lambda: SearchPlan(start=20, highest=10),
        lambda: SearchPlan(start=5, highest=10, lowest=6),
        lambda: SearchPlan(start=5, highest=inf),
        lambda: SearchPlan(start=5, highest=10, factor=1),
        lambda: SearchPlan(start=5, highest=10, resolution=0),
        lambda: SearchPlan(start=5.5, highest=10, whole=True),
        lambda: next_rate(PLAN, [TriedLevel(rate=-1, judged=Judged.OVER)]),
    ],
)
def test_nonsense_is_refused(nonsense: object) -> None:
    assert callable(nonsense)
    with pytest.raises(ConfigError, match="capacity"):
        nonsense()


# A simulated M/M/c service: the true knee follows from the response time's closed form.
HOLD = 16  # at most so many looks' worth of time for a level
CHUNK = 1600  # arrivals in that time at the highest rate of all


def responses(rng: Random, servers: int, rate: float) -> Iterator[float]:
    """Response times in order of arrival, first come first served; a second of service each."""
    free = [0.0] * servers
    now = 0.0
    while True:
        now += rng.expovariate(rate)
        end = max(now, heapq.heappop(free)) + rng.expovariate(1.0)
        heapq.heappush(free, end)
        yield end - now


def run_level(
    rng: Random, servers: int, rate: float, limit_s: float, enough: Callable[[TriedLevel], bool]
) -> TriedLevel:
    """Warm up, then hold until the objective is clear, it is enough, or the time is up."""
    times = responses(rng, servers, rate)
    chunk = max(40, round(CHUNK * rate / servers))
    for _ in range(chunk):
        next(times)
    intervals: list[list[tuple[float, int]]] = []
    for blocks in range(1, HOLD + 1):
        for _ in range(10):
            part = np.array([next(times) for _ in range(chunk // 10)])
            values, counts = np.unique(np.maximum(np.round(part, 2), 0.01), return_counts=True)
            intervals.append(list(zip(values.tolist(), counts.tolist(), strict=True)))
        if blocks & (blocks - 1):
            continue
        estimate = Blocks(intervals).estimate(95, confidence=0.99)
        stands = state_of(estimate, limit_s, progress=blocks / HOLD)
        reading = None
        if estimate.figure and estimate.error_share:
            reading = read_time(
                estimate.figure, limit_s, estimate.error_share * (HOLD / blocks) ** 0.5
            )
        judged = judge_level(
            [stands], leftovers_growing=False, generator_healthy=True, held_back=False
        )
        level = TriedLevel(
            rate=rate, judged=judged, minutes=blocks + 1, reason="p95", reading=reading
        )
        if judged is not Judged.CLOSE or (reading is not None and enough(level)):
            break
    return level


@pytest.mark.long
def test_planted_knees_are_found_within_the_interval_and_for_a_fraction_of_a_stairs_cost() -> None:
    inside = near = 0
    spent = stair = 0.0
    for seed in range(20):
        rng = Random(seed)
        servers = (2, 4, 6, 8)[seed % 4]
        limit_s = rng.uniform(4.5, 7.0)

        def p95(rate: float, servers: int = servers) -> float:
            return Queue(arrivals_per_s=rate, service_s=1, servers=servers).response_percentile_s(
                95
            )

        knee = float(brentq(lambda r, p95=p95, at=limit_s: p95(r) - at, 0.01, servers * 0.9999))
        plan = SearchPlan(start=servers / 8, highest=servers * 4)
        tried: list[TriedLevel] = []
        while (rate := next_rate(plan, tried)) is not None:

            def enough(
                level: TriedLevel, plan: SearchPlan = plan, tried: list[TriedLevel] = tried
            ) -> bool:
                return answer(plan, [*tried, level]).kind is AnswerKind.KNEE

            tried.append(run_level(rng, servers, rate, limit_s, enough))
        final = answer(plan, tried)
        inside += final.low <= knee <= final.high
        near += final.centre is not None and abs(final.centre / knee - 1) <= 0.05
        spent += final.minutes
        stair += (ceil((knee - plan.start) / (plan.resolution * knee)) + 1) * (HOLD + 1)
    assert inside >= 18
    assert near >= 18
    assert spent <= 0.4 * stair, spent / stair


def test_loads_are_read_and_shown_in_their_unit() -> None:
    assert Quantity.RATE.parse("600/min", "--start") == pytest.approx(10)
    assert Quantity.RATE.shown(10) == 600
    assert Quantity.OCCUPANCY.parse("20", "--start") == 20
    assert Quantity.OCCUPANCY.shown(20) == 20
    level = {"rate_per_s": 3.0, "guests": 40.0}
    assert (Quantity.RATE.load_of(level), Quantity.OCCUPANCY.load_of(level)) == (3, 40)


@pytest.mark.parametrize(
    ("by", "text", "why"),
    [
        ("rate", "20", "expected a rate such as .* go with --by occupancy"),
        ("rate", "0/s", "expected a rate above zero"),
        ("rate", "20000/s", "up to 10,000/s"),
        ("rate", "nan", "expected a rate"),
        ("rate", "", "expected a rate"),
        ("occupancy", "600/min", "with --by occupancy expected a whole number of guests"),
        ("occupancy", "0", "expected 1 to 1,000,000 guests at once"),
        ("occupancy", "-5", "whole number of guests at once"),
        ("occupancy", "2.5", "whole number of guests at once"),
        ("occupancy", "inf", "whole number of guests at once"),
        ("occupancy", "9" * 5000, "expected 1 to 1,000,000"),
    ],
)
def test_nonsense_names_the_option(by: str, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"^--start: .*{why}"):
        Quantity(by).parse(text, "--start")


def few(rate: float) -> TriedLevel:
    return TriedLevel(rate=rate, judged=Judged.TOO_FEW, reason="reply p95 < 1s: 351 ms")


def test_too_few_guests_make_the_search_go_up_and_never_down() -> None:
    plan = SearchPlan(start=1, highest=8)
    tried = [few(1)]
    assert next_rate(plan, tried) == 2
    tried += [few(2), few(4)]
    assert next_rate(plan, tried) == 8
    tried.append(few(8))
    assert next_rate(plan, tried) is None
    final = answer(plan, tried)
    assert final.kind is AnswerKind.UNCLEAR
    assert final.text("guests/s").startswith("not found: too few guests came: hold longer")
    assert final.broke_first == ""


def test_too_few_guests_below_a_missed_load_end_the_search_with_that_word() -> None:
    plan = SearchPlan(start=2, highest=8)
    tried = [TriedLevel(rate=2, judged=Judged.OVER, reason="slow"), few(1)]
    assert next_rate(plan, tried) is None
    assert "hold longer" in answer(plan, tried).text("guests/s")


def test_a_level_met_makes_lower_ones_with_too_few_guests_unimportant() -> None:
    plan = SearchPlan(start=1, highest=8)
    tried = [few(1), TriedLevel(rate=2, judged=Judged.UNDER)]
    assert next_rate(plan, tried) == 4
    assert answer(plan, tried).low == 2
    assert not answer(plan, tried).too_few


def test_a_level_is_too_few_only_when_nothing_else_is_known_of_it() -> None:
    healthy = {"leftovers_growing": False, "generator_healthy": True, "held_back": False}
    close = [ObjectiveState.MET, ObjectiveState.CLOSE]
    assert judge_level(close, **healthy, enough=False) is Judged.TOO_FEW
    assert judge_level(close, **healthy, enough=True) is Judged.CLOSE
    assert judge_level([*close, ObjectiveState.MISSED], **healthy, enough=False) is Judged.OVER


def held_again(
    run: Callable[[float, bool], TriedLevel], plan: SearchPlan
) -> tuple[list[TriedLevel], Answer]:
    """A search that holds early levels again; ``run`` is told whether it is one of them."""
    tried: list[TriedLevel] = []
    while (rate := next_rate(plan, tried)) is not None:
        again = is_again(plan, tried)
        tried.append(replace(run(rate, again), again=again))
    return tried, answer(plan, tried)


AGAIN = SearchPlan(start=10, highest=1000, again=True)


def near(rate: float, knee: float, *, over: float = 0.3) -> TriedLevel:
    """A level whose reading tells how far it is from the knee."""
    value = max(-0.9, min(0.65, (rate / knee - 1) * 2))
    judged = Judged.OVER if value > over else Judged.UNDER if value < -over else Judged.CLOSE
    return TriedLevel(
        rate=rate, judged=judged, minutes=1, reading=Reading(value=value, error=0.03), reason="slow"
    )


def test_a_service_that_stayed_the_same_is_held_again_and_believed() -> None:
    tried, final = held_again(lambda rate, _: near(rate, 100), AGAIN)
    below, above = (level.rate for level in tried if level.again)
    assert below < 100 <= above
    assert (final.kind, final.confidence, final.doubts) == (AnswerKind.KNEE, 0.95, ())
    assert final.low <= 100 <= final.high
    assert final.text("guests/min").endswith("guests/min (95 %)")


@pytest.mark.parametrize("knee_then", [80.0, 130.0])
def test_a_service_that_changed_is_given_a_range_and_no_confidence(knee_then: float) -> None:
    _, final = held_again(lambda rate, again: near(rate, knee_then if again else 100), AGAIN)
    assert (final.kind, final.confidence, final.centre) == (AnswerKind.CHANGED, None, None)
    assert CHANGED in final.doubts
    assert "changed during the search" in final.text("guests/min")
    assert "95 %" not in final.text("guests/min")


def test_a_limit_that_goes_away_when_held_longer_has_no_upper_end() -> None:
    def run(rate: float, again: bool) -> TriedLevel:
        return TriedLevel(
            rate=rate, judged=Judged.OVER if rate > 100 and not again else Judged.UNDER
        )

    _, final = held_again(run, AGAIN)
    assert (final.kind, final.high, final.doubts) == (AnswerKind.CHANGED, inf, (SETTLED_LATER,))
    assert final.text("guests/min").startswith("at least ")


def test_where_what_was_met_is_over_later_the_answer_is_not_above_it() -> None:
    """A service that stays broken once it was: no load was met at the end, the lowest had been."""
    under, over = Judged.UNDER, Judged.OVER
    held = [(600, under), (1200, over), (850, over), (700, over), (600, over), (700, under)]
    tried = [
        TriedLevel(rate=rate, judged=judged, minutes=1, reason=f"slow at {rate}", again=place > 3)
        for place, (rate, judged) in enumerate(held)
    ]
    final = answer(replace(PLAN, start=600.0, highest=2400.0, max_levels=4), tried)
    assert (final.kind, final.low, final.high) == (AnswerKind.CHANGED, 0, 600)
    assert final.broke_first == "slow at 600"
    assert final.text("guests/min") == "below 600 guests/min: the service changed during the search"


def test_a_level_that_still_changed_when_its_time_was_over_costs_the_confidence() -> None:
    _, final = held_again(lambda rate, _: replace(near(rate, 100), unsteady=rate > 105), AGAIN)
    assert (final.kind, final.doubts) == (AnswerKind.CHANGED, (UNSTEADY,))


@pytest.mark.parametrize(("off", "confidence"), [(4.0, 0.95), (9.0, None)])
def test_levels_that_wandered_more_than_chance_cost_the_confidence(
    off: float, confidence: float | None
) -> None:
    """No level by itself is unlikely; all of them together are."""
    _, final = held_again(lambda rate, _: replace(near(rate, 100), wandered=(off, 3)), AGAIN)
    assert final.confidence == confidence
    assert final.doubts == (() if confidence else (WANDERED,))


def test_levels_that_disagree_cost_the_confidence() -> None:
    rng = Random(3)

    def run(rate: float, _: bool) -> TriedLevel:
        return near(rate, 100 * rng.choice((0.9, 1.1)))

    _, final = held_again(run, replace(AGAIN, max_levels=16))
    assert final.confidence is None


def test_a_sharp_limit_is_held_again_on_both_sides() -> None:
    tried, final = held_again(lambda rate, _: sharp(100)(rate), AGAIN)
    assert sorted(level.rate for level in tried if level.again) == [final.low, final.high]
    assert final.confidence == 0.95
