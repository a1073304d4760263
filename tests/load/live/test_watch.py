"""A run is stopped by what its objectives say of the figures so far, and by nothing else."""

from dataclasses import replace

import pytest
from live_rows import interval

from harness.judge.objective import parse_objective
from harness.load.live.totals import AbortWatch, Live


def test_it_stops_after_grace_and_delay() -> None:
    live = Live()
    abort = parse_objective("reply errors < 10%", abort_on_fail=True, grace="5s", delay="2s")
    plain = parse_objective("reply p95 < 1ms")
    watch = AbortWatch([abort, plain], live)
    assert watch.look(1) == ()
    live.take_encoded("a", *interval(10, 10, errors=8))
    # What happened before the grace was over does not count.
    assert [watch.look(second) for second in (4, 5, 8, 9)] == [(), (), (), ()]
    live.take_encoded("a", *interval(10, 10, errors=8))
    assert [watch.look(second) for second in (10, 11)] == [(), ()]
    (why,) = watch.look(12)
    assert "reply errors < 10%" in why
    assert "80%" in why


def test_without_such_an_objective_it_never_stops() -> None:
    live = Live()
    live.take_encoded("a", *interval(10, errors=8))
    assert AbortWatch([parse_objective("reply errors == 0")], live).look(100) == ()


def test_a_count_that_can_still_grow_stops_nothing() -> None:
    live = Live()
    live.take_encoded("a", *interval(10, 10, errors=8))
    texts = ("reply count >= 500", "reply count == 500")
    watch = AbortWatch([parse_objective(text, abort_on_fail=True) for text in texts], live)
    assert watch.look(100) == ()
    less = parse_objective("reply count <= 5", abort_on_fail=True)
    (why,) = AbortWatch([less], live).look(100)
    assert "reply count <= 5" in why


@pytest.mark.slow
def test_a_long_good_past_does_not_save_a_run_that_fails_now() -> None:
    live = Live()
    for _ in range(1000):
        live.take_encoded("a", *interval(*[10] * 10))
    texts = ("reply errors < 10%", "reply p95 < 1s", "reply max < 1s")
    watches = [
        AbortWatch([parse_objective(text, abort_on_fail=True, window="10s")], live)
        for text in texts
    ]
    for second in range(1, 20):
        assert [watch.look(second) for watch in watches] == [()] * 3
    live.take_encoded("a", *interval(*[5000] * 40, errors=30))
    assert all(watch.look(20) for watch in watches)


def test_a_bad_past_does_not_end_a_run_that_has_recovered() -> None:
    live = Live()
    abort = parse_objective("reply errors < 10%", abort_on_fail=True, delay="5s")
    watch = AbortWatch([replace(abort, window_s=3)], live)
    live.take_encoded("a", *interval(10, errors=30))
    told = [watch.look(1)]
    for second in range(2, 20):
        live.take_encoded("a", *interval(*[10] * 20))
        told.append(watch.look(second))
    assert not any(told)


@pytest.mark.parametrize("counter", ["never_configured", "ended_by_service", "leftovers"])
def test_counters_stop_a_run_by_what_came_since_the_grace(counter: str) -> None:
    live = Live()
    abort = parse_objective(f"{counter} <= 2", abort_on_fail=True, grace="5s")
    watch = AbortWatch([abort], live)
    row, histograms = interval(10)
    key = "leftover" if counter == "leftovers" else counter
    row["sessions"] |= {"opened": 10, key: 7}
    live.take_encoded("a", row, histograms)
    assert watch.look(4) == watch.look(5) == watch.look(200) == ()
    row["sessions"] = {**row["sessions"], key: 10}
    live.take_encoded("a", row, histograms)
    (why,) = watch.look(201)
    assert "was 3" in why


def test_a_lost_worker_stops_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live()
    watch = AbortWatch([parse_objective("workers_lost == 0", abort_on_fail=True)], live)
    row, histograms = interval(10)
    row["sessions"] |= {"opened": 10}
    live.take_encoded("a", row, histograms)
    assert watch.look(1) == ()
    monkeypatch.setattr("harness.load.live.totals.QUIET_AFTER_S", -1.0)
    assert watch.look(2) != ()
    live.take_encoded("a", {**row, "phase": "ended"}, histograms)
    assert watch.look(3) == ()
