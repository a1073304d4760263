"""May this run begin, and when must it be over? Pure: the time is handed in.

A target on this machine is free. Anything else needs an approval, its window, a cap on sessions, a
fresh preflight, and stories that break no limit. Each of the five can be overridden, one by one,
with a reason that goes into the run's record; nothing is overridden by default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from harness.config.target import Terms
from harness.errors import ConfigError
from harness.units import duration_text

PREFLIGHT_FRESH_S = 4 * 3600.0
"""A preflight older than this says nothing about the deployment of now."""
PLANNED_CLEARS_PER_S = 50.0
"""The pace of clearing that is planned for the whole run when it must end before its window closes:
a quarter of what a single process can do."""
WINDOW_SPARE_S = 60.0
"""Spare time between the expected end of clearing and the end of the window."""
SHORTEST_RUN_S = 60.0
"""A run with less time than this before it must stop is not worth its start."""


class Rule(StrEnum):
    """What a run against a real deployment needs."""

    APPROVAL = "approval"
    WINDOW = "window"
    CAP = "cap"
    PREFLIGHT = "preflight"
    LIMITS = "limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A rule that is not met, in one sentence."""

    rule: Rule
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a run is about to do. ``sessions`` is None where only the cap limits it.

    ``breaks`` says which limits of the service its stories break for certain, a sentence each.
    """

    sessions: int | None
    at_once: int
    peak_per_s: float | None
    stop_timeout_s: float
    breaks: Sequence[str] = ()

    @classmethod
    def of_plan(
        cls, plan: Mapping[str, Any], *, users: int | None, stop_timeout_s: float
    ) -> "Intent":
        """From what a locustfile contains (nothing where there is none) and so many slots."""
        arrivals = plan.get("arrivals") or {}
        return cls(
            sessions=arrivals.get("count"),
            at_once=int(users or arrivals.get("slots") or 1),
            peak_per_s=arrivals.get("peak_per_s"),
            stop_timeout_s=stop_timeout_s,
            breaks=plan.get("breaks", ()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A preflight that has been: of which state of the target, when, and whether it passed."""

    fingerprint: str
    at: datetime
    passed: bool


def drain_s(intent: Intent) -> float:
    """The most time that ending a run takes: conversations finish, then all are cleared."""
    return intent.stop_timeout_s + intent.at_once / PLANNED_CLEARS_PER_S + WINDOW_SPARE_S


def window_end(window: tuple[time, time], zone: ZoneInfo, now: datetime) -> datetime | None:
    """When the window that is open now closes (aware); None while it is closed.

    The hours are those of the region's clock on each night, so that a change to or from summer
    time makes a night shorter or longer, as it does for the people there.
    """
    start, end = window
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        opens = datetime.combine(day, start, tzinfo=zone)
        closes = datetime.combine(day + timedelta(days=int(end <= start)), end, tzinfo=zone)
        if opens.timestamp() <= now.timestamp() < closes.timestamp():
            return closes
    return None


def stop_by(terms: Terms, intent: Intent, now: datetime) -> datetime | None:
    """When arrivals must end so that everything is cleared before the window closes; None if it is
    closed, or always open."""
    if terms.zone is None or terms.window is None:
        return None
    closes = window_end(terms.window, terms.zone, now)
    if closes is None:
        return None
    return datetime.fromtimestamp(closes.timestamp() - drain_s(intent), tz=closes.tzinfo)


def refusals(
    terms: Terms, intent: Intent, *, now: datetime, preflight: Stamp | None
) -> tuple[Refusal, ...]:
    """Every rule that this run does not meet; none for a target on this machine."""
    if not terms.guarded:
        return ()
    reasons = [
        (Rule.APPROVAL, _approval(terms)),
        (Rule.WINDOW, _window(terms, intent, now)),
        (Rule.CAP, _cap(terms, intent)),
        (Rule.PREFLIGHT, _preflight(terms, now, preflight)),
        (Rule.LIMITS, _limits(intent)),
    ]
    return tuple(Refusal(rule=rule, why=why) for rule, why in reasons if why)


def _approval(terms: Terms) -> str:
    if terms.approval:
        return ""
    where = "is treated as real" if terms.target.loopback else "is not on this machine"
    has = f"[targets.{terms.name}] has no approval"
    if not terms.name:
        has = "is no named target with an approval (harness target init writes a file for it)"
    return (
        f"{terms.target.netloc} {where} and {has}: the vendor wants to approve load tests two "
        'weeks before; write approval = "its reference"'
    )


def _window(terms: Terms, intent: Intent, now: datetime) -> str:
    if terms.window is None:
        return ""
    if terms.zone is None:
        return f"the region of {terms.target.host} is not known: write region or time_zone"
    opens, ends = (f"{moment:%H:%M}" for moment in terms.window)
    there = now.astimezone(terms.zone)
    until = stop_by(terms, intent, now)
    if until is None:
        return f"the window is {opens}-{ends} ({terms.zone.key}), and there it is {there:%H:%M}"
    left = until.timestamp() - now.timestamp()
    if left < SHORTEST_RUN_S:
        needs = duration_text(round(drain_s(intent)))
        return f"the window ends at {ends} ({terms.zone.key}), and the way out takes up to {needs}"
    return ""


def _cap(terms: Terms, intent: Intent) -> str:
    cap = terms.max_sessions
    if cap is None:
        return "there is no cap on sessions: write max_sessions = N"
    if intent.sessions is not None and intent.sessions > cap:
        return f"the schedule has {intent.sessions:,} sessions, the cap is {cap:,} (max_sessions)"
    rate = terms.max_rate_per_s
    if rate is not None and intent.peak_per_s is not None and intent.peak_per_s > rate * 1.0001:
        return (
            f"the schedule rises to {intent.peak_per_s * 60:.4g} guests/min, the limit is "
            f"{rate * 60:.4g}/min (max_rate)"
        )
    return ""


def _preflight(terms: Terms, now: datetime, stamp: Stamp | None) -> str:
    ask = f"run harness preflight --target {terms.name or 'NAME'}"
    if stamp is None:
        return f"there has been no preflight: {ask}"
    if stamp.fingerprint != terms.fingerprint:
        return f"the target was changed after its preflight: {ask}"
    if not stamp.passed:
        return f"the last preflight failed: {ask}"
    age_s = now.timestamp() - stamp.at.timestamp()
    if not 0 <= age_s <= PREFLIGHT_FRESH_S:
        limit = duration_text(PREFLIGHT_FRESH_S)
        return f"the last preflight is {duration_text(abs(age_s))} old (at most {limit}): {ask}"
    return ""


def _limits(intent: Intent) -> str:
    if not intent.breaks:
        return ""
    return f"the script breaks a limit of the service: {'; '.join(intent.breaks)}"


def parse_overrides(texts: Sequence[str]) -> dict[Rule, str]:
    """``["window=agreed by phone with …"]`` as rule → reason. Raises ConfigError."""
    return {Rule(name): reason for name, reason in read_reasons(texts, list(Rule)).items()}


def read_reasons(texts: Sequence[str], rules: Sequence[str]) -> dict[str, str]:
    """The same of any ``rules`` that ``--override`` may name. Raises ConfigError."""
    reasons: dict[str, str] = {}
    for text in texts:
        name, _, reason = text.partition("=")
        if name.strip() not in rules or not reason.strip():
            raise ConfigError(
                f"--override: expected RULE=REASON with one of {', '.join(rules)}, got {text!r}"
            )
        reasons[name.strip()] = reason.strip()
    return reasons


def not_overridden(
    refused: Sequence[Refusal], overrides: Mapping[Rule, str]
) -> tuple[Refusal, ...]:
    """The refusals that are not overridden."""
    return tuple(refusal for refusal in refused if refusal.rule not in overrides)
