"""Platform credentials: named by environment variables, never written down, tried on the wire."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from harness.config import parse_target
from harness.preflight.checks import Status
from harness.preflight.credentials import check_credentials
from harness.targets import Terms

LOCAL = parse_target("ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef")


class Platform(http.server.BaseHTTPRequestHandler):
    answer = 404

    def do_POST(self) -> None:
        good = self.headers["Authorization"] == "Basic aWQ6c2VjcmV0"  # id:secret
        self.send_response(200 if good else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"access_token": "t"}).encode() if good else b"{}")

    def do_GET(self) -> None:
        good = self.headers["Authorization"] == "Bearer t"
        self.send_response(type(self).answer if good else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def api() -> Iterator[str]:
    Platform.answer = 404
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Platform) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def terms(api: str) -> Terms:
    return Terms(
        name="t", target=LOCAL, api_url=api, client_id_env="T_ID", client_secret_env="T_SECRET"
    )


@pytest.mark.parametrize(
    ("secret", "answer", "status"),
    [
        ("secret", 404, Status.OK),
        ("secret", 403, Status.WARN),
        ("wrong", 404, Status.FAIL),
        ("", 404, Status.WARN),
    ],
)
def test_what_the_platform_says(
    api: str, monkeypatch: pytest.MonkeyPatch, secret: str, answer: int, status: Status
) -> None:
    Platform.answer = answer
    monkeypatch.setenv("T_ID", "id")
    monkeypatch.setenv("T_SECRET", secret)
    check = check_credentials(terms(api))
    assert check.status is status, check.text
    assert "secret" not in check.text.replace("T_SECRET", "")


def test_none_named_is_skipped_and_nobody_there_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_credentials(Terms(name="t", target=LOCAL)).status is Status.SKIPPED
    monkeypatch.setenv("T_ID", "id")
    monkeypatch.setenv("T_SECRET", "secret")
    assert check_credentials(terms("http://127.0.0.1:1")).status is Status.FAIL
