"""Conversations as the Platform API shows them: find what is open, whose it is, and end it.

The details query lags behind by an unknown time; the view of one conversation does not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from harness.errors import PlatformApiError
from harness.platform_api.client import PlatformApi

PAGE = 100
JOURNEYS = 50
"""Journey ids in one query; how many the service takes is not published."""
OVER = ("disconnected", "terminated")


T = TypeVar("T")


def where_allowed(query: Callable[..., T], *args: Any, **more: Any) -> T | None:
    """What a query gives; None where this client may not ask so, or the service knows no such."""
    try:
        return query(*args, **more)
    except PlatformApiError as error:
        if error.status not in (400, 403, 404):
            raise
        return None


class Standing(StrEnum):
    """How a conversation stands."""

    OPEN = "open"
    """the guest's leg is not over"""
    WRAP_UP = "wrap-up"
    """the guest is gone; an agent has still to close it. No leftover of ours"""
    ENDED = "ended"
    UNKNOWN = "unknown"
    """the service does not know it, or did not say"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One conversation of a query."""

    id: str
    standing: Standing
    started: str = ""
    agent: bool = False
    """whether an agent takes part and has not left"""
    journey: str = ""
    """the customer id that the guest gave in its journey context: its token (mapping inferred)"""


WEB_MESSAGING = {
    "type": "and",
    "predicates": [
        {"dimension": "mediaType", "value": "message"},
        {"dimension": "messageType", "value": "webmessaging"},
    ],
}
NOT_ENDED = {
    "type": "and",
    "predicates": [{"dimension": "conversationEnd", "operator": "notExists"}],
}


def open_conversations(api: PlatformApi, start: datetime, end: datetime) -> Iterator[Seen]:
    """All web messaging conversations that started on the days touched and have not ended."""
    return map(_seen, _details(api, start, end, conversations=[NOT_ENDED]))


def guests_gone(api: PlatformApi, start: datetime, end: datetime) -> Iterator[tuple[str, datetime]]:
    """Web messaging conversations whose guest's part is over: id and when, by the service's clock.

    An agent may still be in wrap-up. Those that analytics does not show yet are missing.
    """
    for one in _details(api, start, end):
        ends = [str(part.get("segmentEnd") or "") for part in _segments(one, "customer")]
        if ends and all(ends):
            with suppress(ValueError):
                yield str(one["conversationId"]), max(map(datetime.fromisoformat, ends))


def conversations_of_guests(
    api: PlatformApi, tokens: Sequence[str], start: datetime, end: datetime
) -> Iterator[Seen]:
    """The conversations of these guests by their journey ids, ended or not, fifty to a query."""
    for first in range(0, len(tokens), JOURNEYS):
        wanted = [
            {"dimension": "journeyCustomerId", "value": token}
            for token in tokens[first : first + JOURNEYS]
        ]
        either = {"type": "or", "predicates": wanted}
        yield from map(_seen, _details(api, start, end, segments=[either]))


def _details(
    api: PlatformApi,
    start: datetime,
    end: datetime,
    *,
    conversations: Sequence[Mapping[str, Any]] = (),
    segments: Sequence[Mapping[str, Any]] = (),
) -> Iterator[dict[str, Any]]:
    query = {
        "interval": interval(start, end),
        "order": "asc",
        "orderBy": "conversationStart",
        "conversationFilters": list(conversations),
        "segmentFilters": [WEB_MESSAGING, *segments],
    }
    number = 1
    while True:
        paging = {"pageSize": PAGE, "pageNumber": number}
        answer = api.post(
            "/api/v2/analytics/conversations/details/query", query | {"paging": paging}
        )
        page = answer.get("conversations") or []
        yield from page
        if len(page) < PAGE:
            return
        number += 1


def conversations_of_run(
    api: PlatformApi, run_id: str, start: datetime, end: datetime, *, prefix: str = ""
) -> dict[str, str]:
    """The run's conversations by the custom attributes that its guests sent: id → guest's tag."""
    query: dict[str, Any] = {
        "query": [
            {"type": "EXACT", "fields": [f"{prefix}runId"], "value": run_id},
            {
                "type": "DATE_RANGE",
                "fields": ["startTime"],
                "startValue": start.isoformat(),
                "endValue": end.isoformat(),
            },
        ],
        "pageSize": PAGE,
    }
    found: dict[str, str] = {}
    while True:
        answer = api.post("/api/v2/conversations/participants/attributes/search", query)
        for one in answer.get("results") or []:
            tags = [
                str(data["participantAttributes"][f"{prefix}guest"])
                for data in one.get("participantData") or []
                if f"{prefix}guest" in (data.get("participantAttributes") or {})
            ]
            found[str(one["conversationId"])] = tags[0] if tags else ""
        if not answer.get("cursor"):
            return found
        query["cursor"] = answer["cursor"]


def conversation_of_message(api: PlatformApi, message_id: str) -> str | None:
    """The conversation that a message belongs to; None if the service does not know it."""
    try:
        found = api.get(f"/api/v2/conversations/messages/{message_id}/details")
    except PlatformApiError as error:
        if error.status in (400, 404):
            return None
        raise
    return str(found["conversationId"]) if found.get("conversationId") else None


def standing_now(api: PlatformApi, conversation_id: str) -> Standing:
    """How one conversation stands at this moment, without analytics' lag."""
    try:
        found = api.get(f"/api/v2/conversations/messages/{conversation_id}")
    except PlatformApiError as error:
        if error.status == 404:
            return Standing.UNKNOWN
        raise
    legs = found.get("participants") or []
    if found.get("endTime") or (legs and all(leg.get("state") in OVER for leg in legs)):
        return Standing.ENDED
    customers = [leg for leg in legs if leg.get("purpose") == "customer"]
    if not customers:
        return Standing.UNKNOWN
    gone = all(leg.get("endTime") or leg.get("state") in OVER for leg in customers)
    return Standing.WRAP_UP if gone else Standing.OPEN


def disconnect(api: PlatformApi, conversation_id: str) -> Standing:
    """End a conversation for all who take part; how it stands afterwards.

    This ends what holds agents. The guest's session itself lapses by its time to live.
    """
    api.patch(f"/api/v2/conversations/messages/{conversation_id}", {"state": "disconnected"})
    return standing_now(api, conversation_id)


def observe(api: PlatformApi, *, queues: list[str], flows: list[str]) -> dict[str, int]:
    """Open conversations without ids: waiting, with an agent, in a flow. Org-wide counts."""
    found: dict[str, int] = {}
    for kind, dimension, ids, metrics in (
        ("queues", "queueId", queues, ["oWaiting", "oInteracting"]),
        ("flows", "flowId", flows, ["oFlow"]),
    ):
        if not ids:
            continue
        wanted = [{"dimension": dimension, "value": one} for one in ids]
        answer = api.post(
            f"/api/v2/analytics/{kind}/observations/query",
            {"filter": {"type": "or", "predicates": wanted}, "metrics": metrics},
        )
        for result in answer.get("results") or []:
            for entry in result.get("data") or []:
                metric = str(entry["metric"])
                found[metric] = found.get(metric, 0) + int(entry["stats"]["count"])
    return found


def interval(start: datetime, end: datetime) -> str:
    """``start/end`` as the queries want it."""
    return f"{_iso(start)}/{_iso(max(end, start + timedelta(seconds=1)))}"


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _segments(one: dict[str, Any], purpose: str) -> list[dict[str, Any]]:
    return [
        {**segment, "cleared": session.get("cleared")}
        for participant in one.get("participants") or []
        if participant.get("purpose") == purpose
        for session in participant.get("sessions") or []
        for segment in session.get("segments") or []
    ]


def _seen(one: dict[str, Any]) -> Seen:
    return Seen(
        id=str(one["conversationId"]),
        standing=_standing_in_analytics(one),
        started=str(one.get("conversationStart", "")),
        agent=_agent_in_analytics(one),
        journey=_journey_in_analytics(one),
    )


def _standing_in_analytics(one: dict[str, Any]) -> Standing:
    if one.get("conversationEnd"):
        return Standing.ENDED
    customer = _segments(one, "customer")
    gone = customer and all(part["cleared"] or part.get("segmentEnd") for part in customer)
    return Standing.WRAP_UP if gone else Standing.OPEN


def _journey_in_analytics(one: dict[str, Any]) -> str:
    for participant in one.get("participants") or []:
        for session in participant.get("sessions") or []:
            if found := session.get("journeyCustomerId"):
                return str(found)
    return ""


def _agent_in_analytics(one: dict[str, Any]) -> bool:
    return any(not part.get("segmentEnd") for part in _segments(one, "agent"))
