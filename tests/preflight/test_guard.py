"""The guard by a clock that is handed in: windows over midnight and over the change of hours."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from harness.config.target import Terms, parse_target
from harness.errors import ConfigError
from harness.preflight.guard import (
    Intent,
    Rule,
    Stamp,
    drain_s,
    not_overridden,
    parse_overrides,
    refusals,
    stop_by,
    window_end,
)

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = (time(23), time(5))
REAL = Terms(
    name="staging",
    target=parse_target(
        "wss://webmessaging.mypurecloud.de/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"
    ),
    zone=BERLIN,
    approval="case 1",
    max_sessions=100,
    max_rate_per_s=2.0,
)
INTENT = Intent(sessions=50, at_once=50, peak_per_s=1.0, stop_timeout_s=15)
MIDNIGHT = datetime(2026, 1, 20, 0, 30, tzinfo=BERLIN)


def stamp(at: datetime = MIDNIGHT, *, passed: bool = True, of: Terms = REAL) -> Stamp:
    return Stamp(fingerprint=of.fingerprint, at=at, passed=passed)


def broken(terms: Terms = REAL, intent: Intent = INTENT, **more: object) -> set[Rule]:
    circumstances = {"now": MIDNIGHT, "preflight": stamp(of=terms), **more}
    return {refusal.rule for refusal in refusals(terms, intent, **circumstances)}


def test_all_in_order_is_permitted() -> None:
    assert broken() == set()


def test_a_target_on_this_machine_is_free_unless_it_is_treated_as_real() -> None:
    local = parse_target("ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef")
    free = Terms(name="", target=local)
    assert refusals(free, INTENT, now=MIDNIGHT, preflight=None) == ()
    assert broken(replace(free, treat_as_real=True), preflight=None) == set(Rule) - {Rule.LIMITS}


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        (datetime(2026, 1, 19, 22, 59, 59), False),
        (datetime(2026, 1, 19, 23, 0, 0), True),
        (datetime(2026, 1, 20, 4, 59, 59), True),
        (datetime(2026, 1, 20, 5, 0, 0), False),
        (datetime(2026, 1, 20, 12, 0, 0), False),
    ],
)
def test_the_window_spans_midnight(at: datetime, is_open: bool) -> None:
    there = at.replace(tzinfo=BERLIN)
    assert (window_end(NIGHT, BERLIN, there) is not None) is is_open
    assert (window_end(NIGHT, BERLIN, there.astimezone(UTC)) is not None) is is_open


def test_a_window_within_a_day() -> None:
    noon = datetime(2026, 1, 20, 12, tzinfo=BERLIN)
    assert window_end((time(10), time(14)), BERLIN, noon) == datetime(
        2026, 1, 20, 14, tzinfo=BERLIN
    )


@pytest.mark.parametrize(
    ("evening", "hours"), [((2026, 3, 28), 5), ((2026, 10, 24), 7), ((2026, 6, 1), 6)]
)
def test_the_nights_when_clocks_change_are_shorter_and_longer(
    evening: tuple[int, int, int], hours: int
) -> None:
    opens = datetime(*evening, 23, tzinfo=BERLIN)
    closes = window_end(NIGHT, BERLIN, opens)
    assert closes is not None
    assert closes.timestamp() - opens.timestamp() == hours * 3600


def test_it_stops_early_enough_to_clear() -> None:
    until = stop_by(REAL, INTENT, MIDNIGHT)
    assert until is not None
    closes = datetime(2026, 1, 20, 5, tzinfo=BERLIN)
    assert closes.timestamp() - until.timestamp() == drain_s(INTENT) > INTENT.stop_timeout_s
    more = replace(INTENT, at_once=5000)
    earlier = stop_by(REAL, more, MIDNIGHT)
    assert earlier is not None
    assert earlier < until


def test_each_rule_on_its_own() -> None:
    assert broken(replace(REAL, approval="")) == {Rule.APPROVAL}
    assert broken(replace(REAL, zone=None)) == {Rule.WINDOW}
    assert broken(now=MIDNIGHT.replace(hour=4, minute=58)) >= {Rule.WINDOW}
    assert broken(now=MIDNIGHT.replace(hour=12), preflight=stamp(MIDNIGHT.replace(hour=11))) == {
        Rule.WINDOW
    }
    assert broken(replace(REAL, max_sessions=None)) == {Rule.CAP}
    assert broken(intent=replace(INTENT, sessions=101)) == {Rule.CAP}
    assert broken(intent=replace(INTENT, peak_per_s=2.1)) == {Rule.CAP}
    assert broken(intent=replace(INTENT, sessions=None)) == set()  # the cap holds while it runs


def test_a_preflight_is_of_this_state_passed_and_fresh() -> None:
    assert broken(preflight=None) == {Rule.PREFLIGHT}
    assert broken(preflight=stamp(passed=False)) == {Rule.PREFLIGHT}
    assert broken(preflight=stamp(of=replace(REAL, written={"x": 1}))) == {Rule.PREFLIGHT}
    old = stamp(MIDNIGHT - timedelta(hours=4, seconds=1))
    assert broken(preflight=old) == {Rule.PREFLIGHT}
    assert broken(preflight=stamp(MIDNIGHT - timedelta(hours=4))) == set()
    assert broken(preflight=stamp(MIDNIGHT + timedelta(hours=1))) == {Rule.PREFLIGHT}


def test_a_refusal_says_what_is_so() -> None:
    rehearsal = parse_target(
        "ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"
    )
    for terms, reason in (
        (REAL, "mypurecloud.de:443 is not on this machine and [targets.staging] has no approval"),
        (replace(REAL, target=rehearsal, treat_as_real=True), "127.0.0.1:1 is treated as real"),
        (replace(REAL, name=""), "is no named target with an approval (harness target init"),
    ):
        (refusal,) = refusals(
            replace(terms, approval=""),
            INTENT,
            now=MIDNIGHT,
            preflight=stamp(of=replace(terms, approval="")),
        )
        assert reason in refusal.why


def test_overrides_are_one_by_one_and_need_a_reason() -> None:
    refused = refusals(replace(REAL, approval=""), INTENT, now=MIDNIGHT, preflight=None)
    left = not_overridden(refused, parse_overrides(["approval=told by phone"]))
    assert [refusal.rule for refusal in left] == [Rule.PREFLIGHT]
    for bad in ("approval", "approval=", "all=because", "=x"):
        with pytest.raises(ConfigError, match="RULE=REASON"):
            parse_overrides([bad])


def test_a_window_may_be_always() -> None:
    noon = MIDNIGHT.replace(hour=12)
    always = replace(REAL, window=None, zone=None)
    assert broken(always, now=noon, preflight=stamp(noon, of=always)) == set()
    assert stop_by(always, INTENT, noon) is None


def test_a_story_that_breaks_a_limit_is_refused_and_can_be_overridden() -> None:
    intent = replace(INTENT, breaks=["A: 9 messages in a second; the service takes 5"])
    refused = refusals(REAL, intent, now=MIDNIGHT, preflight=stamp())
    assert [refusal.rule for refusal in refused] == [Rule.LIMITS]
    assert "9 messages in a second" in refused[0].why
    assert not_overridden(refused, parse_overrides(["limits=agreed by phone"])) == ()
