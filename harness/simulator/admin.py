"""``/sim/…``: the truth, the faults, and starting anew. Answers on loopback only.

Pages of other sites are refused as well: the host must be an address or ``localhost``, not a name
that was made to resolve to it, and a request that changes something without a body needs a header
that no page may send.
"""

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from harness.errors import ConfigError
from harness.simulator import frames
from harness.simulator.conversing import Agents, disconnect
from harness.simulator.faults import FaultPlan
from harness.simulator.rest import Answer, json_response
from harness.simulator.truth import SessionEnd

if TYPE_CHECKING:
    from harness.simulator.service import Service


def open_tokens(service: "Service", run_id: str | None = None) -> list[str]:
    """Tokens with a living session, of one run or of all."""
    return [
        token
        for deployment in service.deployments.values()
        for token, session in deployment.sessions.items()
        if run_id is None or session.run_id == run_id
    ]


def full_truth(service: "Service") -> dict[str, object]:
    """``/sim/truth``."""
    truth = service.truth
    return truth.whole.figures() | {
        "open_tokens": open_tokens(service),
        "connections": len(service.connections),
        "agents": service.agents.figures(),
        "bot_workers": service.bot.queue.workers,
        "counts": truth.counts,
        "questions": truth.questions.figures(),
        "addresses": truth.addresses,
        "origins": truth.origins,
        "faults": service.faults.struck,
        "runs": {run: tally.figures() for run, tally in truth.runs.items()},
        "delays": {name: delay.figures() for name, delay in truth.delays.items()},
    }


def timeline(service: "Service", token: str) -> list[dict[str, object]]:
    """Every session that is still remembered of a token, oldest first."""
    living = [d.sessions[token] for d in service.deployments.values() if token in d.sessions]
    return [
        {
            "opened": frames.iso_ms(session.opened),
            "ended": session.ended,
            "run_id": session.run_id,
            "read_only": session.read_only,
            "connections": len(session.connections),
            "conversation_id": session.conversation.id if session.conversation else None,
            "events": [
                {"at": frames.iso_ms(at), "what": what, "detail": detail}
                for at, what, detail in session.timeline
            ],
        }
        for session in [*service.past.get(token, []), *living]
    ]


def start_anew(service: "Service") -> None:
    """Forget all sessions, conversations and counts; connections are closed with 1001."""
    for connection in list(service.connections):
        connection.session = None
        connection.close(1001, "Reset")
    for deployment in service.deployments.values():
        for session in deployment.sessions.values():
            session.ended = SessionEnd.REPLACED  # what is still under way for it comes to nothing
        deployment.sessions.clear()
        deployment.connect_times = None
        deployment.signed_in.clear()
    service.conversations.clear()
    service.past.clear()
    service.by_serial.clear()
    service.uploaded_bytes = 0
    service.truth.questions.end()
    service.truth = service.new_truth()
    service.agents = Agents(service)
    service.faults = FaultPlan(seed=service.settings.seed)
    service.bot.silent_until = 0.0


HEADER = "X-Simulator-Admin"
"""A header that a page of another site can't send without permission (CORS)."""


def from_loopback(request: web.Request) -> bool:
    """Whether the peer sits on this machine's loopback interface."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    try:
        address = ip_address(str(peer[0]).partition("%")[0]) if peer else None
    except ValueError:
        return False
    if address is None:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def by_address(host: str) -> bool:
    """Whether a ``Host`` header is an address or ``localhost``."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ip_address(name))
    except ValueError:
        return False


@web.middleware
async def loopback_only(request: web.Request, handler: Answer) -> web.StreamResponse:
    """Everything under /sim/ is for this machine; others are told that nothing is there."""
    if request.path.startswith("/sim/"):
        own = request.headers.get("Origin") is None
        if not (from_loopback(request) and by_address(request.host) and own):
            return web.Response(status=404, text="404: Not Found")
        if request.method == "POST" and HEADER not in request.headers:
            return json_response({"error": f"expected the header {HEADER}: yes"}, 403)
    return await handler(request)


def add_routes(app: web.Application, service: "Service") -> None:

    async def truth(request: web.Request) -> web.Response:
        run_id = request.query.get("run_id")
        if run_id is not None:
            tally = service.truth.runs.get(run_id)
            if tally is None:
                return json_response({"error": f"no run {run_id!r} has been seen"}, 404)
            return json_response(tally.figures() | {"open_tokens": open_tokens(service, run_id)})
        return json_response(full_truth(service))

    async def questions(request: web.Request) -> web.Response:
        return json_response({"rows": service.truth.questions.rows(request.query.get("run_id"))})

    async def show_faults(_request: web.Request) -> web.Response:
        return json_response(service.faults.on())

    async def set_faults(request: web.Request) -> web.Response:
        try:
            wanted = orjson.loads(await request.read())
            if not isinstance(wanted, dict):
                raise ConfigError("faults: expected a JSON object of fault names")
            service.faults.replace(wanted)
        except orjson.JSONDecodeError as error:
            return json_response({"error": f"faults: not JSON ({error})"}, 400)
        except ConfigError as error:
            return json_response({"error": str(error)}, 400)
        return json_response(service.faults.on())

    async def session(request: web.Request) -> web.Response:
        sessions = timeline(service, request.match_info["token"])
        if not sessions:
            return json_response({"error": "this token was never seen, or is forgotten"}, 404)
        return json_response({"sessions": sessions})

    async def end(request: web.Request) -> web.Response:
        """End the conversation of a token as an agent or a flow would."""
        token = request.match_info["token"]
        for deployment in service.deployments.values():
            if token in deployment.sessions:
                disconnect(service, deployment.sessions[token], "peer")
                return json_response({})
        return json_response({"error": "this token has no session"}, 404)

    async def reset(_request: web.Request) -> web.Response:
        start_anew(service)
        return json_response({})

    @web.middleware
    async def during_stall(request: web.Request, handler: Answer) -> web.StreamResponse:
        """The admin pages answer during a stall of the service, too."""
        if service.stall.on and not request.path.startswith("/sim/"):
            await service.stall.wait()
        return await handler(request)

    app.middlewares.append(during_stall)
    app.router.add_get("/sim/truth", truth)
    app.router.add_get("/sim/questions", questions)
    app.router.add_get("/sim/faults", show_faults)
    app.router.add_put("/sim/faults", set_faults)
    app.router.add_get("/sim/sessions/{token}", session)
    app.router.add_post("/sim/sessions/{token}/disconnect", end)
    app.router.add_post("/sim/reset", reset)
