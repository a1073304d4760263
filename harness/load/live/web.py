"""The Sessions tab of Locust's web UI."""

from pathlib import Path
from typing import Any

import gevent
from flask import Blueprint, Flask, Response, jsonify, request

from harness.clock import monotonic_ns
from harness.errors import HarnessError
from harness.ledger.leftovers import read_leftovers
from harness.load.live.totals import Live
from harness.measure.operations import OPERATIONS
from harness.measure.recorder import service_tag

PAGE = Path(__file__).parent / "templates"
LISTED = 50
"""Leftovers that the page lists; all are counted."""
LOOK_EVERY_S = 3.0
"""Leftovers are read from the ledger's files, so not at each question of each page."""


class SessionsTab:
    """Adds the tab to a running web UI."""

    def __init__(self, web_ui: Any, plugin: Any) -> None:
        self._plugin = plugin
        self._leftovers: list[dict[str, Any]] = []
        self._looked_ns = 0
        app: Flask = web_ui.app
        web_ui.template_args.setdefault("extended_tabs", []).append(
            {"title": "Sessions", "key": "sessions"}
        )
        blueprint = Blueprint("sessions", __name__, url_prefix="/sessions")
        guard = web_ui.auth_required_if_enabled
        for rule, name, methods in (
            ("/", "page", ["GET"]),
            ("/tab.js", "script", ["GET"]),
            ("/state", "state", ["GET"]),
            ("/stop", "stop", ["POST"]),
        ):
            blueprint.add_url_rule(rule, name, guard(getattr(self, f"_{name}")), methods=methods)
        app.register_blueprint(blueprint)
        app.after_request(_add_script)

    def _page(self) -> Response:
        return Response((PAGE / "sessions.html").read_text(), mimetype="text/html")

    def _script(self) -> Response:
        return Response((PAGE / "tab.js").read_text(), mimetype="text/javascript")

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
                "phase": max((row.get("phase", "") for row in live.newest.values()), default=""),
                "sessions": figures["sessions"],
                "arrivals": figures["arrivals"],
                "operations": operations,
                "lag_p99_ms": live.lag(recent=True).percentile_ms(99),
                "processes": [
                    {"name": name, **row["process"]} for name, row in live.newest.items()
                ],
                "quiet": live.quiet(),
                "points": list(live.points),
                "leftovers": self._leftovers_now(figures["sessions"]["leftover"]),
            }
        )

    def _leftovers_now(self, count: int) -> list[dict[str, Any]]:
        directory: Path | None = self._plugin.directory
        if not count or directory is None:
            return []
        if monotonic_ns() - self._looked_ns > LOOK_EVERY_S * 1e9:
            self._looked_ns = monotonic_ns()
            found = []
            try:
                for left in read_leftovers(directory):
                    if left.state != "lost":
                        continue  # still in session
                    found.append(
                        {"token": left.short_token, "reason": left.reason, "worker": left.worker}
                    )
                    if len(found) == LISTED:
                        break
            except HarnessError:
                return self._leftovers  # the file is being written at this moment
            self._leftovers = found
        return self._leftovers

    def _stop(self) -> Response:
        gevent.spawn(self._plugin.runner.stop)
        return jsonify({"stopping": True})


def _add_script(response: Response) -> Response:
    if request.path == "/" and response.mimetype == "text/html" and not response.is_streamed:
        page = response.get_data(as_text=True)
        tag = '<script src="./sessions/tab.js"></script></body>'
        response.set_data(page.replace("</body>", tag, 1))
    return response
