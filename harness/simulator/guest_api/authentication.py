"""Authenticated guests: the exchange of a sign-in for a JWT, configuring with it, stepping up.

There is no identity provider here: any authorization code or id token is accepted as the subject it
names, except one that begins with ``invalid``.
"""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.foreign import inner
from harness.simulator import frames
from harness.simulator.guest_api import messages as presence
from harness.simulator.guest_api import sessions
from harness.simulator.guest_api.connection import Refused
from harness.simulator.rest import api_error, bearer, json_object, json_response
from harness.simulator.truth import Deployment, Session, SessionEnd

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection
    from harness.simulator.service import Service

ACCESS_LIFE_S = 900
REFRESH_LIFE_S = 86_400
RESUME_LIFE_S = 3_600


def configure(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """configureAuthenticatedSession: as configureSession, for the subject of the JWT."""
    service = connection.service
    deployment = connection.deployment
    token = sessions.acceptable_token(connection, request)
    data = request.get("data")
    if not isinstance(data, dict) or data.get("code") is None:
        raise Refused(4020, "Missing parameter: data.code")
    if not deployment.settings.authentication:
        raise Refused(403, "Session authentication failed")
    claims = service.signer.claims(data["code"], service.now())
    if claims is None or claims.get("for") != "access" or data["code"] in service.revoked:
        raise Refused(401, "User is unauthorized")
    subject: str = claims["sub"]
    session = service.find_session(deployment, token)
    steps_up = session is not None and session.authenticated is None
    if session is not None and session.authenticated not in (None, subject):
        raise Refused(403, "Try to authenticate again")
    if steps_up and not deployment.settings.session_upgrade:
        raise Refused(403, "Session authentication failed")
    replaced = _earlier(deployment, subject, session)
    if replaced is not None:
        for one in list(replaced.connections):
            sessions.leave(one)
            one.retire()
        service.end_session(replaced, SessionEnd.REPLACED)
    if steps_up and session is not None:
        _sign_in_elsewhere(connection, session)
    deployment.signed_in[token] = subject
    if len(deployment.signed_in) > service.knobs.keep_timelines:
        deployment.signed_in.popitem(last=False)
    sessions.enter(
        connection,
        request,
        token,
        tracing_id,
        subject=subject,
        cleared_existing=replaced is not None,
    )


def _earlier(deployment: Deployment, subject: str, now: Session | None) -> Session | None:
    """Another session of the same subject, which the new one takes the place of."""
    for token, known in deployment.signed_in.items():
        other = deployment.sessions.get(token)
        if known == subject and other is not None and other is not now:
            return other
    return None


def _sign_in_elsewhere(connection: "Connection", session: Session) -> None:
    """The other connections of a session that steps up hear of it and are retired."""
    others = [one for one in session.connections if one is not connection]
    if not others:
        return
    presence.send_presence(connection, session, "SignIn", None)
    for one in others:
        sessions.leave(one)
        one.retire("signedIn")


def resume_token(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """The schema knows the answer's shape and nothing of its use; configureSession ignores it."""
    session = connection.session
    if session is None or request.get("token") not in (None, session.token):
        raise Refused(4007, sessions.NOT_FOUND)
    service = connection.service
    exp = int(service.now()) + RESUME_LIFE_S
    value = service.signer.sign({"for": "resume", "session": session.serial, "exp": exp})
    body = {"resumeToken": value, "exp": exp}
    connection.send(frames.response("ResumeTokenResponse", body, tracing_id))


def _pair(service: "Service", subject: str) -> dict[str, str]:
    now = int(service.now())
    access = {"for": "access", "sub": subject, "exp": now + ACCESS_LIFE_S, "id": service.ids.hex()}
    again = {"for": "refresh", "sub": subject, "exp": now + REFRESH_LIFE_S}
    return {"jwt": service.signer.sign(access), "refreshToken": service.signer.sign(again)}


def _log_out(service: "Service", subject: str) -> None:
    """Every connection of the subject's sessions hears LogoutEvent and is left without session."""
    for deployment in service.deployments.values():
        for token, known in deployment.signed_in.items():
            session = deployment.sessions.get(token)
            if known == subject and session is not None:
                service.note(session, "logged out")
                service.fan_out(session, frames.message("LogoutEvent", {}))
                for one in list(session.connections):
                    sessions.leave(one)


def add_routes(app: web.Application, service: "Service") -> None:
    """Exchange, refresh and revoke."""
    base = "/api/v2/webdeployments/token"

    async def exchange(request: web.Request) -> web.Response:
        body = await json_object(request)
        oauth = inner(body, "oauth")
        deployment = service.deployments.get(str(inner(body, "deploymentId")))
        if not isinstance(oauth, dict):
            return api_error(400, "bad.request", "The request could not be understood.")
        if deployment is None or not deployment.settings.authentication:
            return api_error(403, "forbidden", "The deployment does not allow sign-in.")
        proof = oauth.get("idToken", oauth.get("code"))
        if not isinstance(proof, str) or not proof or proof.startswith("invalid"):
            return api_error(401, "bad.credentials", "Invalid login credentials.")
        return json_response(_pair(service, proof))

    async def refresh(request: web.Request) -> web.Response:
        refresh_token = inner(await json_object(request), "refreshToken")
        claims = service.signer.claims(refresh_token, service.now())
        if claims is None or claims["for"] != "refresh" or refresh_token in service.revoked:
            return api_error(401, "bad.credentials", "Invalid login credentials.")
        return json_response(_pair(service, claims["sub"]))

    async def revoke(request: web.Request) -> web.Response:
        jwt = bearer(request.headers.get("Authorization"))
        claims = service.signer.claims(jwt, service.now())
        if claims is None or claims["for"] != "access":
            return api_error(401, "bad.credentials", "Invalid login credentials.")
        service.revoked[str(jwt)] = None
        if len(service.revoked) > service.knobs.keep_timelines:
            service.revoked.popitem(last=False)
        _log_out(service, claims["sub"])
        return web.Response(status=204)

    app.router.add_post(f"{base}/oauthcodegrantjwtexchange", exchange)
    app.router.add_post(f"{base}/refresh", refresh)
    app.router.add_delete(f"{base}/revoke", revoke)
