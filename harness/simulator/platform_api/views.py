"""A conversation as the Platform API shows it: live, as a message conversation, and in analytics.

Analytics lags: it shows the state of ``platform_lag_s`` ago, so a conversation that has just ended
still looks open there.
"""

from typing import TYPE_CHECKING, Any

from harness.simulator.guest_api.frames import iso_ms
from harness.simulator.truth.state import Conversation, Participant

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
