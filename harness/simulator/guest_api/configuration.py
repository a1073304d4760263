"""What a deployment tells of itself: getConfiguration, and the files of the CDN."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.simulator.guest_api import frames
from harness.simulator.guest_api.sessions import BLOCKED_EXTENSIONS, allowed_media
from harness.simulator.platform_api.access import guarded
from harness.simulator.rest import api_error, json_response

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection
    from harness.simulator.service import Service
    from harness.simulator.settings import DeploymentSettings

DISCONNECT_TYPES = {"off": "Send", "send": "Send", "read_only": "ReadOnly"}


def give(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """getConfiguration; needs no session, only the deployment."""
    if request.get("deploymentId") is None:
        connection.refuse(4020, "Missing parameter: deploymentId", tracing_id)
        return
    if request["deploymentId"] != connection.deployment.id:
        connection.refuse(400, "Request failed.", tracing_id)
        return
    limits = connection.service.limits
    body = {
        "allowedMedia": allowed_media(connection.deployment, limits.attachment_bytes),
        "blockedExtensions": BLOCKED_EXTENSIONS,
        "maxCustomDataBytes": limits.attribute_bytes,
        "messageRoutingEnabled": True,
        "sessionDurationSeconds": int(connection.deployment.settings.session_duration_s),
    }
    connection.send(frames.response("GetConfigurationResponse", body, tracing_id))


def config_json(settings: "DeploymentSettings", http: str) -> dict[str, Any]:
    """The deployment's configuration file; ``http`` is the origin of this service."""
    return {
        "id": settings.id,
        "version": "1",
        "languages": ["en-us"],
        "defaultLanguage": "en-us",
        "apiEndpoint": http,
        "status": "Active" if settings.active else "Inactive",
        "headlessMode": {"enabled": False},
        "messenger": {
            "enabled": True,
            "apps": {
                "conversations": {
                    "enabled": True,
                    "messagingEndpoint": http.replace("http", "ws", 1),
                    "showAgentTypingIndicator": True,
                    "showUserTypingIndicator": settings.typing,
                    "autoStart": {"enabled": settings.auto_start},
                    "markdown": {"enabled": False},
                    "conversationDisconnect": {
                        "enabled": settings.disconnect != "off",
                        "type": DISCONNECT_TYPES[settings.disconnect],
                    },
                    "conversationClear": {"enabled": settings.conversation_clear},
                    "notifications": {
                        "enabled": False,
                        "notificationContentType": "ExcludeMessagesContent",
                    },
                    "humanize": {"enabled": False},
                    "sessionDurationSeconds": int(settings.session_duration_s),
                }
            },
            "styles": {"primaryColor": "#336699"},
            "launcherButton": {"visibility": "On"},
            "homeScreen": {"enabled": False},
            "fileUpload": {
                "enableAttachments": settings.attachments,
                "modes": [{"fileTypes": ["*/*"], "maxFileSizeKB": 10240}],
            },
        },
        "position": {"alignment": "Auto", "sideSpace": 20, "bottomSpace": 12},
        "journeyEvents": {"enabled": False},
        "cobrowse": {"enabled": False},
        "auth": {
            "enabled": settings.authentication,
            "allowSessionUpgrade": settings.session_upgrade,
        },
    }


def web_deployment(settings: "DeploymentSettings") -> dict[str, Any]:
    """GET /api/v2/webdeployments/deployments/{id}: what operators see of it."""
    return {
        "id": settings.id,
        "name": "simulated",
        "status": "Active" if settings.active else "Inactive",
        "allowAllDomains": settings.allow_all_domains,
        "allowedDomains": list(settings.allowed_domains),
        "flow": {"id": settings.flow_id, "name": "simulated"},
        "configuration": {"id": settings.id, "version": "1"},
    }


def add_routes(app: web.Application, service: "Service") -> None:
    """config.json and domains.json, without credentials; 403 for an unknown id as at the CDN.

    And the deployment itself, for clients of the Platform API.
    """

    async def config(request: web.Request) -> web.Response:
        deployment = service.deployments.get(request.match_info["id"])
        if deployment is None:
            return web.Response(status=403, text="Forbidden")
        return json_response(config_json(deployment.settings, f"{request.scheme}://{request.host}"))

    async def domains(request: web.Request) -> web.Response:
        deployment = service.deployments.get(request.match_info["id"])
        if deployment is None:
            return web.Response(status=403, text="Forbidden")
        body = {
            "allowAllDomains": deployment.settings.allow_all_domains,
            "allowedDomains": list(deployment.settings.allowed_domains),
        }
        return json_response(body)

    async def deployment(request: web.Request) -> web.Response:
        found = service.deployments.get(request.match_info["id"])
        if found is None:
            return api_error(404, "not.found", "The requested resource was not found.")
        return json_response(web_deployment(found.settings))

    may = ("webDeployments:deployment:view",)
    app.router.add_get("/api/v2/webdeployments/deployments/{id}", guarded(service, may, deployment))
    base = "/webdeployments/v1/deployments/{id}"
    app.router.add_get(f"{base}/config.json", config)
    app.router.add_get(f"{base}/domains.json", domains)
