"""Conversations over the Platform API: single ones, looked at and ended, and counts without ids.

Each is shown live, as a message conversation, and in analytics.

Analytics lags: it shows the state of ``platform_lag_s`` ago, so a conversation that has just ended
still looks open there.
Counts are queue and flow observations; the organisation's limits and threading are here too.
"""

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.foreign import inner, objects
from harness.simulator.conversing import disconnect_conversation
from harness.simulator.frames import iso_ms
from harness.simulator.rest import Answer, api_error, guarded, json_object, json_response, may_view
from harness.simulator.truth import Conversation, Participant

if TYPE_CHECKING:
    from harness.simulator.service import Service


def attributes_of(service: "Service", conversation: Conversation) -> dict[str, str]:
    """Its custom attributes as the API names them."""
    prefix = service.knobs.attribute_prefix
    return {prefix + key: value for key, value in conversation.attributes.items()}


def _leg(service: "Service", conversation: Conversation, one: Participant) -> dict[str, Any]:
    settings = service.deployments[conversation.deployment_id].settings
    guest = one.purpose == "customer"
    leg: dict[str, Any] = {
        "id": one.id,
        "purpose": service.knobs.purpose_in_conversation if guest else one.purpose,
        "startTime": iso_ms(one.start),
        "state": one.state.value,
        "direction": "inbound",
        "attributes": attributes_of(service, conversation) if guest else {},
    }
    if one.end is not None:
        leg |= {"endTime": iso_ms(one.end), "disconnectType": one.disconnect_type}
    if one.purpose in ("acd", "agent"):
        leg["queueId"] = settings.queue_id
    if one.purpose == "agent":
        leg["participantName"] = one.name
    return leg


def live(service: "Service", conversation: Conversation) -> dict[str, Any]:
    """GET /api/v2/conversations/{id}."""
    participants = [
        {
            **{key: value for key, value in leg.items() if key not in ("state", "disconnectType")},
            "messages": [
                {
                    "id": leg["id"],
                    "state": leg["state"],
                    "type": "webmessaging",
                    "disconnectType": leg.get("disconnectType"),
                }
            ],
        }
        for leg in (_leg(service, conversation, one) for one in conversation.participants)
    ]
    return {"id": conversation.id, **_times(conversation), "participants": participants}


def _times(conversation: Conversation) -> dict[str, str]:
    over = conversation.over
    end = {} if over is None else {"endTime": iso_ms(over)}
    return {"startTime": iso_ms(conversation.start), **end}


def message_conversation(service: "Service", conversation: Conversation) -> dict[str, Any]:
    """GET /api/v2/conversations/messages/{id}: each participant's state at its top.

    The vendor's definition of it has neither a start nor an end of the whole (knob).
    """
    times = _times(conversation) if service.knobs.direct_times else {}
    participants = [
        {**_leg(service, conversation, one), "type": "webmessaging"}
        for one in conversation.participants
    ]
    return {"id": conversation.id, **times, "participants": participants}


def message(conversation: Conversation, number: int, message_id: str) -> dict[str, Any]:
    """GET /api/v2/conversations/messages/{messageId}/details."""
    return {
        "id": message_id,
        "conversationId": conversation.id,
        "messengerType": "webmessaging",
        "status": "delivery-success",
        "number": number,
    }


def segments(
    service: "Service", conversation: Conversation, as_of: float
) -> Iterator[tuple[Participant, dict[str, Any], dict[str, Any]]]:
    """Every participant with the fields of its session and of its segment, as of a moment."""
    settings = service.deployments[conversation.deployment_id].settings
    for one in conversation.participants:
        if one.start > as_of:
            continue
        over = one.end is not None and one.end <= as_of
        session: dict[str, Any] = {
            "mediaType": "message",
            "messageType": "webmessaging",
            "direction": "inbound",
            "provider": "PureCloud Webmessaging",
        }
        segment: dict[str, Any] = {"segmentType": "interact", "segmentStart": iso_ms(one.start)}
        if one.purpose == "customer":
            session["cleared"] = conversation.cleared and over
            if conversation.journey_customer_id and service.knobs.journey_shown:
                session["journeyCustomerId"] = conversation.journey_customer_id
        if one.purpose == "workflow":
            segment["flowId"] = settings.flow_id
        else:
            segment["queueId"] = settings.queue_id
        if one.end is not None and over:
            segment |= {"segmentEnd": iso_ms(one.end), "disconnectType": one.disconnect_type}
        yield one, session, segment


def purpose_of(service: "Service", one: Participant) -> str:
    """What analytics calls a participant."""
    return service.knobs.purpose_in_analytics if one.purpose == "customer" else one.purpose


def analytics(service: "Service", conversation: Conversation, as_of: float) -> dict[str, Any]:
    """One conversation of a details query."""
    view: dict[str, Any] = {
        "conversationId": conversation.id,
        "conversationStart": iso_ms(conversation.start),
        "originatingDirection": "inbound",
        "participants": [
            {
                "participantId": one.id,
                "purpose": purpose_of(service, one),
                "sessions": [{**session, "sessionId": one.id, "segments": [segment]}],
            }
            for one, session, segment in segments(service, conversation, as_of)
        ],
    }
    over = conversation.over
    if over is not None and over <= as_of:
        view["conversationEnd"] = iso_ms(over)
    return view


BASE = "/api/v2/conversations"


def _missing(code: str = "conversation.error.conversation.not.found") -> web.Response:
    return api_error(404, code, "The requested resource was not found.")


def add_routes(app: web.Application, service: "Service") -> None:
    """GET, PATCH and POST on conversations and their messages."""

    def find(request: web.Request) -> Conversation | None:
        known = service.conversations.find(request.match_info["id"])
        if known is None or known[1] or not may_view(service, request, known[0]):
            return None
        return known[0]

    def end(one: Conversation, how: str) -> None:
        service.later(service.knobs.disconnect_lag_s, disconnect_conversation, service, one, how)

    def shown(form: Callable[["Service", Conversation], dict[str, Any]]) -> Answer:
        async def answer(request: web.Request) -> web.Response:
            one = find(request) if service.knobs.direct_view == "shown" else None
            return _missing() if one is None else json_response(form(service, one))

        return answer

    async def details(request: web.Request) -> web.Response:
        message_id = request.match_info["id"]
        form = service.knobs.message_id_form
        known = service.conversations.find(message_id)
        wrong_form = form != "any" and ("-" in message_id) != (form == "uuid")
        if known is None or known[1] == 0 or wrong_form or not may_view(service, request, known[0]):
            return _missing("not.found")
        return json_response(message(*known, message_id))

    async def asks_to_disconnect(request: web.Request) -> bool:
        return bool(inner(await json_object(request), "state") == "disconnected")

    async def patch(request: web.Request) -> web.Response:
        one = find(request)
        if one is None:
            return _missing()
        if not await asks_to_disconnect(request):
            return api_error(400, "bad.request", "state: only disconnected is possible here")
        end(one, "system")
        return json_response(message_conversation(service, one))

    async def patch_participant(request: web.Request) -> web.Response:
        one = find(request)
        wanted = request.match_info["participant"]
        legs = [leg for leg in one.participants if leg.id == wanted] if one else []
        if one is None or not legs:
            return _missing()
        if not await asks_to_disconnect(request):
            return api_error(400, "bad.request", "state: only disconnected is possible here")
        if legs[0].purpose == "agent" and not one.open:
            service.agents.wrapped_up(one)
        elif legs[0].end is None:
            end(one, "peer")
        return web.Response(status=202)

    async def disconnect(request: web.Request) -> web.Response:
        one = find(request)
        if one is None:
            return _missing()
        end(one, "system")
        return web.Response(status=202)

    look = ("conversation:communication:view",)
    see = ("conversation:message:view", "conversation:webmessaging:view")
    may_end = ("conversation:communication:disconnect", "conversation:message:park")
    _add_counts(app, service)
    add = app.router.add_route
    add("GET", BASE + "/messages/{id}", guarded(service, (), shown(message_conversation)))
    add("GET", BASE + "/messages/{id}/details", guarded(service, see, details))
    add("PATCH", BASE + "/messages/{id}", guarded(service, may_end, patch))
    add(
        "PATCH",
        BASE + "/messages/{id}/participants/{participant}",
        guarded(service, may_end, patch_participant),
    )
    add("GET", BASE + "/{id}", guarded(service, look, shown(live)))
    add("POST", BASE + "/{id}/disconnect", guarded(service, may_end[:1], disconnect))


QUEUE_METRICS = ("oWaiting", "oInteracting")
FLOW_METRICS = ("oFlow",)
LIMITS = {  # the documented key → our limit
    "messages.per.session.rate.per.second": "messages_per_session_per_second",
    "requests.per.connection.rate.per.minute": "requests_per_connection_per_minute",
    "configure.per.session.rate.per.minute": "configures_per_session_per_minute",
    "connections.rate.per.minute": "connections_per_minute",
    "get.history.rate.per.minute": "history_per_session_per_minute",
    "health.check.per.connection.rate.per.minute": "health_checks_per_connection_per_minute",
    "session.connections.max": "connections_per_session",
    "metadata.custom.attributes.bytes.max": "attribute_bytes",
}


def _wanted(body: dict[str, Any], dimension: str) -> set[str]:
    """The values that the filter and its clauses ask for in one dimension; empty: all."""
    filters, values = objects([body.get("filter")]), set()
    for one in filters:
        filters += objects(one.get("clauses"))
        for predicate in objects(one.get("predicates")):
            if predicate.get("dimension") == dimension:
                values.add(str(predicate.get("value")))
    return values


def _stage(conversation: Conversation) -> str:
    """Where it is: with the bot, waiting for an agent, or with one (wrap-up does not count)."""
    if conversation.waiting:
        return "oWaiting"
    return "oFlow" if conversation.agent is None else "oInteracting"


def observe(
    service: "Service", body: dict[str, Any], dimension: str, metrics: tuple[str, ...]
) -> dict[str, Any]:
    """Counts of open conversations by queue or flow."""
    counts: dict[tuple[str, str], int] = {}
    group_of = attrgetter({"queueId": "queue_id", "flowId": "flow_id"}[dimension])
    wanted = _wanted(body, dimension)
    for deployment in service.deployments.values():
        group = group_of(deployment.settings)
        if not wanted or group in wanted:
            counts.update({(group, metric): 0 for metric in metrics})
    for conversation in service.conversations.values():
        if conversation.open:
            settings = service.deployments[conversation.deployment_id].settings
            key = (group_of(settings), _stage(conversation))
            if key in counts:
                counts[key] += 1
    shown = [metric for metric in metrics if metric in (body.get("metrics") or metrics)]
    media = _wanted(body, "mediaType")
    others = service.knobs.other_media
    results = []
    for group in sorted({group for group, _ in counts}):
        for medium, number in (("message", None), ("voice", others)):
            if (number is None or number) and (not media or medium in media):
                data = [
                    {"metric": metric, "stats": {"count": number or counts[group, metric]}}
                    for metric in shown
                ]
                results.append({"group": {dimension: group, "mediaType": medium}, "data": data})
    return {"results": results}


def _add_counts(app: web.Application, service: "Service") -> None:
    """Observations, limits, availability of details jobs, and the threading timeline."""

    def observing(dimension: str, metrics: tuple[str, ...], permission: str) -> Any:
        async def answer(request: web.Request) -> web.Response:
            body = await json_object(request)
            wanted = body.get("metrics") if body else None
            if body is None or not (wanted is None or isinstance(wanted, list)):
                return api_error(400, "bad.request", "The request could not be understood.")
            return json_response(observe(service, body, dimension, metrics))

        return guarded(service, (permission,), answer)

    async def limits(request: web.Request) -> web.Response:
        if request.match_info["namespace"] != "web.messaging":
            text = "The namespace is not valid or does not have any viewable limits."
            return api_error(400, "invalid.value", text)
        values = {key: getattr(service.limits, ours) for key, ours in LIMITS.items()}
        entities = [
            {"key": key, "namespace": "web.messaging", "value": value}
            for key, value in values.items()
        ]
        return json_response({"entities": entities})  # the vendor's SDK: LimitsEntityListing

    async def timeline(_request: web.Request) -> web.Response:
        minutes = int(service.threading_s // 60)
        return json_response({"timelines": [{"type": "webmessaging", "minutes": minutes}]})

    async def set_timeline(request: web.Request) -> web.Response:
        lines = inner(await json_object(request), "timelines")
        minutes = inner(lines[0], "minutes") if isinstance(lines, list) and lines else None
        if type(minutes) is not int or not 0 <= minutes <= 4320:
            return api_error(400, "bad.request", "minutes is a whole number from 0 to 4320")
        service.threading_s = minutes * 60.0
        return await timeline(request)

    add = app.router.add_route
    analytics = "/api/v2/analytics"
    queues = observing("queueId", QUEUE_METRICS, "analytics:queueObservation:view")
    flows = observing("flowId", FLOW_METRICS, "analytics:flowObservation:view")
    add("POST", f"{analytics}/queues/observations/query", queues)
    add("POST", f"{analytics}/flows/observations/query", flows)
    namespaces = "/api/v2/organizations/limits/namespaces/{namespace}"
    add("GET", namespaces, guarded(service, (), limits))
    add("GET", f"{namespaces}/defaults", guarded(service, (), limits))
    threading = "/api/v2/conversations/messaging/threadingtimeline"
    add("GET", threading, guarded(service, ("conversation:threadingTimeline:view",), timeline))
    add("PUT", threading, guarded(service, ("conversation:threadingTimeline:edit",), set_timeline))
