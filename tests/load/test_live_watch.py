"""A run is stopped by what its objectives say of the figures so far, and by nothing else."""

from live_rows import interval

from harness.load.live import Live
from harness.load.live_watch import AbortWatch
from harness.report.record import KNOWN
from harness.slo.objective import parse_objective


def test_it_stops_after_grace_and_delay() -> None:
    live = Live()
    abort = parse_objective("reply errors < 10%", KNOWN, abort_on_fail=True, grace="5s", delay="2s")
    plain = parse_objective("reply p95 < 1ms", KNOWN)
    watch = AbortWatch([abort, plain], live)
    assert watch.look(1) == ()
    live.take_encoded("a", *interval(10, 10, errors=8))
    assert [watch.look(second) for second in (4, 5, 6)] == [(), (), ()]
    (why,) = watch.look(7)
    assert "reply errors < 10%" in why
    assert "80%" in why


def test_without_such_an_objective_it_never_stops() -> None:
    live = Live()
    live.take_encoded("a", *interval(10, errors=8))
    assert AbortWatch([parse_objective("reply errors == 0", KNOWN)], live).look(100) == ()


def test_a_count_that_can_still_grow_stops_nothing() -> None:
    live = Live()
    live.take_encoded("a", *interval(10, 10, errors=8))
    texts = ("reply count >= 500", "reply count == 500")
    watch = AbortWatch([parse_objective(text, KNOWN, abort_on_fail=True) for text in texts], live)
    assert watch.look(100) == ()
    less = parse_objective("reply count <= 5", KNOWN, abort_on_fail=True)
    (why,) = AbortWatch([less], live).look(100)
    assert "reply count <= 5" in why
