"""Counts without ids (queue and flow observations), the organisation's limits, and threading."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.simulator.platform_api.access import guarded
from harness.simulator.rest import api_error, json_object, json_response
from harness.simulator.truth.state import Conversation

if TYPE_CHECKING:
    from harness.simulator.service import Service

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
    given = body.get("filter")
    filters = [given] if isinstance(given, dict) else []
    found = set()
    for one in filters:
        clauses, predicates = one.get("clauses"), one.get("predicates")
        filters += [
            more
            for more in (clauses if isinstance(clauses, list) else ())
            if isinstance(more, dict)
        ]
        for predicate in predicates if isinstance(predicates, list) else ():
            if isinstance(predicate, dict) and predicate.get("dimension") == dimension:
                found.add(str(predicate.get("value")))
    return found


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
    wanted = _wanted(body, dimension)
    for deployment in service.deployments.values():
        settings = deployment.settings
        group = settings.queue_id if dimension == "queueId" else settings.flow_id
        if not wanted or group in wanted:
            counts.update({(group, metric): 0 for metric in metrics})
    for conversation in service.conversations.values():
        if conversation.open:
            settings = service.deployments[conversation.deployment_id].settings
            group = settings.queue_id if dimension == "queueId" else settings.flow_id
            key = (group, _stage(conversation))
            if key in counts:
                counts[key] += 1
    asked = [metric for metric in metrics if metric in (body.get("metrics") or metrics)]
    media = _wanted(body, "mediaType")
    others = service.knobs.other_media
    results = []
    for group in sorted({group for group, _ in counts}):
        for medium, number in (("message", None), ("voice", others)):
            if (number is None or number) and (not media or medium in media):
                data = [
                    {"metric": metric, "stats": {"count": number or counts[group, metric]}}
                    for metric in asked
                ]
                results.append({"group": {dimension: group, "mediaType": medium}, "data": data})
    return {"results": results}


def add_routes(app: web.Application, service: "Service") -> None:
    """Observations, limits, availability of details jobs, and the threading timeline."""

    def observing(dimension: str, metrics: tuple[str, ...], permission: str) -> Any:
        async def answer(request: web.Request) -> web.Response:
            body = await json_object(request)
            asked = body.get("metrics") if body else None
            if body is None or not (asked is None or isinstance(asked, list)):
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
        body = await json_object(request)
        lines = body.get("timelines") if body else None
        entry = lines[0] if isinstance(lines, list) and lines else None
        minutes = entry.get("minutes") if isinstance(entry, dict) else None
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
