"""The doors of Locust's web UI, kept shut to other sites.

Locust's UI lets any page that the engineer has open start and stop runs: it answers requests of
every origin and under every name. Here a request needs a ``Host`` that this UI is known by (a name
that leads to this machine for a moment is how a page gets around the browser's rules: DNS
rebinding), must not come from a page of another site, and gets no answer that such a page may read.
"""

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Flask, Response, request

ENTRANCES = ("/", "/sessions/", "/login")
"""What a link of another site may lead to: pages, which do nothing by themselves."""


def guard(app: Flask, bound: str, names: str = "") -> None:
    """Refuse other sites. ``bound`` is the address listened on, ``names`` further ones (commas)."""
    app.before_request(_keeper(bound, names))
    # The first in the list runs last, after the extension that lets every origin in.
    app.after_request_funcs.setdefault(None, []).insert(0, _shut)


def known(host: str, bound: str, names: str = "") -> bool:
    """Whether a ``Host`` header names a UI that is bound to this address.

    An address, ``localhost`` and what the user has named: none of them can be made to lead here by
    somebody else.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    others = {one.strip().lower() for one in names.split(",")} - {""}
    if name == "localhost" or name in others | {bound.lower()} - {""}:
        return True
    try:
        asked = ipaddress.ip_address(name)
    except ValueError:
        return False
    try:
        listening = ipaddress.ip_address(bound or "0.0.0.0")
    except ValueError:
        return asked.is_loopback
    if listening.is_unspecified:
        return True
    return asked == listening or (asked.is_loopback and listening.is_loopback)


def _keeper(bound: str, names: str) -> Callable[[], Response | None]:
    def refuse_other_sites() -> Response | None:
        if not known(request.host, bound, names):
            why = "this UI is not known by that name: name it with --web-host-name"
            return Response(why, status=403, mimetype="text/plain")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return Response("requests from other sites are refused", status=403)
        site = request.headers.get("Sec-Fetch-Site", "none")
        # A picture or a link of another page names no origin.
        if site not in ("none", "same-origin") and request.path not in ENTRANCES:
            return Response("requests from other sites are refused", status=403)
        return None

    return refuse_other_sites


def _shut(response: Response) -> Response:
    for header in list(response.headers.keys()):
        if header.lower().startswith("access-control-"):
            del response.headers[header]
    return response
