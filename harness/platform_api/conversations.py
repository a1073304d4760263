"""Conversations as the Platform API shows them: find what is open, whose it is, and end it.

The details query lags behind by an unknown time; the view of one conversation does not, but may be
denied. A guest's participant is ``customer`` in one view and ``external`` in another (measured by a
tool that is run against live organisations, "verified live 2026-07-28").
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from harness.errors import PlatformApiError
from harness.foreign import an_object, objects, text
from harness.platform_api.client import PlatformApi, listed
from harness.units import parse_iso

PAGE_SIZE = 100
IDS_PER_QUERY = 50
"""How many ids are put into one query; how many the service accepts is not published."""
GUESTS = ("customer", "external")
"""The purposes that the guest's participant may have."""
OVER = ("disconnected", "terminated")
HITS = "totalHits"
MOST_RESULTS = 100_000
"""Page numbers of the details query end there (a log collector's change log)."""
LONGEST_INTERVAL = timedelta(days=30)
"""The longest interval of one details query; with a filter the vendor allows 31 days."""
SEARCH_SLICE = timedelta(hours=4)
"""The longest interval of one search by attributes: the vendor advises it, and some regions refuse
24 h."""
CLOCKS_APART = timedelta(minutes=5)
"""How far the service's clock may be from ours."""
RUN_ATTRIBUTE = "runId"
GUEST_ATTRIBUTE = "guest"


T = TypeVar("T")


def result_or_none(query: Callable[..., T], *args: Any, **more: Any) -> T | None:
    """The result of a query; None if this client lacks the permission, or the service does not know
    what is asked for."""
    try:
        return query(*args, **more)
    except PlatformApiError as error:
        if not error.refused:
            raise
        return None


class ConversationState(StrEnum):
    OPEN = "open"
    """the guest's leg is not over"""
    WRAP_UP = "wrap-up"
    """the guest is gone; an agent has still to close it. No leftover of ours"""
    ENDED = "ended"
    UNKNOWN = "unknown"
    """the service does not know it, or did not say"""

    @property
    def over(self) -> bool:
        """Whether the guest's part is over, so that no agent is occupied by it."""
        return self in (ConversationState.ENDED, ConversationState.WRAP_UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One conversation of a details query."""

    id: str
    state: ConversationState
    started: str = ""
    agent: bool = False
    """whether an agent takes part and has not left"""
    journey: str = ""
    """the customer id that the guest gave in its journey context (the mapping is inferred)"""
    cleared: bool = False
    """analytics' own word that the guest has cleared it"""
    gone: datetime | None = None
    """when the guest's part was over, by the service's clock"""
    purpose: str = ""
    """what the guest's participant is called"""


class Tagged(NamedTuple):
    """A conversation that a search by attributes has found for a run."""

    guest: str
    """the guest's tag; empty if it sent none"""
    prefix: str
    """what the service puts before the names of attributes"""
    purpose: str


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
CLEARED = {"type": "and", "predicates": [{"dimension": "cleared", "value": "true"}]}


def ignore_left_out(_: int) -> None:
    """The default of ``on_left_out``: do nothing."""


def open_conversations(
    api: PlatformApi,
    start: datetime,
    end: datetime,
    *,
    on_left_out: Callable[[int], None] = ignore_left_out,
) -> Iterator[Seen]:
    """All web messaging conversations that started on the days touched and have not ended.

    ``on_left_out`` hears how many the service counts and does not give: it gives no more than
    100,000, and may leave out pages or repeat them.
    """
    return _details(api, start, end, conversations=[NOT_ENDED], on_left_out=on_left_out)


def cleared_total(api: PlatformApi, start: datetime, end: datetime) -> int:
    """How many conversations of these days their guests have cleared, whoever's they are.

    Analytics counts them without reading any: a total that owes nothing to a ledger.
    """
    return sum(
        _total(_page(api, first, last, 1, size=1, segments=[CLEARED]))
        for first, last in _slices(start, end, LONGEST_INTERVAL)
    )


def conversations_of_guests(
    api: PlatformApi, journeys: Sequence[str], start: datetime, end: datetime
) -> Iterator[Seen]:
    """The conversations of these guests by their journey ids, ended or not, fifty to a query."""
    for either in _any_of("journeyCustomerId", journeys):
        yield from _details(api, start, end, segments=[either])


def conversations_by_id(
    api: PlatformApi, ids: Sequence[str], start: datetime, end: datetime
) -> Iterator[Seen]:
    """These conversations as analytics shows them, ended or not, fifty to a query.

    One that is shown twice, and not as ended both times, is given as it is shown as open.
    """
    for either in _any_of("conversationId", ids):
        seen: dict[str, Seen] = {}
        for one in _details(api, start, end, conversations=[either]):
            if one.id in ids and (one.id not in seen or not one.state.over):
                seen[one.id] = one
        yield from seen.values()


def _total(answer: Mapping[str, Any]) -> int:
    listed(answer, HITS)
    return _count(answer.get(HITS))


def _any_of(dimension: str, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Filters for the ids, a part of them at a time."""
    for first in range(0, len(ids), IDS_PER_QUERY):
        some = ids[first : first + IDS_PER_QUERY]
        yield {"type": "or", "predicates": [{"dimension": dimension, "value": one} for one in some]}


def _details(
    api: PlatformApi,
    start: datetime,
    end: datetime,
    *,
    conversations: Sequence[Mapping[str, Any]] = (),
    segments: Sequence[Mapping[str, Any]] = (),
    on_left_out: Callable[[int], None] = ignore_left_out,
) -> Iterator[Seen]:
    """Page by page; more than the service gives of an interval is asked for day by day.

    One that is shown both as ended and as not ended is given twice. A page with nothing new is the
    last one, whatever the service counts.
    """
    known: set[tuple[str, bool]] = set()  # intervals touch whole days: some would come twice
    spans = list(_slices(start, end, LONGEST_INTERVAL))
    while spans:
        first, last = spans.pop(0)
        number, received = 1, set[str]()
        while True:
            answer = _page(
                api,
                first,
                last,
                number,
                size=PAGE_SIZE,
                conversations=conversations,
                segments=segments,
            )
            page, total = listed(answer, "conversations", HITS), _count(answer.get(HITS))
            if number == 1 and total > MOST_RESULTS and last - first > timedelta(days=1):
                spans[:0] = _slices(first, last, timedelta(days=1))
                break
            before = len(received)
            for one in page:
                key = one.get("conversationId")
                if isinstance(key, str):
                    received.add(key)
                    seen = _seen(one)
                    if (key, seen.state.over) not in known:
                        known.add((key, seen.state.over))
                        yield seen
            number += 1
            if len(received) >= total if total else len(page) < PAGE_SIZE:
                break
            if len(received) == before or number * PAGE_SIZE > MOST_RESULTS:
                if total > len(received):
                    on_left_out(total - len(received))
                break


def _page(
    api: PlatformApi,
    start: datetime,
    end: datetime,
    number: int,
    *,
    size: int,
    conversations: Sequence[Mapping[str, Any]] = (),
    segments: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    query = {
        "interval": interval(start, end),
        "order": "asc",
        "orderBy": "conversationStart",
        "conversationFilters": list(conversations),
        "segmentFilters": [WEB_MESSAGING, *segments],
        "paging": {"pageSize": size, "pageNumber": number},
    }
    return api.post("/api/v2/analytics/conversations/details/query", query)


def _slices(
    start: datetime, end: datetime, longest: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    while end - start > longest:
        yield start, start + longest
        start += longest
    yield start, end


def conversations_of_run(
    api: PlatformApi,
    run_id: str,
    start: datetime,
    end: datetime,
    *,
    on_no_end: Callable[[], None] = lambda: None,
) -> dict[str, Tagged]:
    """The run's conversations by the custom attributes that its guests sent, by their ids.

    The service can't search for an attribute (400, "Search not supported."): it lists what began in
    a span of time, and the run's are picked out here, whatever stands before their names.
    ``on_no_end`` is called if the list repeats itself or goes on after 2,000 pages: it is cut then.
    """
    by_id: dict[str, Tagged] = {}
    for first, last in _slices(start, end, SEARCH_SLICE):
        query: dict[str, Any] = {
            "query": [
                {
                    "type": "DATE_RANGE",
                    "fields": ["startTime"],
                    "startValue": _iso(first),
                    "endValue": _iso(last),
                }
            ]
        }
        cursors: set[str] = set()
        while True:
            answer = api.post("/api/v2/conversations/participants/attributes/search", query)
            page = listed(answer, "results")
            for one in page:
                tagged, key = _tagged(one, run_id), one.get("conversationId")
                if tagged is not None and isinstance(key, str):
                    by_id[key] = tagged
            cursor = answer.get("cursor")
            if not isinstance(cursor, str) or not cursor or (not page and cursor in cursors):
                break
            if cursor in cursors or len(cursors) * IDS_PER_QUERY >= MOST_RESULTS:
                on_no_end()
                break
            cursors.add(cursor)
            query["cursor"] = cursor
    return by_id


def _tagged(one: dict[str, Any], run_id: str) -> Tagged | None:
    for data in objects(one.get("participantData")):
        attributes = an_object(data.get("participantAttributes"))
        for name, value in attributes.items():
            if value == run_id and name.endswith(RUN_ATTRIBUTE):
                prefix = name.removesuffix(RUN_ATTRIBUTE)
                tag = str(attributes.get(prefix + GUEST_ATTRIBUTE) or "")
                return Tagged(tag, prefix, str(data.get("participantPurpose") or ""))
    return None


def conversation_of_message(api: PlatformApi, message_id: str) -> str | None:
    """The conversation that a message belongs to; None if the service does not know it."""
    try:
        details = api.get(f"{_path(message_id)}/details")
    except PlatformApiError as error:
        if error.status in (400, 404):
            return None
        raise
    return text(details.get("conversationId")) or None


class Look(NamedTuple):
    """The present state of a single conversation."""

    state: ConversationState
    purpose: str = ""
    """what the guest's participant is called; empty if there is none"""


def look_now(api: PlatformApi, conversation_id: str) -> Look:
    """One conversation at this moment, without analytics' lag; unknown where it isn't shown.

    Neither view of the vendor's definition has an end of the whole: each participant has its own.
    """
    conversation = result_or_none(api.get, _path(conversation_id)) or {}
    legs = objects(conversation.get("participants"))
    guests = [leg for leg in legs if str(leg.get("purpose")) in GUESTS]
    purpose = str(guests[0]["purpose"]) if guests else ""
    which = text(conversation.get("id")) or conversation_id
    if not guests or which.lower() != conversation_id.lower():
        return Look(ConversationState.UNKNOWN)  # the others' ends say nothing of the guest's
    if all(_is_over(leg) for leg in legs):
        return Look(ConversationState.ENDED, purpose)
    gone = all(_is_over(leg) for leg in guests)
    return Look(ConversationState.WRAP_UP if gone else ConversationState.OPEN, purpose)


def state_now(api: PlatformApi, conversation_id: str) -> ConversationState:
    return look_now(api, conversation_id).state


def disconnect(api: PlatformApi, conversation_id: str) -> None:
    """Ask for the end of a conversation for all who take part; the effect may come later.

    This ends what holds agents. The guest's session itself lapses by its time to live.
    """
    api.patch(_path(conversation_id), {"state": "disconnected"})


def _path(conversation_or_message: str) -> str:
    return f"/api/v2/conversations/messages/{quote(conversation_or_message, safe='')}"


def observe(api: PlatformApi, *, queues: list[str], flows: list[str]) -> dict[str, int]:
    """Open conversations without ids: waiting, with an agent, in a flow. Org-wide counts."""
    counts: dict[str, int] = {}
    for kind, dimension, ids, metrics in (
        ("queues", "queueId", queues, ["oWaiting", "oInteracting"]),
        ("flows", "flowId", flows, ["oFlow"]),
    ):
        if not ids:
            continue
        wanted = [{"dimension": dimension, "value": one} for one in ids]
        of_media = {"dimension": "mediaType", "value": "message"}
        clauses = [
            {"type": "or", "predicates": wanted},
            {"type": "and", "predicates": [of_media]},  # calls wait in queues, too
        ]
        answer = api.post(
            f"/api/v2/analytics/{kind}/observations/query",
            {"filter": {"type": "and", "clauses": clauses}, "metrics": metrics},
        )
        for result in listed(answer, "results"):
            for entry in objects(result.get("data")):
                metric, stats = entry.get("metric"), an_object(entry.get("stats"))
                if isinstance(metric, str):
                    counts[metric] = counts.get(metric, 0) + _count(stats.get("count"))
    return counts


def interval(start: datetime, end: datetime) -> str:
    """``start/end`` as the queries want it."""
    return f"{_iso(start)}/{_iso(max(end, start + timedelta(seconds=1)))}"


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _is_over(leg: Mapping[str, Any]) -> bool:
    """A leg with an end that is still connected has not ended."""
    state = leg.get("state")
    return state.lower() in OVER if isinstance(state, str) else _end_of(leg) is not None


def _end_of(
    what: Mapping[str, Any], end: str = "endTime", start: str = "startTime"
) -> datetime | None:
    """When it ended; None if no time is given, one that is to come, or one before its start."""
    at, began = _moment(what.get(end)), _moment(what.get(start))
    if at is None or at > datetime.now(UTC) + CLOCKS_APART:
        return None
    return None if began is not None and at < began else at


def _moment(value: object) -> datetime | None:
    with suppress(ValueError):
        return parse_iso(value) if isinstance(value, str) else None
    return None


def _seen(one: dict[str, Any]) -> Seen:
    guest = _sessions(one, GUESTS)
    cleared = any(session.get("cleared") is True for session in guest)
    ends = [end for session in guest for end in _ends(session)]
    purposes = [str(part.get("purpose")) for part in objects(one.get("participants"))]
    return Seen(
        id=str(one["conversationId"]),
        state=_state_in_analytics(one, guest),
        started=str(one.get("conversationStart", "")),
        agent=any(None in _ends(session) for session in _sessions(one, ["agent"])),
        journey=_journey_in_analytics(one),
        cleared=cleared,
        gone=max([end for end in ends if end], default=None) if None not in ends else None,
        purpose=next((name for name in purposes if name in GUESTS), ""),
    )


def _state_in_analytics(
    one: Mapping[str, Any], guest: Sequence[Mapping[str, Any]]
) -> ConversationState:
    if _end_of(one, "conversationEnd", "conversationStart") is not None:
        return ConversationState.ENDED
    gone = guest and all(
        session.get("cleared") is True or None not in _ends(session) for session in guest
    )
    return ConversationState.WRAP_UP if gone else ConversationState.OPEN


def _sessions(one: Mapping[str, Any], purposes: Sequence[str]) -> list[dict[str, Any]]:
    return [
        session
        for participant in objects(one.get("participants"))
        if str(participant.get("purpose")) in purposes
        for session in objects(participant.get("sessions"))
    ]


def _ends(session: Mapping[str, Any]) -> list[datetime | None]:
    """When each segment of a session ended; None for what has not ended, or can't be read."""
    segments = session.get("segments")
    parts = segments if isinstance(segments, list) else []
    return [_end_of(an_object(part), "segmentEnd", "segmentStart") for part in parts] or [None]


def _journey_in_analytics(one: dict[str, Any]) -> str:
    for participant in objects(one.get("participants")):
        for session in objects(participant.get("sessions")):
            if customer_id := session.get("journeyCustomerId"):
                return str(customer_id)
    return ""
