"""Analytics' conversation details query, and the search by participant attributes."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.simulator.frames import iso_ms
from harness.simulator.platform_api.conversations import (
    analytics,
    attributes_of,
    purpose_of,
    segments,
)
from harness.simulator.rest import (
    api_error,
    division_of,
    guarded,
    json_object,
    json_response,
    may_view,
)
from harness.simulator.truth import Conversation

if TYPE_CHECKING:
    from harness.simulator.service import Service
    from harness.simulator.settings import Knobs

MAX_PAGE = 100
CONVERSATION_DIMENSIONS = frozenset(
    {"conversationEnd", "conversationId", "conversationStart", "originatingDirection"}
    | {"conversationInitiator", "customerParticipation", "divisionId", "externalTag"}
)
SEARCHED = frozenset({"conversationId", "startTime", "endTime", "divisionId"})
"""What the search by attributes can search: none of them is an attribute."""
SEARCH_KEEPS_S = 30 * 86_400
SEGMENT_DIMENSIONS = frozenset(
    {"mediaType", "messageType", "flowId", "queueId", "purpose", "direction", "disconnectType"}
    | {"cleared", "journeyCustomerId", "provider", "participantName", "segmentEnd", "segmentType"}
    | {"flowName", "remote", "addressFrom", "addressTo", "userId", "errorCode"}
    | {"authenticated", "journeyCustomerSessionId", "exitReason", "externalContactId"}
    | {"destinationAddress"}
)
OPERATORS = frozenset({"matches", "exists", "notExists"})


Sees = Callable[[Conversation], bool]


class BadQuery(Exception):
    """The query is invalid; the text is the reason."""


def moment(text: object) -> datetime:
    """An ISO time with zone. Raises BadQuery."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise BadQuery(f"{text!r} is not an ISO time") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def interval(text: object) -> tuple[datetime, datetime]:
    """``start/end``. Raises BadQuery."""
    start, slash, end = str(text).partition("/")
    if not slash:
        raise BadQuery("interval is expected as start/end")
    first, last = moment(start), moment(end)
    if last <= first:
        raise BadQuery("interval ends before it starts")
    return first, last


def paging(body: dict[str, Any]) -> tuple[int, int]:
    """(size, number). Raises BadQuery."""
    page = body.get("paging") or {}
    if not isinstance(page, dict):
        raise BadQuery("paging is expected as an object")
    size, number = page.get("pageSize", 25), page.get("pageNumber", 1)
    if type(size) is not int or type(number) is not int or not 1 <= size <= MAX_PAGE or number < 1:
        raise BadQuery(f"pageSize is 1 to {MAX_PAGE} and pageNumber from 1 on")
    return size, number


def _matches(predicate: object, fields: dict[str, Any], known: frozenset[str]) -> bool:
    if not isinstance(predicate, dict):
        raise BadQuery("a predicate is expected as an object")
    operator = predicate.get("operator") or "matches"
    if operator not in OPERATORS:
        raise BadQuery(f"operator {operator!r} is not known")
    if predicate.get("type") == "property":
        key = predicate.get("property")
        value = fields["attributes"].get(key)
    else:
        dimension = predicate.get("dimension")
        if not isinstance(dimension, str) or dimension not in known:
            raise BadQuery(f"dimension {dimension!r} is not known here")
        value = fields.get(dimension)
    if operator != "matches":
        return (value is not None) == (operator == "exists")
    return value is not None and str(value).lower() == str(predicate.get("value")).lower()


def passes(filters: object, candidates: list[dict[str, Any]], known: frozenset[str]) -> bool:
    """Whether each filter holds for at least one candidate. Raises BadQuery."""
    if not isinstance(filters, list):
        raise BadQuery("filters are expected as a list")
    for one in filters:
        if not isinstance(one, dict) or one.get("type", "and") not in ("and", "or"):
            raise BadQuery("a filter is of type and, or or")
        predicates, clauses = one.get("predicates") or [], one.get("clauses") or []
        if not isinstance(predicates, list) or not isinstance(clauses, list):
            raise BadQuery("predicates and clauses are expected as lists")
        combine = any if one.get("type") == "or" else all
        for fields in candidates:
            results = [_matches(predicate, fields, known) for predicate in predicates]
            results += [passes([clause], [fields], known) for clause in clauses]
            if not results or combine(results):
                break
        else:
            return False
    return True


def details(service: "Service", body: dict[str, Any], sees: Sees) -> dict[str, Any]:
    """POST /api/v2/analytics/conversations/details/query. Raises BadQuery.

    An interval selects conversations that started on a day it touches, as the vendor states.
    """
    first, last = interval(body.get("interval"))
    size, number = paging(body)
    order = body.get("order", "asc")
    if order not in ("asc", "desc"):
        raise BadQuery("order is asc or desc")
    conversation_filters = body.get("conversationFilters") or []
    segment_filters = body.get("segmentFilters") or []
    knobs = service.knobs
    filtered = conversation_filters or segment_filters
    longest = knobs.longest_interval_s if filtered else knobs.unfiltered_interval_s
    if longest and (last - first).total_seconds() > longest:
        raise BadQuery(f"the interval may not exceed {longest / 86_400:g} days")
    if knobs.most_results and size * number > knobs.most_results:
        raise BadQuery(f"Pagination may not exceed {knobs.most_results} results")
    as_of = service.now() - knobs.platform_lag_s
    days = (first.date(), last.date())
    nothing: list[dict[str, Any]] = [
        {"attributes": {}}
    ]  # they have to make sense also where there is no conversation
    passes(conversation_filters, nothing, CONVERSATION_DIMENSIONS)
    passes(segment_filters, nothing, SEGMENT_DIMENSIONS)
    matches: list[Conversation] = []
    for conversation in service.conversations.values():
        if conversation.start > as_of or not sees(conversation):
            continue
        if not days[0] <= datetime.fromtimestamp(conversation.start, UTC).date() <= days[1]:
            continue
        fields = _conversation_fields(service, conversation, as_of)
        if not passes(conversation_filters, [fields], CONVERSATION_DIMENSIONS):
            continue
        if segment_filters:
            seen = [
                {
                    **session,
                    **segment,
                    "purpose": purpose_of(service, one),
                    "participantName": one.name,
                    "attributes": conversation.attributes,
                }
                for one, session, segment in segments(service, conversation, as_of)
            ]
            if not passes(segment_filters, seen, SEGMENT_DIMENSIONS):
                continue
        matches.append(conversation)
    matches.sort(key=lambda one: one.start, reverse=order == "desc")
    page = matches[(number - 1) * size : number * size]
    answer: dict[str, Any] = {"totalHits": len(matches)}
    if page:
        answer["conversations"] = [analytics(service, one, as_of) for one in page]
    return answer


def _conversation_fields(
    service: "Service", conversation: Conversation, as_of: float
) -> dict[str, Any]:
    over = conversation.over
    return {
        "conversationId": conversation.id,
        "conversationStart": iso_ms(conversation.start),
        "conversationEnd": iso_ms(over) if over is not None and over <= as_of else None,
        "originatingDirection": "inbound",
        "divisionId": division_of(service, conversation),
        "attributes": conversation.attributes,
    }


def attribute_search(service: "Service", body: dict[str, Any], sees: Sees) -> dict[str, Any]:
    """POST /api/v2/conversations/participants/attributes/search. Raises BadQuery.

    Attributes can't be searched for: conversations are found by id, start, end and division, and
    whoever asks picks them out by their attributes. Only those that have attributes are listed.
    """
    query = body.get("query")
    if not isinstance(query, list) or not query:
        raise BadQuery("query is expected as a list")
    knobs = service.knobs
    for criterion in query:
        _check_criterion(criterion, knobs)
    cursor = body.get("cursor")
    start = int(cursor) if isinstance(cursor, str) and cursor.isdecimal() else 0
    now = service.now()
    matches: list[Conversation] = []
    more = False
    for conversation in service.conversations.values():
        if (
            conversation.serial <= start
            or not conversation.attributes
            or not now - SEARCH_KEEPS_S < conversation.start <= now - knobs.search_lag_s
            or not sees(conversation)
        ):
            continue
        fields = _searched(service, conversation) | attributes_of(service, conversation)
        if all(_fits(criterion, fields) for criterion in query):
            if len(matches) == knobs.search_page:
                more = True
                break
            matches.append(conversation)
    answer: dict[str, Any] = {"results": [_row(service, one) for one in matches]}
    if more:
        answer["cursor"] = str(matches[-1].serial)
    return answer


def _row(service: "Service", one: Conversation) -> dict[str, Any]:
    fields = _searched(service, one)
    guest = one.customer.id if one.customer else None
    return {
        **{key: value for key, value in fields.items() if key.endswith("Time") and value},
        "conversationId": one.id,
        "divisionIds": [fields["divisionId"]],
        "participantData": [
            {
                "participantId": guest,
                "participantPurpose": service.knobs.purpose_in_search,
                "participantAttributes": attributes_of(service, one),
                "sessionIds": [guest],
            }
        ],
        "truncatedData": False,
    }


def _searched(service: "Service", one: Conversation) -> dict[str, Any]:
    return {
        "conversationId": one.id,
        "startTime": iso_ms(one.start),
        "endTime": None if one.over is None else iso_ms(one.over),
        "divisionId": division_of(service, one),
    }


def _check_criterion(criterion: object, knobs: "Knobs") -> None:
    if not isinstance(criterion, dict):
        raise BadQuery("a criterion is expected as an object")
    kind, fields = criterion.get("type"), criterion.get("fields")
    if kind not in ("EXACT", "DATE_RANGE"):
        raise BadQuery(f"type {kind!r} is not known; there are EXACT and DATE_RANGE")
    if not isinstance(fields, list) or not fields:
        raise BadQuery("fields is expected as a list")
    if knobs.search_fields == "documented" and not SEARCHED.issuperset(map(str, fields)):
        raise BadQuery("Search not supported.")
    if kind == "DATE_RANGE":
        first, last = moment(criterion.get("startValue")), moment(criterion.get("endValue"))
        if knobs.search_span_s and (last - first).total_seconds() > knobs.search_span_s:
            raise BadQuery(f"a range may not exceed {knobs.search_span_s / 3600:g} hours")


def _fits(criterion: dict[str, Any], fields: dict[str, Any]) -> bool:
    values = [fields.get(str(field)) for field in criterion["fields"]]
    if criterion["type"] == "EXACT":
        return any(value is not None and value == criterion.get("value") for value in values)
    first, last = moment(criterion.get("startValue")), moment(criterion.get("endValue"))
    return any(value is not None and first <= moment(value) <= last for value in values)


def add_routes(app: web.Application, service: "Service") -> None:

    def answering(work: Any, *permissions: str) -> Any:
        async def answer(request: web.Request) -> web.Response:
            body = await json_object(request)
            if body is None:
                return api_error(400, "bad.request", "The request could not be understood.")
            try:
                page = work(service, body, lambda one: may_view(service, request, one))
                return json_response(page)
            except BadQuery as error:
                return api_error(400, "bad.request", str(error))

        return guarded(service, permissions, answer)

    app.router.add_post(
        "/api/v2/analytics/conversations/details/query",
        answering(
            details, "analytics:conversationDetail:view", "analytics:agentConversationDetail:view"
        ),
    )
    app.router.add_post(
        "/api/v2/conversations/participants/attributes/search",
        answering(attribute_search, "conversation:participant:attributesview"),
    )
