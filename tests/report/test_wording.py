"""Objectives as a reader understands them who did not write them."""

import pytest

from harness.judge.objective import JUDGED_COUNTERS, parse_objective
from harness.report.wording import in_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("leftovers == 0", "no sessions left behind"),
        ("leftovers < 0.1%", "sessions left behind: less than 0.1%"),
        ("dropped <= 3", "at most 3 arrivals dropped"),
        ("reply p95 < 5s", "95 of 100 replies in under 5s"),
        ("reply p50 <= 800ms", "half of the replies within 800ms"),
        ("reply p99.9 < 10s", "999 of 1,000 replies in under 10s"),
        (
            "reply corrected p99 < 9s",
            "99 of 100 replies in under 9s, counted from when they were due",
        ),
        ("connect max < 3s", "all connects in under 3s"),
        ("session_open errors < 1%", "failed openings of a session: less than 1%"),
        ("reply timeout == 0", "no replies that ended in timeout"),
        ("reply count > 1000", "more than 1,000 replies"),
        (
            "generator_lag p99 < 50ms",
            "the load generator itself late by less than 50ms, 99 of 100 times",
        ),
        ("generator_lag max <= 1s", "the load generator itself late by at most 1s"),
        ("of another harness p95 < 1", ""),
        ("", ""),
    ],
)
def test_an_objective_in_words(text: str, words: str) -> None:
    assert in_words(text) == words


@pytest.mark.parametrize("name", JUDGED_COUNTERS)
def test_every_counter_has_words(name: str) -> None:
    assert parse_objective(f"{name} <= 2").subject == name
    assert in_words(f"{name} <= 2").startswith("at most 2 ")
    assert "_" not in in_words(f"{name} <= 2")
