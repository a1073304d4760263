"""Who was due and was dropped waits for ever: for the connection, and for the session."""

import pytest

from harness.measure.histogram import Histogram
from harness.measure.snapshot import tried

MS = 1_000_000


def times(many: int) -> Histogram:
    found = Histogram()
    found.record_many_ns([20 * MS] * many)
    return found


@pytest.mark.parametrize("operation", ["connect", "session_open"])
def test_dropped_arrivals_rank_above_all_that_came(operation: str) -> None:
    histograms = {f"{operation}.corrected": times(90), f"{operation}.service": times(90)}
    corrected = tried(operation, histograms, {"ok": 90}, {}, corrected=True, dropped=10)
    assert corrected.at(90).at_least is False
    assert corrected.at(95).at_least is True
    assert corrected.at(100).at_least is True
    # The service has nothing to do with it.
    assert tried(operation, histograms, {"ok": 90}, {}, dropped=10).at(100).at_least is False


def test_refused_and_dropped_add_up() -> None:
    histograms = {"connect.corrected": times(80)}
    outcomes = {"ok": 80, "refused": 10}
    found = tried("connect", histograms, outcomes, {}, corrected=True, dropped=10)
    assert found.whole == 100
    assert (found.at(80).at_least, found.at(81).at_least) == (False, True)


def test_what_comes_after_the_opening_is_not_waited_for_by_the_dropped() -> None:
    histograms = {"reply.corrected": times(90)}
    found = tried("reply", histograms, {"ok": 90}, {}, corrected=True, dropped=10)
    assert found.at(100).at_least is False
