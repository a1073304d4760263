"""Single conversations over the Platform API: looked at, and ended.

A conversation as the Platform API shows it: live, as a message conversation, and in analytics.

Analytics lags: it shows the state of ``platform_lag_s`` ago, so a conversation that has just ended
still looks open there.
"""

from typing import TYPE_CHECKING

from aiohttp import web

from harness.simulator.behaviour.conversing import disconnect_conversation
from harness.simulator.platform_api.access import guarded, sees
from harness.simulator.rest import api_error, json_object, json_response
from harness.simulator.truth.state import Conversation

if TYPE_CHECKING:
    from harness.simulator.service import Service
from typing import TYPE_CHECKING, Any

from harness.simulator.guest_api.frames import iso_ms
from harness.simulator.truth.state import Participant

if TYPE_CHECKING:
    from harness.simulator.service import Service


def _attributes(service: "Service", conversation: Conversation) -> dict[str, str]:
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
        "attributes": _attributes(service, conversation) if guest else {},
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
    view: dict[str, Any] = {"id": conversation.id, "startTime": iso_ms(conversation.start)}
    over = conversation.over
    if over is not None:
        view["endTime"] = iso_ms(over)
    view["participants"] = [
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
    return view


def message_conversation(service: "Service", conversation: Conversation) -> dict[str, Any]:
    """GET /api/v2/conversations/messages/{id}: each participant's state at its top.

    The vendor's definition of it has neither a start nor an end of the whole (knob).
    """
    view: dict[str, Any] = {"id": conversation.id}
    if service.knobs.direct_times:
        view["startTime"] = iso_ms(conversation.start)
        if (over := conversation.over) is not None:
            view["endTime"] = iso_ms(over)
    view["participants"] = [
        {**_leg(service, conversation, one), "type": "webmessaging"}
        for one in conversation.participants
    ]
    return view


def message(conversation: Conversation, number: int, given_id: str) -> dict[str, Any]:
    """GET /api/v2/conversations/messages/{messageId}/details."""
    return {
        "id": given_id,
        "conversationId": conversation.id,
        "messengerType": "webmessaging",
        "status": "delivery-success",
        "number": number,
    }


def segments(
    service: "Service", conversation: Conversation, as_of: float
) -> list[tuple[Participant, dict[str, Any]]]:
    """Every participant's segment with its session's fields, as of a moment: what filters see."""
    settings = service.deployments[conversation.deployment_id].settings
    found = []
    for one in conversation.participants:
        if one.start > as_of:
            continue
        segment: dict[str, Any] = {
            "mediaType": "message",
            "messageType": "webmessaging",
            "direction": "inbound",
            "provider": "PureCloud Webmessaging",
            "purpose": _purpose(service, one),
            "segmentType": "interact",
            "segmentStart": iso_ms(one.start),
        }
        if one.purpose == "customer":
            segment["cleared"] = conversation.cleared and one.end is not None and one.end <= as_of
            if conversation.journey_customer_id and service.knobs.journey_shown:
                segment["journeyCustomerId"] = conversation.journey_customer_id
        if one.purpose == "workflow":
            segment["flowId"] = settings.flow_id
        else:
            segment["queueId"] = settings.queue_id
        if one.name:
            segment["participantName"] = one.name
        if one.end is not None and one.end <= as_of:
            segment |= {"segmentEnd": iso_ms(one.end), "disconnectType": one.disconnect_type}
        found.append((one, segment))
    return found


def _purpose(service: "Service", one: Participant) -> str:
    return service.knobs.purpose_in_analytics if one.purpose == "customer" else one.purpose


SESSION_FIELDS = (
    "mediaType",
    "messageType",
    "direction",
    "provider",
    "cleared",
    "journeyCustomerId",
)
SEGMENT_FIELDS = (
    "segmentType",
    "segmentStart",
    "segmentEnd",
    "disconnectType",
    "queueId",
    "flowId",
)


def analytics(service: "Service", conversation: Conversation, as_of: float) -> dict[str, Any]:
    """One conversation of a details query."""
    view: dict[str, Any] = {
        "conversationId": conversation.id,
        "conversationStart": iso_ms(conversation.start),
        "originatingDirection": "inbound",
        "participants": [
            {
                "participantId": one.id,
                "purpose": _purpose(service, one),
                "sessions": [
                    {
                        **{key: segment[key] for key in SESSION_FIELDS if key in segment},
                        "sessionId": one.id,
                        "segments": [
                            {key: segment[key] for key in SEGMENT_FIELDS if key in segment}
                        ],
                    }
                ],
            }
            for one, segment in segments(service, conversation, as_of)
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
        if known is None or known[1] or not sees(service, request, known[0]):
            return None
        return known[0]

    def view(request: web.Request) -> Conversation | None:
        return find(request) if service.knobs.direct_view == "shown" else None

    def end(one: Conversation, how: str) -> None:
        service.later(service.knobs.disconnect_lag_s, disconnect_conversation, service, one, how)

    async def whole(request: web.Request) -> web.Response:
        one = view(request)
        return _missing() if one is None else json_response(live(service, one))

    async def messages(request: web.Request) -> web.Response:
        one = view(request)
        if one is None:
            return _missing()
        return json_response(message_conversation(service, one))

    async def details(request: web.Request) -> web.Response:
        given = request.match_info["id"]
        form = service.knobs.message_id_form
        known = service.conversations.find(given)
        wrong_form = form != "any" and ("-" in given) != (form == "uuid")
        if known is None or known[1] == 0 or wrong_form or not sees(service, request, known[0]):
            return _missing("not.found")
        return json_response(message(*known, given))

    async def asks_to_disconnect(request: web.Request) -> bool:
        body = await json_object(request)
        return body is not None and body.get("state") == "disconnected"

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
    add = app.router.add_route
    add("GET", BASE + "/messages/{id}", guarded(service, (), messages))
    add("GET", BASE + "/messages/{id}/details", guarded(service, see, details))
    add("PATCH", BASE + "/messages/{id}", guarded(service, may_end, patch))
    add(
        "PATCH",
        BASE + "/messages/{id}/participants/{participant}",
        guarded(service, may_end, patch_participant),
    )
    add("GET", BASE + "/{id}", guarded(service, look, whole))
    add("POST", BASE + "/{id}/disconnect", guarded(service, may_end[:1], disconnect))
