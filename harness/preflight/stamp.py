"""The memory of a preflight: a small file in the reports folder, read before a run begins.

Beside whether it passed it keeps what the guest's visit has taught, for runs, audits and sweeps to
rely on. Nobody outside the vendor knows these for a deployment that is not his: whether its flow
greets, how long it takes, under which names the service shows what.

The gate before a run: the guard's rules on the state of now, or a refusal in one sentence.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from harness.config.guard import Intent, Rule, Stamp, not_overridden, refusals, stop_by
from harness.config.target import Terms
from harness.errors import PreflightRefused, listed
from harness.foreign import an_object
from harness.rundir.layout import RunDirectory, preflight_stamp, write_json, writing


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
