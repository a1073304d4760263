"""An honest account of guests holds, and one that was miscounted is found."""

from harness.judge.validity import broken, check_little
from harness.measure.snapshot import Interval


def intervals(*, started: int, ended: int, ended_ms: int, area_ms: int) -> list[Interval]:
    def one(second: int, share: float) -> Interval:
        return Interval(
            worker="w",
            ended_s=1000.0 + second,
            length_s=1.0,
            phase="running",
            sessions={
                "occupancy_ms": int(area_ms * share),
                "ended": int(ended * share),
                "ended_ms": int(ended_ms * share),
            },
            arrivals={"started": started // 2},
            outcomes={},
            counts={},
            process={},
        )

    return [one(1, 0.5), one(2, 1.0)]


def test_an_honest_account_holds() -> None:
    found = check_little(intervals(started=100, ended=100, ended_ms=500_000, area_ms=500_000), 60.0)
    assert found is not None
    assert found["off"] < 1e-9
    assert abs(found["occupancy"] - 500 / 60) < 1e-9
    assert broken(found) == ""


def test_lost_sessions_and_double_arrivals_are_told() -> None:
    for started, area_ms in ((100, 400_000), (200, 500_000)):
        found = check_little(
            intervals(started=started, ended=100, ended_ms=500_000, area_ms=area_ms), 60.0
        )
        assert "the account of guests does not hold" in broken(found)


def test_a_handful_of_sessions_says_nothing() -> None:
    few = intervals(started=10, ended=10, ended_ms=50_000, area_ms=9_000)
    assert check_little(few, 60.0) is None
    assert broken(None) == ""
