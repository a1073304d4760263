"""The Sessions tab of Locust's web UI, and the guard that keeps other sites out of the UI.

Locust's UI answers requests of every origin and under every host name, so any page that is open in
the engineer's browser can start and stop runs. Here a request needs a ``Host`` that belongs to this
UI (a page can get around the browser's rules by a name that points to this machine for a moment:
DNS rebinding), must not come from a page of another site, and gets no answer that such a page may
read.
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from flask import Blueprint, Flask, Response, jsonify, request

from harness.clock import monotonic_ns, wall_ns
from harness.errors import HarnessError
from harness.judge.series import Series, Values
from harness.ledger.ledger import Stage
from harness.ledger.reader import read_leftovers
from harness.load.live.totals import Live
from harness.measure.model import OPERATIONS
from harness.measure.recorder import LAG_LOOP, service_tag
from harness.report.html.charts import BLUE, FAILURE_COLOURS, GREEN, ORANGE, RED, TimeCharts
from harness.report.html.page import Figure, draw_figures, style_sheet
from harness.report.wording import with_unit

PAGE = Path(__file__).parent / "templates"
LISTED = 50
"""How many leftovers the page lists; it says how many more there are."""
LOOK_EVERY_S = 3.0
"""How often leftovers are read: they come from the ledger's files, so not at each request."""
MOST_POINTS = 150
"""Of a line in a chart, so that drawing is cheap: of ten minutes, every fourth second."""
Line = tuple[str, Values, str]
"""Its name, a value for each point, and its colour."""


class SessionsTab:
    """Adds the tab to a running web UI."""

    def __init__(self, web_ui: Any, plugin: Any, target: str) -> None:
        """``target`` is the host and port that guests go to."""
        self._plugin = plugin
        self._target = target
        web_ui.environment.host = target  # what the form shows
        self._leftovers: list[dict[str, Any]] = []
        self._looked_ns = 0
        self._drawn: tuple[object, str] = (None, "")
        app: Flask = web_ui.app
        web_ui.template_args.setdefault("extended_tabs", []).append(
            {"title": "Sessions", "key": "sessions"}
        )
        blueprint = Blueprint("sessions", __name__, url_prefix="/sessions")
        guard = web_ui.auth_required_if_enabled
        for rule, name, methods in (
            ("/", "page", ["GET"]),
            ("/tab.js", "script", ["GET"]),
            ("/page.css", "style", ["GET"]),
            ("/state", "state", ["GET"]),
            ("/stop", "stop", ["POST"]),
        ):
            blueprint.add_url_rule(rule, name, guard(getattr(self, f"_{name}")), methods=methods)
        app.register_blueprint(blueprint)
        app.after_request(_add_script)
        app.before_request(self._keep_target)

    def _keep_target(self) -> Response | None:
        """Refuse another host in the form: guests go to the target of the run."""
        if request.path != "/swarm" or request.form.get("host", "") in ("", self._target):
            return None
        why = f"the target is {self._target}; start Locust with another --target to change it"
        return jsonify({"success": False, "message": why})

    def _page(self) -> Response:
        return Response((PAGE / "sessions.html").read_text(encoding="utf-8"), mimetype="text/html")

    def _script(self) -> Response:
        return Response((PAGE / "tab.js").read_text(encoding="utf-8"), mimetype="text/javascript")

    def _style(self) -> Response:
        return Response(style_sheet(), mimetype="text/css")

    def _state(self) -> Response:
        live: Live = self._plugin.live
        figures = live.figures()
        operations = []
        for name in OPERATIONS:
            entry = figures["operations"].get(name)
            if entry is None:
                continue
            histogram = live.histograms.get(service_tag(name))
            times = [None] * 4 if histogram is None else histogram.percentiles_ms([50, 95, 99, 100])
            errors = entry["count"] - entry["outcomes"].get("ok", 0)
            operations.append(
                {"name": name, "count": entry["count"], "errors": errors, "times_ms": times}
            )
        return jsonify(
            {
                "run": "" if self._plugin.directory is None else self._plugin.directory.name,
                "target": self._target,
                "phase": live.phase,
                "sessions": figures["sessions"],
                "arrivals": figures["arrivals"],
                "operations": operations,
                "lag_p99_ms": live.recent(LAG_LOOP).percentiles_ms([99])[0],
                "processes": [
                    {"name": name, **row["process"]} for name, row in live.newest.items()
                ],
                "quiet": live.quiet(),
                "charts": self._charts(live),
                "leftovers": self._leftovers_now(figures["sessions"]["leftover"]),
            }
        )

    def _charts(self, live: Live) -> str:
        """The charts of the last minutes as HTML; drawn anew when there is a new point."""
        newest = live.points[-1] if live.points else None
        if newest is not self._drawn[0]:
            began_s = (wall_ns() - (monotonic_ns() - live.began_ns)) / 1e9
            self._drawn = newest, draw_figures(live_figures(list(live.points), began_s))
        return self._drawn[1] if newest is not None else ""

    def _leftovers_now(self, count: int) -> list[dict[str, Any]]:
        directory: Path | None = self._plugin.directory
        if not count or directory is None:
            return []
        if monotonic_ns() - self._looked_ns > LOOK_EVERY_S * 1e9:
            self._looked_ns = monotonic_ns()
            # The ledger of a long run takes a tenth of a second, for which no guest would be heard.
            threads = gevent.get_hub().threadpool
            found = threads.apply(_first_leftovers, (directory,))
            self._leftovers = self._leftovers if found is None else found
        return self._leftovers

    def _stop(self) -> Response:
        gevent.spawn(self._plugin.runner.stop)
        return jsonify({"stopping": True})


def _first_leftovers(run_dir: Path) -> list[dict[str, Any]] | None:
    """None where they can't be read: a file is being written at this moment."""
    with suppress(HarnessError):
        lost = (one for one in read_leftovers(run_dir) if one.state == Stage.LOST)
        return [
            {"token": one.short_token, "reason": one.reason, "worker": one.worker}
            for one in islice(lost, LISTED)  # the others are still in session
        ]
    return None


def live_figures(points: Sequence[Mapping[str, Any]], began_s: float) -> list[Figure]:
    """The charts of a running test from :attr:`Live.points`; ``began_s`` is when it began (epoch).

    With many points only every second, third … one is drawn: the newest is always among them.
    """
    every = -(-len(points) // MOST_POINTS)
    shown = points[(len(points) - 1) % every :: every]
    charts = TimeCharts(
        Series(width_s=every, starts_s=[began_s + point["t"] for point in shown]), (), ()
    )

    def of(*names: tuple[str, str, str]) -> list[Line]:
        return [(text, [point[key] for point in shown], colour) for key, text, colour in names]

    def replies(place: int) -> Values:
        return [(point["times_ms"].get("reply") or (None, None))[place] for point in shown]

    reasons = sorted({reason for point in shown for reason in point["left"]})
    by_reason: list[Line] = [
        (reason, [point["left"].get(reason, 0) for point in shown], colour)
        for reason, colour in zip(reasons, cycle(FAILURE_COLOURS), strict=False)
    ]
    sessions = (("opened", "opened", BLUE), ("cleared", "cleared", GREEN))
    return [
        _figure(charts, "occupancy", "Guests in session", of(("occupancy", "in session", BLUE))),
        _figure(
            charts,
            "sessions",
            "Opened, cleared, left over",
            of(*sessions, ("leftover", "left over", RED)),
        ),
        _figure(
            charts,
            "reply",
            "Reply times",
            [("p50", replies(0), BLUE), ("p95", replies(1), ORANGE)],
            "ms",
        ),
        _figure(charts, "lag", "Generator lag", of(("lag_p99_ms", "p99", RED)), "ms"),
        _figure(charts, "left", "Left over, by reason", by_reason),
    ]


def _figure(
    charts: TimeCharts, key: str, title: str, lines: Sequence[Line], unit: str = ""
) -> Figure:
    chart = charts.lines(lines, unit)
    chart.across = chart.across[::2]  # on a phone there is no room for more
    last = [(name, values[-1]) for name, values, _ in lines]
    now = ", ".join(f"{name} {with_unit(value, unit)}" for name, value in last if value is not None)
    return Figure(key=key, title=title, chart=chart, says=f"now {now or 'nothing'}")


def _add_script(response: Response) -> Response:
    if request.path == "/" and response.mimetype == "text/html" and not response.is_streamed:
        page = response.get_data(as_text=True)
        tag = '<script src="./sessions/tab.js"></script></body>'
        response.set_data(page.replace("</body>", tag, 1))
    return response


ENTRANCES = ("/", "/sessions/", "/login")
"""Pages that a link of another site may open: they change nothing by themselves."""


def guard(app: Flask, bound: str, names: str = "") -> None:
    """Refuse other sites. ``bound`` is the address listened on, ``names`` further ones (commas)."""
    app.before_request(_keeper(bound, names))
    # The first in the list runs last, after the extension that lets every origin in.
    app.after_request_funcs.setdefault(None, []).insert(0, _shut)


def known(host: str, bound: str, names: str = "") -> bool:
    """Whether a ``Host`` header names a UI that is bound to this address.

    These are addresses, ``localhost`` and the names that the user gave: no other site can make one
    of them point to this machine.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    others = {one.strip().lower() for one in names.split(",")} - {""}
    if name == "localhost" or name in others | {bound.lower()} - {""}:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    try:
        listening = ipaddress.ip_address(bound or "0.0.0.0")
    except ValueError:
        return address.is_loopback
    if listening.is_unspecified:
        return True
    return address == listening or (address.is_loopback and listening.is_loopback)


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
