"""Any schedule: ordered, as many as the area under the rate, partitioned by strides."""

from itertools import pairwise
from math import sqrt

import pytest
from examples import at_most
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.workload.arrivals import poisson, ramp, spike, steady, steps, then
from harness.workload.schedule import Partition, Poisson, Rates, Schedule, Share

NS = 1_000_000_000

rates = st.floats(min_value=0, max_value=90) | st.integers(min_value=0, max_value=90)
lengths = st.floats(min_value=0.5, max_value=600)


@st.composite
def pieces(draw: st.DrawFn) -> Schedule:
    """One schedule of any kind but Poisson, small enough to list all its arrivals."""
    kind = draw(st.sampled_from(["steady", "ramp", "steps", "spike"]))
    over = draw(lengths)
    pair = (draw(rates), draw(rates))
    assume(max(pair) > 0.01)
    if kind == "steady":
        return steady(per_minute=max(pair), over=over)
    if kind == "ramp":
        return ramp(per_minute=pair, over=over)
    if kind == "steps":
        return steps(per_minute=[*pair, draw(rates)], each=over / 3)
    assume(pair[0] != pair[1])
    at, hold, rise = over / 5, over / 7, over * draw(st.sampled_from([0, 0.1]))
    return spike(per_minute=pair, over=over, at=at, hold=hold, rise=rise)


schedules = pieces() | st.lists(pieces(), min_size=1, max_size=4).map(lambda some: then(*some))


def area(schedule: Schedule) -> float:
    """The area under ``rate_at``, added up without the schedule's own arithmetic."""
    assert isinstance(schedule, Rates)
    total = 0.0
    start_s = 0.0
    for segment in schedule.segments:
        length_s = segment.length_ns / NS
        # the rate is linear inside a segment: two inner points give its middle exactly
        inner = [schedule.rate_at(start_s + length_s * part) for part in (0.25, 0.75)]
        total += sum(inner) / 2 * length_s
        start_s += length_s
    return total


@given(schedules)
def test_arrivals_come_in_order_and_within_the_schedule(schedule: Schedule) -> None:
    due = [schedule.due_ns(i) for i in range(schedule.count)]
    assert all(a <= b for a, b in pairwise(due))
    assert due[0] >= 0
    assert due[-1] <= schedule.duration_s * NS
    for outside in (-1, schedule.count):
        with pytest.raises(IndexError):
            schedule.due_ns(outside)


def indices_of(partition: Partition, worker: str) -> list[int]:
    share = Share(partition.count, partition.pieces_of(worker))
    found, at = [], share.after(-1)
    while at is not None:
        found.append(at)
        at = share.after(at)
    return found


@pytest.mark.slow
@at_most(40)
@given(pieces(), st.integers(), st.integers(min_value=1, max_value=9))
def test_strides_of_the_workers_partition_the_schedule(
    base: Schedule, seed: int, workers: int
) -> None:
    try:
        drawn = poisson(base, seed=seed)
    except ConfigError:
        drawn = base  # so few were expected that this seed gives none
    for schedule in (base, drawn, base + drawn):
        whole = [schedule.due_ns(i) for i in range(schedule.count)]
        partition = Partition(schedule.count, [str(k) for k in range(workers)])
        # each worker computes its own from a schedule of its own, in its own order
        shares = [
            [schedule.due_ns(i) for i in indices_of(partition, str(k))] for k in range(workers)
        ]
        assert sorted(due for share in shares for due in share) == whole
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(schedules, st.integers(min_value=0, max_value=10**12))
def test_the_first_arrival_from_a_moment_on(schedule: Schedule, at_ns: int) -> None:
    index = schedule.index_at(at_ns)
    assert index == sum(schedule.due_ns(i) < at_ns for i in range(schedule.count))


@given(schedules)
def test_between_two_arrivals_lies_an_area_of_one(schedule: Schedule) -> None:
    assert isinstance(schedule, Rates)
    for i in range(min(schedule.count, 40)):
        at_ns = schedule.due_ns(i)
        before = sum(
            float(s.area)
            for s, end in zip(schedule.segments, schedule.starts_ns[1:], strict=True)
            if end <= at_ns
        )
        inside = [
            (s, start)
            for s, start in zip(schedule.segments, schedule.starts_ns, strict=False)
            if start <= at_ns < start + s.length_ns
        ]
        for segment, start in inside:
            t = (at_ns - start) / NS
            slope = float(segment.last - segment.first) / (segment.length_ns / NS)
            before += float(segment.first) * t + slope * t * t / 2
        assert before == pytest.approx(i, abs=1e-4)


def test_with_poisson_parts_the_parts_follow_each_other() -> None:
    first = steady(per_minute=60, over="1m")
    second = poisson(ramp(per_minute=(10, 200), over="2m"), seed=4)
    whole = first + second + first
    assert whole.duration_s == 240
    assert whole.count == 120 + second.count
    assert whole.due_ns(60) == 60 * NS + second.due_ns(0)
    assert whole.due_ns(60 + second.count) == 180 * NS
    assert whole.rate_at(61) == second.rate_at(1)
    assert whole.rate_at(240) == 0
    assert isinstance(poisson(first + first, seed=9), Poisson)


@pytest.mark.slow
def test_poisson_has_the_mean_the_variance_and_the_gaps_of_a_poisson_process() -> None:
    base = steady(per_second=20, over="60s")
    counts = [poisson(base, seed=seed).count for seed in range(400)]
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1)
    assert mean == pytest.approx(1200, abs=4 * sqrt(1200 / 400))
    assert variance == pytest.approx(1200, rel=0.3)  # 4 standard errors of a variance
    drawn = poisson(steady(per_second=50, over="10m"), seed=11)
    due = [drawn.due_ns(i) for i in range(drawn.count)]
    assert due == sorted(due)
    gaps = sorted(b - a for a, b in pairwise(due))
    # Exponential gaps: share above k mean gaps is exp(-k). Kolmogorov-Smirnov at 0.1 %.
    many = len(gaps)
    worst = max(
        abs((i + 1) / many - (1 - pow(2.718281828459045, -gap * 50 / NS)))
        for i, gap in enumerate(gaps)
    )
    assert worst < 1.95 / sqrt(many)


def test_poisson_follows_its_rate() -> None:
    drawn = poisson(ramp(per_second=(0, 40), over="10m"), seed=5)
    firsts = sum(drawn.due_ns(i) < 300 * NS for i in range(drawn.count))
    assert firsts == pytest.approx(drawn.count / 4, abs=4 * sqrt(drawn.count / 4))


def test_poisson_is_a_pure_function_of_seed_and_index() -> None:
    base = ramp(per_second=(1, 9), over="10m")
    one, other = poisson(base, seed=3), poisson(base, seed=3)
    forth = [one.due_ns(i) for i in range(one.count)]
    back = [other.due_ns(i) for i in reversed(range(other.count))]
    assert forth == back[::-1]
    assert one == other != poisson(base, seed=4)


def test_one_after_the_other_loses_and_gains_nobody_at_the_joints() -> None:
    tenth = steady(per_minute=1, over="6s")  # a tenth of a guest each
    assert then(*[tenth] * 100).count == 10
    assert (tenth + tenth) + tenth == tenth + (tenth + tenth)


@given(schedules)
def test_there_are_as_many_arrivals_as_the_area_under_the_rate(schedule: Schedule) -> None:
    assert abs(schedule.count - area(schedule)) <= 1 + 1e-6 * schedule.count
