"""May this run begin, and when must it be over? By the terms of its target and its last preflight.

A target on this machine is free. Anything else needs an approval, its window, a cap on sessions, a
fresh preflight, and stories that break no limit. Each of the five can be overridden, one by one,
with a reason that goes into the run's record; nothing is overridden by default. The rules are pure:
the time is handed in.

A preflight leaves a small file in the reports folder, its *stamp*: whether it passed, which is one
of the rules, and what the guest's visit has taught, for runs, audits and sweeps to rely on. Nobody
outside the vendor knows these for a deployment that is not his: whether its flow greets, how long
it takes, under which names the service shows what.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from harness.config.target import Terms
from harness.errors import ConfigError, PreflightRefused, listed
from harness.foreign import an_object
from harness.rundir.layout import RunDirectory, preflight_stamp, write_json, writing
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Times are seconds; what could not be learnt is None.

    Fields that say ``shown`` are about what the Platform API shows.
    """

    joined: bool | None = None
    """whether the guest came in by Join, before it spoke"""
    greets: bool | None = None
    """whether the flow says something by itself: after Join, or before its first answer"""
    greeting_messages: int | None = None
    turn_messages: int | None = None
    """messages of an answer, without a greeting before it; the longer of two"""
    turn_gap_s: float | None = None
    """the longest time between two messages of an answer"""
    first_message_s: float | None = None
    """from a text to the first message of its answer; the longer of two"""
    last_message_s: float | None = None
    """from a text to the last message of its answer; the longer of two"""
    answered_by: str | None = None
    """``Bot`` or ``Human``, in the service's words"""
    clear_s: float | None = None
    """from Clear to the proof"""
    retired_s: float | None = None
    """from the proof to ConnectionClosedEvent"""
    close_code: int | None = None
    id_form: str | None = None
    time_form: str | None = None
    signed_in: bool | None = None
    message_leads: bool | None = None
    """whether the id of a guest's message leads to its conversation"""
    direct_shown: bool | None = None
    """whether the conversation itself can be looked at"""
    search_shown: bool | None = None
    """whether the search by attributes finds the conversation"""
    attribute_prefix: str | None = None
    journey_shown: bool | None = None
    """whether analytics shows the guest's journey id"""
    purpose_direct: str | None = None
    purpose_analytics: str | None = None
    purpose_search: str | None = None
    """what the guest's participant is called in each view"""
    analytics_shows_s: float | None = None
    """from the guest's first text until analytics shows its conversation"""
    analytics_ends_s: float | None = None
    """from the proof of Clear until analytics shows the conversation as over"""
    ended_s: float | None = None
    """from the proof of Clear until the conversation itself is over"""
    origin_needed: bool | None = None
    auto_start: bool | None = None

    @classmethod
    def of(cls, value: object) -> "Learned":
        """From JSON, by whatever version it was written; what does not fit is not known."""
        table = value if isinstance(value, Mapping) else {}
        values = {}
        for one in fields(cls):
            known = table.get(one.name)
            kinds = _KINDS[str(one.type)]
            if isinstance(known, kinds) and isinstance(known, bool) == (kinds is bool):
                values[one.name] = known
        return cls(**values)


_KINDS: dict[str, Any] = {
    "bool | None": bool,
    "int | None": int,
    "float | None": (int, float),
    "str | None": str,
}


def write_stamp(
    reports: Path, terms: Terms, *, passed: bool, learned: Learned | None = None
) -> None:
    """Note that a preflight of this target has been. Raises ConfigError.

    Without ``learned`` (a quick one) what is known from before is kept, as long as nothing about
    the target has changed.
    """
    if learned is None:
        learned = read_learned(reports, terms)
    stamp = {
        "fingerprint": terms.fingerprint,
        "at": datetime.now(UTC).isoformat(),
        "passed": passed,
        "learned": None if learned is None else asdict(learned),
    }
    _write(_path(reports, terms), stamp)


def write_table(directory: Path, table: dict[str, Any]) -> Path:
    """The whole of a preflight, for other programs. Raises ConfigError."""
    return _write(RunDirectory(directory).preflight, table)


def read_stamp(reports: Path, terms: Terms) -> Stamp | None:
    """The last preflight of this target; None when there was none that can be read."""
    stamp = _read(reports, terms)
    try:
        return Stamp(
            fingerprint=str(stamp["fingerprint"]),
            at=datetime.fromisoformat(stamp["at"]),
            passed=stamp["passed"] is True,
        )
    except (KeyError, TypeError, ValueError):
        return None


def carry_stamp(terms: Terms, reports: Path, to: Path) -> None:
    """Let a reports folder below another one know of its preflight. Raises ConfigError."""
    if stamp := _read(reports, terms):  # the run says itself that there has been none
        _write(_path(to, terms), stamp)


def read_learned(reports: Path, terms: Terms) -> Learned | None:
    """What preflights of this target have taught; None where there is nothing that still holds."""
    stamp = _read(reports, terms)
    known = stamp.get("learned")
    if stamp.get("fingerprint") != terms.fingerprint or not isinstance(known, dict):
        return None
    return Learned.of(known)


def _read(reports: Path, terms: Terms) -> dict[str, Any]:
    """What is noted of the target; nothing where it can't be read."""
    try:
        return an_object(orjson.loads(_path(reports, terms).read_bytes()))
    except (OSError, orjson.JSONDecodeError):
        return {}


def _path(reports: Path, terms: Terms) -> Path:
    return preflight_stamp(reports, terms.name or terms.fingerprint)


def _write(path: Path, table: dict[str, Any]) -> Path:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_json(path, table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What a run may do. ``overridden`` goes into the record: rule, what it said, and why not."""

    stop_at: datetime | None = None
    max_sessions: int | None = None
    overridden: tuple[dict[str, str], ...] = field(default=())


def permit(terms: Terms, intent: Intent, *, reports: Path, overrides: Mapping[Rule, str]) -> Permit:
    """Permission to begin now. Raises PreflightRefused with every rule that is not met."""
    if not terms.guarded:
        return Permit()
    now = datetime.now(UTC)
    refused = refusals(terms, intent, now=now, preflight=read_stamp(reports, terms))
    if left := not_overridden(refused, overrides):
        why = [f"{refusal.rule}: {refusal.why}" for refusal in left]
        raise PreflightRefused(listed("the run is refused", why))
    window = Rule.WINDOW in {refusal.rule for refusal in refused}
    return Permit(
        stop_at=None if window else stop_by(terms, intent, now),
        max_sessions=None if Rule.CAP in overrides else terms.max_sessions,
        overridden=tuple(
            {"rule": refusal.rule, "said": refusal.why, "reason": overrides[refusal.rule]}
            for refusal in refused
        ),
    )
