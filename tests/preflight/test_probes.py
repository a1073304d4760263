"""A preflight against the simulator: the way, the configuration, who may connect."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sessions import Simulated, terms_of

from harness.config.target import parse_target
from harness.errors import PlatformApiError
from harness.platform_api.client import Credentials, Places, PlatformApi
from harness.preflight.checks import Status
from harness.preflight.probes import (
    Planned,
    check_all,
    check_reachability,
    fetch_config,
    fetch_domains,
)

pytestmark = pytest.mark.process

NOBODY = "12345678-90ab-cdef-1234-567890abcdef"


def test_the_way_and_the_configuration(simulator: Any, tmp_path: Path) -> None:
    terms = terms_of(simulator.url, tmp_path)
    reach, tls = check_reachability(terms)
    assert (reach.status, tls.status) == (Status.OK, Status.OK)
    config, offset_s, fetched = fetch_config(terms)
    assert fetched.status is Status.OK
    assert config is not None
    assert config["messenger"]["apps"]["conversations"]["conversationClear"]["enabled"] is True
    assert offset_s is not None
    assert abs(offset_s) < 5


@pytest.mark.parametrize(("processes", "status"), [(2, Status.OK), (3, Status.WARN)])
def test_more_processes_than_cores_are_warned_of(
    simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, status: Status
) -> None:
    monkeypatch.setattr("harness.machine.usable_cores", lambda: [0, 1])
    result = check_all(
        terms_of(simulator.url, tmp_path),
        Planned(processes=processes),
        calibrated=(),
        reports=tmp_path,
        quick=False,
        no_guest=True,
        tell=lambda _: None,
    )
    (machine,) = (check for check in result.checks if check.name == "machine")
    assert machine.status is status
    assert ("wait for each other" in machine.text) is (status is Status.WARN)


def test_an_unknown_deployment_fails_at_both_doors(simulator: Any, tmp_path: Path) -> None:
    terms = terms_of(simulator.url.rpartition("=")[0] + f"={NOBODY}", tmp_path)
    assert check_reachability(terms)[0].status is Status.FAIL
    _, _, fetched = fetch_config(terms)
    assert "unknown deployment" in fetched.text


def test_who_may_connect_is_read_beside_the_configuration(tmp_path: Path) -> None:
    with Simulated("--deployment", "allow_all_domains=false") as world:
        assert fetch_domains(terms_of(world.url, tmp_path)) == {
            "allowAllDomains": False,
            "allowedDomains": [],
        }
    assert fetch_domains(terms_of(world.url, tmp_path)) is None  # nobody is there any more


@contextmanager
def answering(body: bytes, status: int = 200, **headers: str) -> Iterator[str]:
    """The port of a service that says this to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.server_port}/v1?deploymentId={NOBODY}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 2_000, b"9" * 5_000, b"\xff", b"{"])
def test_an_answer_that_no_json_can_be_read_of_is_the_services_fault(
    tmp_path: Path, body: bytes
) -> None:
    with answering(body) as url:
        terms = terms_of(url, tmp_path)
        config, _, fetched = fetch_config(terms)
        assert (config, fetched.status, fetch_domains(terms)) == (None, Status.FAIL, None)
        target, credentials = parse_target(url), Credentials(id="a", secret="b")
        api = PlatformApi.towards(target, credentials, Places.of(target))
        with pytest.raises(PlatformApiError, match="not JSON"):
            api.sign_in()
        api.close()


@pytest.mark.parametrize(
    ("body", "status", "headers", "told"),
    [
        (b"<html>Sign in</html>", 200, {}, r"not JSON: .*'<html>Sign in</html>'.*config_url"),
        (
            b"",
            302,
            {"Location": "https://else.example/c.json"},
            r"else\.example/c\.json.*config_url",
        ),
        (
            b'{"id":"99999999-90ab-cdef-1234-567890abcdef","status":"Active"}',
            200,
            {},
            "another dep",
        ),
        (b"x" * (17 << 20), 200, {}, "can't be fetched: the answer is larger than"),
    ],
)
def test_a_configuration_that_is_none_is_told_with_what_to_do(
    tmp_path: Path, body: bytes, status: int, headers: dict[str, str], told: str
) -> None:
    with answering(body, status, **headers) as url:
        config, _, fetched = fetch_config(terms_of(url, tmp_path))
    assert (config, fetched.status) == (None, Status.FAIL)
    assert re.search(told, fetched.text), fetched.text
