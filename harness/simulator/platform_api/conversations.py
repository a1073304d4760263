"""Single conversations over the Platform API: looked at, and ended."""

from typing import TYPE_CHECKING

from aiohttp import web

from harness.simulator.behaviour.conversing import disconnect_conversation
from harness.simulator.platform_api import views as platform_views
from harness.simulator.platform_api.access import guarded, sees
from harness.simulator.rest import api_error, json_object, json_response
from harness.simulator.truth.state import Conversation

if TYPE_CHECKING:
    from harness.simulator.service import Service

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
        return _missing() if one is None else json_response(platform_views.live(service, one))

    async def messages(request: web.Request) -> web.Response:
        one = view(request)
        if one is None:
            return _missing()
        return json_response(platform_views.message_conversation(service, one))

    async def details(request: web.Request) -> web.Response:
        given = request.match_info["id"]
        form = service.knobs.message_id_form
        known = service.conversations.find(given)
        wrong_form = form != "any" and ("-" in given) != (form == "uuid")
        if known is None or known[1] == 0 or wrong_form or not sees(service, request, known[0]):
            return _missing("not.found")
        return json_response(platform_views.message(*known, given))

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
        return json_response(platform_views.message_conversation(service, one))

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
