"""The organisation's own limits for web messaging, as the Platform API tells them."""

from types import MappingProxyType

from harness.platform_api.client import PlatformApi

NAMESPACE = "/api/v2/organizations/limits/namespaces/web.messaging"
CONNECTIONS = "connections.rate.per.minute"
REQUESTS = "requests.per.connection.rate.per.minute"
MESSAGES = "messages.per.session.rate.per.second"
WORDS = MappingProxyType(
    {
        CONNECTIONS: "new connections a minute",
        REQUESTS: "requests a minute of one guest",
        MESSAGES: "messages a second of one guest",
    }
)
"""The limits that guests of a load test meet (vendor's limits page), by their keys."""


def organisation_limits(api: PlatformApi) -> dict[str, int]:
    """The limits of ``WORDS`` that the organisation has, by key.

    The answer is ``{"entities": [{"key", "namespace", "value"}]}`` (the vendor's Python SDK,
    LimitsEntityListing). The definition lists no permission for it. Raises PlatformApiError.
    """
    answer = api.get(NAMESPACE)
    listed = answer.get("entities") if isinstance(answer, dict) else None
    found: dict[str, int] = {}
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and one.get("key") in WORDS and type(one.get("value")) is int:
            found[str(one["key"])] = int(one["value"])
    return found
