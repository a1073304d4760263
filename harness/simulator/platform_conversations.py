"""Single conversations over the Platform API: looked at, and ended."""

from typing import TYPE_CHECKING

from aiohttp import web

from harness.simulator import platform_views
from harness.simulator.conversing import disconnect_conversation
from harness.simulator.platform_access import guarded
from harness.simulator.rest import api_error, json_object, json_response
from harness.simulator.state import Conversation

if TYPE_CHECKING:
    from harness.simulator.service import Service

BASE = "/api/v2/conversations"


def _missing() -> web.Response:
    return api_error(404, "not.found", "The requested resource was not found.")


def add_routes(app: web.Application, service: "Service") -> None:
    """GET, PATCH and POST on conversations and their messages."""

    def find(request: web.Request) -> Conversation | None:
        known = service.conversations.find(request.match_info["id"])
        return known[0] if known is not None and known[1] == 0 else None

    async def whole(request: web.Request) -> web.Response:
        one = find(request)
        return _missing() if one is None else json_response(platform_views.live(service, one))

    async def messages(request: web.Request) -> web.Response:
        one = find(request)
        if one is None:
            return _missing()
        return json_response(platform_views.message_conversation(service, one))

    async def details(request: web.Request) -> web.Response:
        given = request.match_info["id"]
        form = service.knobs.message_id_form
        known = service.conversations.find(given)
        wrong_form = form != "any" and ("-" in given) != (form == "uuid")
        if known is None or known[1] == 0 or wrong_form:
            return _missing()
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
        disconnect_conversation(service, one, "system")
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
            disconnect_conversation(service, one, "peer")
        return web.Response(status=202)

    async def disconnect(request: web.Request) -> web.Response:
        one = find(request)
        if one is None:
            return _missing()
        disconnect_conversation(service, one, "system")
        return web.Response(status=202)

    view = ("conversation:communication:view",)
    see = ("conversation:message:view", "conversation:webmessaging:view")
    end = ("conversation:communication:disconnect",)
    add = app.router.add_route
    add("GET", BASE + "/messages/{id}", guarded(service, see, messages))
    add("GET", BASE + "/messages/{id}/details", guarded(service, see, details))
    add("PATCH", BASE + "/messages/{id}", guarded(service, end, patch))
    add(
        "PATCH",
        BASE + "/messages/{id}/participants/{participant}",
        guarded(service, end, patch_participant),
    )
    add("GET", BASE + "/{id}", guarded(service, view, whole))
    add("POST", BASE + "/{id}/disconnect", guarded(service, end, disconnect))
