"""Arrivals follow their closed forms; what makes no sense is refused with place and reason."""

from math import sqrt
from pathlib import Path

import pytest
from examples import at_most
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.workload.arrivals import (
    from_csv,
    poisson,
    ramp,
    spike,
    steady,
    steps,
    then,
)

NS = 1_000_000_000


def test_a_steady_schedule_never_drifts() -> None:
    schedule = steady(per_second=7, over="72h")
    assert schedule.count == 7 * 72 * 3600
    for i in (0, 1, 7, 700_007, schedule.count - 1):
        assert schedule.due_ns(i) == i * NS // 7


def test_a_ramp_follows_its_closed_form() -> None:
    schedule = ramp(per_minute=(0, 60), over="1m")  # area t²/120
    assert schedule.count == 30
    for i in range(30):
        assert schedule.due_ns(i) == pytest.approx(sqrt(120 * i) * NS, abs=2)
    down = ramp(per_minute=(60, 0), over="1m")
    assert down.due_ns(29) == pytest.approx((60 - sqrt(120 * (30 - 29))) * NS, abs=50)


def test_nobody_comes_while_the_rate_is_zero() -> None:
    schedule = steps(per_minute=[60, 0, 60], each="1m")
    assert schedule.count == 120
    assert schedule.due_ns(59) == 59 * NS
    assert schedule.due_ns(60) == 120 * NS
    assert [schedule.rate_at(t) for t in (-1, 0, 59.9, 60, 120, 180)] == [0, 1, 1, 0, 1, 0]
    assert steps(per_minute=[0, 60], each="1m").due_ns(0) == 60 * NS


def test_a_spike_rises_holds_and_comes_back() -> None:
    schedule = spike(per_minute=(60, 600), over="10m", at="2m", hold="1m", rise="30s")
    seen = [round(schedule.rate_at(t), 6) for t in (0, 119, 135, 150, 209, 225, 240, 599)]
    assert seen == [1, 1, 5.5, 10, 10, 5.5, 1, 1]
    assert schedule.count == 480 + 600 + 2 * 165


@at_most(30)
@given(st.lists(st.integers(min_value=0, max_value=40), min_size=2, max_size=12))
def test_a_profile_gives_each_interval_its_guests(
    tmp_path_factory: pytest.TempPathFactory, guests: list[int]
) -> None:
    assume(any(guests))
    path = tmp_path_factory.mktemp("profile") / "monday.csv"
    path.write_text(
        "start,guests\n" + "".join(f"{15 * i}m,{many}\n" for i, many in enumerate(guests))
    )
    schedule = from_csv(path)
    due = [schedule.due_ns(i) / NS / 900 for i in range(schedule.count)]
    assert [sum(i <= at < i + 1 for at in due) for i in range(len(guests))] == guests
    quick = from_csv(path, over="2h", scale=3)
    assert quick.duration_s == pytest.approx(7200)
    assert quick.count == 3 * sum(guests)


def test_each_describes_itself() -> None:
    base = ramp(per_minute=(2, 20), over="20m")
    assert base.describe() == "2 to 20 guests/min over 20m"
    assert (base + steady(per_second=0.5, over="1h")).describe() == (
        "2 to 20 guests/min over 20m, then 0.5 guests/s over 1h"
    )
    assert poisson(base, seed=1).describe() == (
        "Poisson (seed 1), mean 2 to 20 guests/min over 20m"
    )
    assert steps(per_minute=[10, 20], each="5m").describe() == (
        "steps of 10, 20 guests/min, 5m each"
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: steady(per_minute=-1, over="1m"), r"steady\(\): per_minute: .*-0\.0166667/s"),
        (lambda: steady(per_minute=0, over="1m"), r"steady\(\): the rate is zero throughout"),
        (lambda: steady(per_minute=1, over="0s"), r"steady\(\): over: .*above zero"),
        (lambda: steady(per_minute=1, over="-1s"), r"steady\(\): over"),
        (lambda: steady(per_minute=1, over="soon"), r"steady\(\): over: .*'soon'"),
        (lambda: steady(per_minute=1, per_second=1, over=1), r"either per_minute or per_second"),
        (lambda: steady(over="1m"), r"either per_minute or per_second"),
        (lambda: steady(per_second=float("nan"), over=1), r"per_second: .*nan"),
        (lambda: steady(per_second=float("inf"), over=1), r"per_second: .*inf"),
        (lambda: steady(per_second=2e6, over=1), r"zero to 1000000 guests/s"),
        (lambda: steady(per_second=True, over=1), r"per_second: .*True"),
        (lambda: steady(per_minute="20", over=1), r"per_minute: .*'20'"),  # type: ignore[arg-type]
        (lambda: steady(per_minute=1, over="400d"), r"longer than a year"),
        (
            lambda: ramp(per_minute=(2,), over="1m"),
            r"ramp\(\): per_minute: expected 2 rates, got 1",
        ),
        (lambda: ramp(per_minute=5, over="1m"), r"several rates"),  # type: ignore[arg-type]
        (lambda: ramp(per_minute=(0, 0), over="1m"), r"ramp\(\): the rate is zero"),
        (lambda: steps(per_minute=[], each="1m"), r"steps\(\): per_minute: .*at least one"),
        (lambda: steps(per_minute="12", each="1m"), r"steps\(\)"),  # type: ignore[arg-type]
        (
            lambda: spike(per_minute=(1, 9), over="1m", at="50s", hold="20s"),
            r"spike\(\): at \+ hold \+ twice rise is 1m10s, longer than over \(1m\)",
        ),
        (lambda: spike(per_minute=(9, 9), over=60, at=1, hold=9), r"spike\(\): there is no peak"),
        (lambda: poisson(steady(per_minute=1, over=9), seed=1.5), r"seed"),  # type: ignore[arg-type]
        (
            lambda: poisson(poisson(steady(per_second=9, over=9), seed=1), seed=1),
            r"expected steady",
        ),
        (then, r"then\(\): expected at least one"),
        (lambda: from_csv("no/such.csv"), r"no/such\.csv: No such file"),
        (lambda: from_csv("x", scale=0), r"from_csv\(\): scale"),
    ],
)
def test_nonsense_is_refused_with_place_and_reason(make: object, reason: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=reason):
        make()


def test_a_profile_without_guests_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "night.csv"
    file.write_text("start,guests\n0,0\n15m,0\n")
    with pytest.raises(ConfigError, match=r"night\.csv: the rate is zero throughout"):
        from_csv(file)


def test_fractions_of_a_guest_add_up_exactly() -> None:
    schedule = steady(per_minute=0.1, over="10h")
    assert schedule.count == 60
    assert schedule.due_ns(59) == 59 * 600 * NS


def test_chance_may_draw_nobody() -> None:
    assert poisson(steady(per_minute=1, over=0.01), seed=1).count == 0
