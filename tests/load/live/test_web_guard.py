"""Locust's web UI as we start it does nothing for a page of another site, whatever name it uses."""

import pytest
from flask import Flask

from harness.load.live.web import guard, known


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
