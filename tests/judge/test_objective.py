"""Objectives are read as people write them; what can't be meant is refused with the valid names."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.judge.objective import Kind, Objective, Op, Unit, amount_text, parse_objective


def parsed(text: str) -> Objective:
    return parse_objective(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "reply p95 < 5s",
            {"figure": "p", "percent": 95.0, "kind": Kind.SERVICE, "limit": 5000.0},
        ),
        (
            "session_open corrected p99 < 2s",
            {"subject": "session_open", "kind": Kind.CORRECTED, "percent": 99.0},
        ),
        ("reply service p99.9<=20s", {"percent": 99.9, "op": Op.AT_MOST, "limit": 20_000.0}),
        ("reply p99_9 < 1m30s", {"percent": 99.9, "limit": 90_000.0}),
        ("reply max < 1m", {"figure": "max", "percent": None, "kind": Kind.SERVICE}),
        ("delivered errors < 1%", {"figure": "errors", "unit": Unit.SHARE, "limit": 0.01}),
        ("delivered timeout == 0", {"figure": "timeout", "unit": Unit.COUNT, "kind": None}),
        ("reply count > 100", {"figure": "count", "op": Op.MORE, "limit": 100.0}),
        ("generator_lag p99 < 50ms", {"subject": "generator_lag", "kind": None, "limit": 50.0}),
        ("leftovers == 0", {"subject": "leftover", "figure": "value", "unit": Unit.COUNT}),
        ("leftover<0.1%", {"subject": "leftover", "unit": Unit.SHARE, "limit": 0.001}),
        ("  cross_talk   == 0 ", {"subject": "cross_talk", "text": "cross_talk == 0"}),
    ],
)
def test_forms(text: str, expected: dict[str, object]) -> None:
    objective = parsed(text)
    assert {name: getattr(objective, name) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a form such as"),
        ("reply p95", "expected a form such as"),
        ("reply p95 != 5s", "expected a form such as"),
        ("reply p95 < 5s < 6s", "expected a form such as"),
        ("the reply p95 time < 5s", "expected a form such as"),
        (
            "replies p95 < 5s",
            r"did you mean reply\?.*operations: .*connect, session_open, .*counters",
        ),
        ("spoons == 0", "nothing is called 'spoons'; operations: .*; counters: intended, opened, "),
        ("reply < 5s", "reply needs a figure: p50, p95"),
        ("reply p95 < 5", "5: expected a time with its unit"),
        ("reply p95 < 0s", "limit: expected a time above zero"),
        ("reply p95 < soon", "limit: expected a duration"),
        ("reply p95 == 5s", "never exactly equal"),
        ("reply p100 < 5s", "reply has no 'p100'"),
        ("reply p0 < 5s", "above 0 and below 100"),
        ("reply speed < 5s", "reply has no 'speed'; there are p50"),
        ("reply slow p95 < 5s", "expected 'service' or 'corrected'"),
        ("reply corrected errors < 1%", "'corrected' goes with a percentile or max only"),
        ("delivered errors < 5s", "expected a number such as 0, or a share such as 1%"),
        ("delivered errors < 0.01", "did you mean 0.01%"),
        ("delivered errors < 101%", "share of 100% or less"),
        ("delivered errors < 0", "nothing can be below 0; use == 0"),
        ("reply count > 5%", "a count is a plain number"),
        ("reply count >= 0", "would always hold"),
        ("leftovers p95 < 5s", "leftovers is a plain number, it has no p95"),
        ("generator_lag < 5ms", "generator_lag needs a figure: p50, p99, max"),
        ("generator_lag p95 < 5ms", "generator_lag has no 'p95'; there are p50, p99, max"),
        ("generator_lag corrected p99 < 5ms", "'corrected' goes with"),
    ],
)
def test_nonsense_is_refused_with_place_and_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^slo.toml, line 3: .*{reason}"):
        parse_objective(text, place="slo.toml, line 3")


def test_delay_and_grace_belong_to_abort_on_fail() -> None:
    objective = parse_objective("leftovers == 0", abort_on_fail=True, delay="30s", grace="2m")
    assert (objective.delay_s, objective.grace_s) == (30, 120)
    with pytest.raises(ConfigError, match="need abort_on_fail"):
        parse_objective("leftovers == 0", delay="30s")
    with pytest.raises(ConfigError, match="grace: expected a duration"):
        parse_objective("leftovers == 0", abort_on_fail=True, grace="soon")


@given(st.text(max_size=30))
def test_any_text_is_parsed_or_refused_and_nothing_else_happens(text: str) -> None:
    with suppress(ConfigError):
        parsed(text)


def test_amounts_are_written_as_people_do() -> None:
    assert amount_text(2500, Unit.MS) == "2.5s"
    assert amount_text(-2500, Unit.MS) == "-2.5s"
    assert amount_text(0.0123, Unit.SHARE) == "1.23%"
    assert amount_text(12345, Unit.COUNT) == "12,345"
    assert parsed("reply p95 < 5s").limit_text == "5s"
