"""Locust's web UI as we start it does nothing for a page of another site, whatever name it uses.

And what its Sessions tab draws, without a browser.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from harness.errors import LedgerError
from harness.load.live import web
from harness.load.live.totals import Live
from harness.load.live.web import MOST_POINTS, SessionsTab, guard, known, live_figures
from harness.report.html.page import draw_figures


@pytest.mark.parametrize(
    ("host", "bound", "names", "expected"),
    [
        ("127.0.0.1:8089", "127.0.0.1", "", True),
        ("localhost:9000", "127.0.0.1", "", True),  # as through a tunnel
        ("LOCALHOST.", "127.0.0.1", "", True),
        ("[::1]:8089", "127.0.0.1", "", True),
        ("rebound.example:8089", "127.0.0.1", "", False),
        ("127.0.0.1.rebound.example", "127.0.0.1", "", False),
        ("localhost.rebound.example", "127.0.0.1", "", False),
        ("192.0.2.7:8089", "127.0.0.1", "", False),
        ("192.0.2.7:8089", "0.0.0.0", "", True),
        ("192.0.2.7:8089", "", "", True),
        ("[2001:db8::1]", "::", "", True),
        ("rebound.example", "0.0.0.0", "", False),
        ("load.example", "0.0.0.0", "Load.Example, other.example", True),
        ("other.example:80", "0.0.0.0", "load.example,other.example", True),
        ("load-box", "load-box", "", True),
        ("192.0.2.7", "load-box", "", False),
        ("", "127.0.0.1", "", False),
        ("", "", ",", False),
        ("[", "127.0.0.1", "", False),
    ],
)
def test_by_which_names_a_ui_is_known(host: str, bound: str, names: str, expected: bool) -> None:
    assert known(host, bound, names) is expected


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/swarm", {}, 200),
        ("/swarm", {"Host": "rebound.example"}, 403),
        ("/", {"Host": "rebound.example"}, 403),
        ("/swarm", {"Origin": "http://127.0.0.1:8089"}, 200),
        ("/swarm", {"Origin": "https://evil.example"}, 403),
        ("/swarm", {"Origin": "null"}, 403),
        ("/swarm", {"Sec-Fetch-Site": "cross-site"}, 403),  # a picture, a link
        ("/swarm", {"Sec-Fetch-Site": "same-site"}, 403),  # another port of this machine
        ("/swarm", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("/", {"Sec-Fetch-Site": "cross-site"}, 200),
    ],
)
def test_who_may_ask_for_what(path: str, headers: dict[str, str], status: int) -> None:
    app = Flask("ui")
    for rule in ("/", "/swarm"):
        app.add_url_rule(rule, rule, lambda: ("here", 200, {"Access-Control-Allow-Origin": "*"}))
    guard(app, "127.0.0.1")
    answer = app.test_client().get(path, headers={"Host": "127.0.0.1:8089", **headers})
    assert answer.status_code == status
    assert "Access-Control-Allow-Origin" not in answer.headers


def a_point(second: int, **more: Any) -> dict[str, Any]:
    """As :meth:`harness.load.live.totals.Live.add_point` keeps it."""
    sessions = {"occupancy": 2, "opened": second, "cleared": 1, "leftover": 0}
    return {"t": float(second), **sessions, "left": {}, "lag_p99_ms": None, "times_ms": {}} | more


@pytest.mark.parametrize("seconds", [1, 2, MOST_POINTS, MOST_POINTS + 1, 600])
def test_a_running_test_is_drawn_with_few_points_and_the_newest(seconds: int) -> None:
    figures = live_figures([a_point(second) for second in range(seconds)], 1.8e9)
    opened = next(one for one in figures if one.key == "sessions")
    assert f"opened {seconds - 1:,}" in opened.says
    drawn = [row for row in opened.chart.readings.splitlines() if row.startswith("opened|")]
    texts = drawn[0].split("|")[1:]
    assert len(texts) <= MOST_POINTS
    assert texts[-1] == f"{seconds - 1}"


def test_the_tab_draws_what_is_not_known_and_escapes_what_came_from_outside() -> None:
    points = [
        a_point(1),
        a_point(2, left={"<b>odd</b>": 1}, times_ms={"reply": [1200.0, None]}, lag_p99_ms=3.25),
    ]
    html = draw_figures(live_figures(points, 1.8e9))
    assert "<b>" not in html
    assert "now &lt;b&gt;odd&lt;/b&gt; 1" in html
    assert "Reply times, now p50 1.20 s." in html
    assert "now p99 3.25 ms" in html
    assert "by reason, now nothing." in draw_figures(live_figures([a_point(1)], 1.8e9))


def test_leftovers_are_read_aside_and_kept_while_they_can_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, broken = [], [False]

    def read(directory: Path) -> Iterator[Any]:
        threads.append(threading.get_ident())
        if broken[0]:
            raise LedgerError("it is being written")
        yield SimpleNamespace(state="lost", short_token="abcdefgh…", reason="timeout", worker="w")

    monkeypatch.setattr(web, "read_leftovers", read)
    monkeypatch.setattr(web, "LOOK_EVERY_S", 0.0)
    live = Live()
    plugin = SimpleNamespace(live=live, directory=tmp_path, runner=None)
    ui = SimpleNamespace(
        app=Flask("ui"),
        environment=SimpleNamespace(),
        template_args={},
        auth_required_if_enabled=lambda view: view,
    )
    tab = SessionsTab(ui, plugin, "there")
    found = tab._leftovers_now(1)
    assert [row["token"] for row in found] == ["abcdefgh…"]
    assert threading.get_ident() not in threads, "no guest is heard while it is read"
    broken[0] = True
    assert tab._leftovers_now(1) == found
    assert len(threads) == 2
