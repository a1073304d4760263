"""Percentiles over all that was tried, also what never came and what is ambiguous."""

from harness.measure.censored import Figure, Tried
from harness.measure.histogram import Histogram


def histogram(*milliseconds: int) -> Histogram:
    found = Histogram()
    for value in milliseconds:
        found.record_ns(value * 1_000_000)
    return found


def test_a_rank_among_what_never_came_is_a_lower_bound() -> None:
    tried = Tried(
        bounds=histogram(*[50] * 90, *[2000] * 10),
        censored=histogram(*[2000] * 10),
        outcomes={"ok": 90, "timeout": 10},
    )
    assert round(tried.at(50).ms or 0) == 50
    assert not tried.at(50).at_least
    found = tried.at(95)
    assert (round(found.ms or 0, -1), found.at_least, found.unsure) == (2000, True, False)


def test_of_answers_that_are_all_ambiguous_no_time_is_known() -> None:
    assert Tried(bounds=Histogram(), outcomes={"ok": 90}, ambiguous=90).at(95) == Figure(None)


def test_what_never_came_is_unsure_where_the_ambiguous_may_all_have_been_fast() -> None:
    bound = histogram(50)
    tried = Tried(bounds=bound, censored=bound, outcomes={"ok": 89, "unanswered": 1}, ambiguous=89)
    found = tried.at(95)
    assert (found.at_least, found.unsure) == (True, True)
    assert not tried.at(100).unsure  # one of ninety never came, whatever the others did
