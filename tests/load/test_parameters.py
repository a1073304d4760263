"""What is asked for wins over the locustfile's default, is noted, and is refused when senseless."""

import pytest

from harness.errors import ConfigError
from harness.load import options as parameters
from harness.load.options import (
    from_options,
    occupancy,
    over,
    poisson,
    rate,
    seed,
    silence,
    slots_for,
    stay,
    used_variables,
)
from harness.workload.arrivals import steady


@pytest.fixture(autouse=True)
def _nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RATE", "OVER", "SEED", "ARRIVALS", "STAY", "SILENCE", "OCCUPANCY"):
        monkeypatch.setenv(f"HARNESS_{name}", "")
    parameters._process.cache_clear()


def test_defaults_and_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (rate("30/min"), over("10m")) == (0.5, 600)
    monkeypatch.setenv("HARNESS_RATE", "5/s")
    monkeypatch.setenv("HARNESS_OVER", "20s")
    assert (rate("30/min"), over("10m")) == (5, 20)
    assert used_variables() == ["HARNESS_OVER", "HARNESS_RATE"]


def test_how_long_guests_stay_and_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (stay("3h"), silence("10m")) == (10_800, 600)
    monkeypatch.setenv("HARNESS_STAY", "5d")
    monkeypatch.setenv("HARNESS_SILENCE", "1h")
    assert (stay("3h"), silence("10m")) == (432_000, 3600)
    assert used_variables() == ["HARNESS_SILENCE", "HARNESS_STAY"]
    assert slots_for(1, 60.0) == slots_for(1, "1m")


def test_an_occupancy_is_asked_for_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert occupancy() is None
    monkeypatch.setenv("HARNESS_OCCUPANCY", "20")
    assert occupancy() == 20


def test_a_drawn_seed_stays_the_same_within_a_run() -> None:
    assert seed() == seed()


def test_the_same_seed_gives_the_same_arrivals(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = steady(per_second=20, over="10s")

    def dues() -> list[int]:
        drawn = poisson(schedule)
        return [drawn.due_ns(index) for index in range(drawn.count)]

    monkeypatch.setenv("HARNESS_SEED", "7")
    first, again = dues(), dues()
    monkeypatch.setenv("HARNESS_SEED", "8")
    assert first == again != dues()
    monkeypatch.setenv("HARNESS_ARRIVALS", "even")
    assert dues() == [schedule.due_ns(index) for index in range(schedule.count)]


@pytest.mark.parametrize(
    ("name", "value", "ask"),
    [
        ("RATE", "fast", lambda: rate("1/s")),
        ("OVER", "soon", lambda: over("1s")),
        ("STAY", "on", lambda: stay("1s")),
        ("SILENCE", "gold", lambda: silence("1s")),
        ("SEED", "x", seed),
        ("OCCUPANCY", "0", occupancy),
        ("OCCUPANCY", "many", occupancy),
        ("ARRIVALS", "odd", lambda: poisson(steady(per_second=1, over="9s"))),
    ],
)
def test_nonsense_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, ask) -> None:
    monkeypatch.setenv(f"HARNESS_{name}", value)
    with pytest.raises(ConfigError, match=f"HARNESS_{name}"):
        ask()


def test_the_plain_case_is_even_unless_it_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = from_options(rate="30/min", over="10m")
    assert (schedule.rate_at(5), schedule.duration_s, schedule.count) == (0.5, 600, 300)
    gaps = {schedule.due_ns(n + 1) - schedule.due_ns(n) for n in range(299)}
    assert gaps == {2_000_000_000}
    assert poisson(schedule).describe().startswith("Poisson (seed ")
    monkeypatch.setenv("HARNESS_RATE", "5/s")
    monkeypatch.setenv("HARNESS_OVER", "20s")
    schedule = from_options(rate="30/min", over="10m")
    assert (schedule.rate_at(5), schedule.duration_s) == (5, 20)
    assert slots_for(schedule, "1m") == slots_for(5, "1m")


def test_arrivals_as_asked_win_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_SEED", "7")
    monkeypatch.setenv("HARNESS_ARRIVALS", "poisson")
    drawn = from_options(rate="30/min", over="10m")
    assert drawn.describe().startswith("Poisson (seed 7)")
    assert poisson(drawn) == drawn  # it is drawn once
    assert steady(per_second=1, over="9s").describe().startswith("1 guest")  # it asks for nothing
    monkeypatch.setenv("HARNESS_ARRIVALS", "even")
    plain = steady(per_second=1, over="9s")
    assert poisson(plain, seed=3) == plain
    assert used_variables() == ["HARNESS_ARRIVALS", "HARNESS_OVER", "HARNESS_RATE", "HARNESS_SEED"]


def test_a_seed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_SEED", "7")
    plain = steady(per_second=1, over="9s")
    assert poisson(plain, seed=3).describe().startswith("Poisson (seed 3)")
    with pytest.raises(ConfigError, match="expected steady"):
        poisson(poisson(plain))


def test_slots_leave_room_above_the_mean_occupancy() -> None:
    assert slots_for(10, "1m") > 600
    assert slots_for(0.01, "1s") >= 10
