"""What one guest's visit has taught about a deployment, for runs, audits and sweeps to rely on.

Nobody outside the vendor knows these for a deployment that is not his: whether its flow greets, how
long it takes, under which names the service shows what. What could not be learnt is None.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Times are seconds. Fields that say ``shown`` are about what the Platform API shows."""

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

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of(cls, found: object) -> "Learned":
        """From JSON, by whatever version it was written; what does not fit is not known."""
        given = found if isinstance(found, Mapping) else {}
        values = {}
        for field in fields(cls):
            value = given.get(field.name)
            kinds = _KINDS[str(field.type)]
            if isinstance(value, kinds) and isinstance(value, bool) == (kinds is bool):
                values[field.name] = value
        return cls(**values)


_KINDS: dict[str, Any] = {
    "bool | None": bool,
    "int | None": int,
    "float | None": (int, float),
    "str | None": str,
}
