"""Analytics' conversation details query, and the search by participant attributes."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.simulator.frames import iso_ms
from harness.simulator.platform_access import guarded
from harness.simulator.platform_views import analytics, segments
from harness.simulator.rest import api_error, json_object, json_response
from harness.simulator.state import Conversation

if TYPE_CHECKING:
    from harness.simulator.service import Service

MAX_PAGE = 100
CONVERSATION_DIMENSIONS = frozenset(
    {"conversationEnd", "conversationId", "conversationStart", "originatingDirection"}
)
SEGMENT_DIMENSIONS = frozenset(
    {"mediaType", "messageType", "flowId", "queueId", "purpose", "direction", "disconnectType"}
    | {"cleared", "journeyCustomerId", "provider", "participantName", "segmentEnd", "segmentType"}
    | {"flowName", "remote", "addressFrom", "addressTo", "userId", "errorCode"}
)
OPERATORS = frozenset({"matches", "exists", "notExists"})


class BadQuery(Exception):
    """The query makes no sense; the text says why."""


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
    given = body.get("paging") or {}
    if not isinstance(given, dict):
        raise BadQuery("paging is expected as an object")
    size, number = given.get("pageSize", 25), given.get("pageNumber", 1)
    if type(size) is not int or type(number) is not int or not 1 <= size <= MAX_PAGE or number < 1:
        raise BadQuery(f"pageSize is 1 to {MAX_PAGE} and pageNumber from 1 on")
    return size, number


def _holds(predicate: object, fields: dict[str, Any], known: frozenset[str]) -> bool:
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
    return value is not None and _same(value, predicate.get("value"))


def _same(value: object, wanted: object) -> bool:
    return str(value).lower() == str(wanted).lower()


def passes(given: object, candidates: list[dict[str, Any]], known: frozenset[str]) -> bool:
    """Whether each filter holds for at least one candidate. Raises BadQuery."""
    if not isinstance(given, list):
        raise BadQuery("filters are expected as a list")
    for one in given:
        if not isinstance(one, dict) or one.get("type", "and") not in ("and", "or"):
            raise BadQuery("a filter is of type and, or or")
        predicates, clauses = one.get("predicates") or [], one.get("clauses") or []
        if not isinstance(predicates, list) or not isinstance(clauses, list):
            raise BadQuery("predicates and clauses are expected as lists")
        combine = any if one.get("type") == "or" else all
        for fields in candidates:
            results = [_holds(predicate, fields, known) for predicate in predicates]
            results += [passes([clause], [fields], known) for clause in clauses]
            if not results or combine(results):
                break
        else:
            return False
    return True


def details(service: "Service", body: dict[str, Any]) -> dict[str, Any]:
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
    as_of = service.now() - service.knobs.platform_lag_s
    days = (first.date(), last.date())
    passes(conversation_filters, [_nothing()], CONVERSATION_DIMENSIONS)
    passes(segment_filters, [_nothing()], SEGMENT_DIMENSIONS)
    found: list[Conversation] = []
    for conversation in service.conversations.values():
        if conversation.start > as_of:
            continue
        if not days[0] <= datetime.fromtimestamp(conversation.start, UTC).date() <= days[1]:
            continue
        fields = _conversation_fields(conversation, as_of)
        if conversation_filters and not passes(
            conversation_filters, [fields], CONVERSATION_DIMENSIONS
        ):
            continue
        if segment_filters:
            seen = [
                {**segment, "attributes": conversation.attributes}
                for _, segment in segments(service, conversation, as_of)
            ]
            if not passes(segment_filters, seen, SEGMENT_DIMENSIONS):
                continue
        found.append(conversation)
    found.sort(key=lambda one: one.start, reverse=order == "desc")
    page = found[(number - 1) * size : number * size]
    answer: dict[str, Any] = {"totalHits": len(found)}
    if page:
        answer["conversations"] = [analytics(service, one, as_of) for one in page]
    return answer


def _nothing() -> dict[str, Any]:
    """Stands in for a conversation where only the filter's own sense is checked."""
    return {"attributes": {}}


def _conversation_fields(conversation: Conversation, as_of: float) -> dict[str, Any]:
    over = conversation.over
    return {
        "conversationId": conversation.id,
        "conversationStart": iso_ms(conversation.start),
        "conversationEnd": iso_ms(over) if over is not None and over <= as_of else None,
        "originatingDirection": "inbound",
        "attributes": conversation.attributes,
    }


def attribute_search(service: "Service", body: dict[str, Any]) -> dict[str, Any]:
    """POST /api/v2/conversations/participants/attributes/search. Raises BadQuery."""
    query = body.get("query")
    if not isinstance(query, list) or not query:
        raise BadQuery("query is expected as a list")
    cursor = body.get("cursor")
    start = int(cursor) if isinstance(cursor, str) and cursor.isdecimal() else 0
    size = body.get("pageSize", 25)
    if type(size) is not int or not 1 <= size <= MAX_PAGE:
        raise BadQuery(f"pageSize is 1 to {MAX_PAGE}")
    prefix = service.knobs.attribute_prefix
    found: list[Conversation] = []
    more = False
    for conversation in service.conversations.values():
        if conversation.serial <= start:
            continue
        shown = {prefix + key: value for key, value in conversation.attributes.items()}
        if all(_fits(criterion, conversation, shown) for criterion in query):
            if len(found) == size:
                more = True
                break
            found.append(conversation)
    answer: dict[str, Any] = {
        "pageSize": size,
        "results": [
            {
                "conversationId": one.id,
                "startTime": iso_ms(one.start),
                "participantData": [
                    {
                        "participantId": one.customer.id if one.customer else None,
                        "participantPurpose": "customer",
                        "participantAttributes": {
                            prefix + key: value for key, value in one.attributes.items()
                        },
                    }
                ],
            }
            for one in found
        ],
    }
    if more:
        answer["cursor"] = str(found[-1].serial)
    return answer


def _fits(criterion: object, conversation: Conversation, shown: dict[str, str]) -> bool:
    if not isinstance(criterion, dict):
        raise BadQuery("a criterion is expected as an object")
    kind = criterion.get("type")
    if kind == "EXACT":
        fields = criterion.get("fields")
        if not isinstance(fields, list) or not fields:
            raise BadQuery("fields is expected as a list")
        return any(shown.get(str(field)) == criterion.get("value") for field in fields)
    if kind == "DATE_RANGE":
        at = datetime.fromtimestamp(conversation.start, UTC)
        return moment(criterion.get("startValue")) <= at <= moment(criterion.get("endValue"))
    raise BadQuery(f"type {kind!r} is not known; there are EXACT and DATE_RANGE")


def add_routes(app: web.Application, service: "Service") -> None:
    """Both queries."""

    def answering(work: Any, permission: str) -> Any:
        async def answer(request: web.Request) -> web.Response:
            body = await json_object(request)
            if body is None:
                return api_error(400, "bad.request", "The request could not be understood.")
            try:
                return json_response(work(service, body))
            except BadQuery as error:
                return api_error(400, "bad.request", str(error))

        return guarded(service, (permission,), answer)

    app.router.add_post(
        "/api/v2/analytics/conversations/details/query",
        answering(details, "analytics:conversationDetail:view"),
    )
    app.router.add_post(
        "/api/v2/conversations/participants/attributes/search",
        answering(attribute_search, "conversation:participant:attributesview"),
    )
