"""Calls to the Platform API: sign-in with client credentials, rate limits, retries.

Credentials come from the environment only. They and the access token are never shown, and never
sent unencrypted to another machine.

The organisation's own limits for web messaging, as the Platform API tells them.
"""

import json
import re
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import urllib3

from harness.clock import monotonic_ns
from harness.config.run_config import CLIENT_ID, CLIENT_SECRET, ENVIRONMENT
from harness.config.target import Target
from harness.errors import NO_ANSWER, ConfigError, PlatformApiError
from harness.foreign import an_object, inner, objects, parse_json, text
from harness.units import read_retry_after_s

CALLS_PER_MINUTE = 280
"""The service allows 300 a minute to an OAuth client (the vendor's limits page)."""
TRIES = 5
PATIENCE_S = 120.0
"""How long one call may wait in all, for rate limits and failures together."""
ANSWER_S = 60.0
"""How long one answer may take as a whole: the pool's own limits are those of a single read."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Of an answer when it is unpacked; a page of 100 conversations has a few."""
CHUNK = 65_536
_TOKEN = re.compile(r"[!-~]{1,16384}")
"""What can stand in a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An OAuth client that may use the grant "client credentials"."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] = ENVIRONMENT,
        *,
        names: tuple[str | None, str | None] = (None, None),
    ) -> "Credentials":
        """``names`` are the variables that a target names for itself, if it does.

        Raises ConfigError naming the variable that is missing.
        """
        id_name, secret_name = names[0] or CLIENT_ID, names[1] or CLIENT_SECRET
        for name in (id_name, secret_name):
            if not environment.get(name):
                raise ConfigError(
                    f"the Platform API needs the environment variables {id_name} and "
                    f"{secret_name}; {name} is not set"
                )
        return cls(id=environment[id_name], secret=environment[secret_name])


API = "https://api."
"""The beginning of the API's address in every region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The base URLs of the API and of its sign-in, without a path."""

    api: str
    login: str

    @classmethod
    def of(
        cls,
        target: Target,
        api: str | None = None,
        login: str | None = None,
        *,
        way: str = "name it with --api-url and --login-url",
    ) -> "Places":
        """The addresses of the API and of its sign-in, derived from the target unless they are
        given. Raises ConfigError.

        The sign-in of ``https://api.DOMAIN`` is ``https://login.DOMAIN``. If neither the API's
        address nor the target tells more, the API's own address is also the place to sign in, as
        behind a gateway. ``way`` says in an error how the caller can name the addresses.
        """
        if login is None and api is not None and api.startswith(API):
            login = api.replace(API, "https://login.", 1)
        name, _, domain = target.host.partition(".")
        if target.loopback:
            api = api or f"{'https' if target.scheme == 'wss' else 'http'}://{target.netloc}"
        elif name == "webmessaging":
            api, login = api or f"{API}{domain}", login or f"https://login.{domain}"
        elif not api:
            raise ConfigError(
                f"the target {target.host} does not say where its Platform API is: {way}"
            )
        places = cls(api=api, login=login or api)
        for url in (places.api, places.login):
            parts = urlsplit(url)
            local = parts.hostname in ("localhost", "127.0.0.1", "::1")
            if parts.scheme != "https" and not (parts.scheme == "http" and local):
                raise ConfigError(f"{url!r} is no place for credentials: expected an https URL")
        return places


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class PlatformApi:
    """One signed-in client. Every call raises PlatformApiError when it can't be answered."""

    def __init__(
        self,
        credentials: Credentials,
        places: Places,
        *,
        ca_file: str | None = None,
        proxy: str | None = None,
        proxy_login: str = "",
        calls_per_minute: int = CALLS_PER_MINUTE,
        patience_s: float = PATIENCE_S,
        tries: int = TRIES,
        answer_s: float = ANSWER_S,
        sleep: Callable[[float], None] = time.sleep,
        on_pause: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._credentials = credentials
        self._places = places
        how: dict[str, Any] = {
            "retries": False,
            "timeout": urllib3.Timeout(connect=10, read=30),
            "ca_certs": ca_file,
        }
        if proxy is None:
            self._pool = urllib3.PoolManager(**how)
        else:
            login = {"Proxy-Authorization": f"Basic {b64encode(proxy_login.encode()).decode()}"}
            self._pool = urllib3.ProxyManager(
                proxy, proxy_headers=login if proxy_login else None, **how
            )
        self._tries = tries
        self._calls_per_minute = calls_per_minute
        self._patience_s = patience_s
        self._answer_s = answer_s
        self._sleep = sleep
        self._on_pause = on_pause
        self._token = ""
        self._sent: deque[int] = deque()
        self.waited_s = 0.0
        """time spent waiting for rate limits, in all"""

    @classmethod
    def towards(
        cls, target: Target, credentials: Credentials, places: Places, **more: Any
    ) -> "PlatformApi":
        """A client that uses the private CA and the proxy of the target. Raises ConfigError."""
        return cls(
            credentials,
            places,
            ca_file=None if target.ca_file is None else str(target.ca_file),
            proxy=target.proxy_url,
            proxy_login=target.proxy_login(),
            **more,
        )

    def sign_in(self) -> None:
        """Sign in now instead of with the first call."""
        self._token = self._token or self._sign_in()

    def get(self, path: str) -> dict[str, Any]:
        return _decoded(self._call("GET", path, None))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question that has a body."""
        return _decoded(self._call("POST", path, body))

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Have something changed; what is said about it besides is not read."""
        _check(self._call("PATCH", path, body))

    def close(self) -> None:
        self._pool.clear()

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> _Answer:
        data = None if body is None else json.dumps(body).encode()
        renewed = False

        def headers() -> dict[str, str]:
            if not self._token:
                self._token = self._sign_in()
            return {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}

        while True:
            answer = self._patiently(method, self._places.api + path, headers, data)
            if answer.status == 401 and not renewed:
                renewed, self._token = True, ""  # it has run out: sign in once more
                continue
            return answer

    def _sign_in(self) -> str:
        pair = f"{self._credentials.id}:{self._credentials.secret}".encode()
        headers = {
            "Authorization": f"Basic {b64encode(pair).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        answer = self._patiently(
            "POST",
            f"{self._places.login}/oauth/token",
            lambda: headers,
            b"grant_type=client_credentials",
        )
        try:
            token = text(inner(_json(answer), "access_token"))
        except PlatformApiError as error:
            raise PlatformApiError(
                error.status, error.code, error.message, signing_in=True
            ) from None
        if not _TOKEN.fullmatch(token):
            raise PlatformApiError(answer.status, "no.token", "no access token", signing_in=True)
        return token

    def _patiently(
        self,
        method: str,
        url: str,
        headers: Callable[[], dict[str, str]],
        data: bytes | None,
    ) -> _Answer:
        """Repeat what a rate limit (429), a failing server (5xx) or the network refused."""
        deadline = monotonic_ns() + int(self._patience_s * 1e9)
        for attempt in range(self._tries):
            last = attempt == self._tries - 1
            head = headers()
            self._keep_pace()
            pause_s = 0.5 * 2**attempt
            try:
                answer = self._ask(method, url, head, data, deadline)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if last or monotonic_ns() + pause_s * 1e9 > deadline:
                    raise PlatformApiError(0, "unreachable", _network(error)) from error
            else:
                if last or (answer.status != 429 and answer.status < 500):
                    return answer
                retry_after_s = read_retry_after_s(answer.headers.get("Retry-After"))
                pause_s = pause_s if retry_after_s is None else retry_after_s
                if monotonic_ns() + pause_s * 1e9 > deadline:
                    return answer
            self._pause(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        data: bytes | None,
        deadline_ns: int,
    ) -> _Answer:
        """Ask once. TimeoutError if the answer is not there as a whole in time.

        A service that sends a byte now and then never exceeds a limit of the pool. So somebody else
        reads, and is left to itself when the time is up.
        """
        outcome: SimpleQueue[_Answer | Exception] = SimpleQueue()

        def ask() -> None:
            try:
                outcome.put(self._read(method, url, headers, data))
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                outcome.put(error)

        wait_s = max(1.0, min(self._answer_s, (deadline_ns - monotonic_ns()) / 1e9))
        threading.Thread(target=ask, daemon=True).start()
        try:
            answer = outcome.get(timeout=wait_s)
        except Empty:
            raise TimeoutError(f"no whole answer within {wait_s:.3g} s") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _read(self, method: str, url: str, headers: dict[str, str], data: bytes | None) -> _Answer:
        body = bytearray()
        answer = self._pool.request(method, url, headers=headers, body=data, preload_content=False)
        try:
            for chunk in answer.stream(CHUNK):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    message = f"the answer has more than {MAX_ANSWER_BYTES:,} bytes"
                    raise PlatformApiError(answer.status, "too.large", message)
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return _Answer(answer.status, answer.headers, bytes(body))

    def _keep_pace(self) -> None:
        now = monotonic_ns()
        while self._sent and now - self._sent[0] > 60_000_000_000:
            self._sent.popleft()
        if len(self._sent) >= self._calls_per_minute:
            self._pause((self._sent[0] + 60_000_000_000 - now) / 1e9)
            self._sent.popleft()
        self._sent.append(monotonic_ns())

    def _pause(self, seconds: float) -> None:
        self.waited_s += seconds
        self._on_pause(seconds)
        self._sleep(seconds)


def _json(answer: _Answer) -> Any:
    """The value of an answer. Raises PlatformApiError for an error and for what is not JSON."""
    _check(answer)
    try:
        return parse_json(answer.body)
    except ValueError:
        raise PlatformApiError(answer.status, NO_ANSWER, "the answer is not JSON") from None


def _check(answer: _Answer) -> None:
    """Raises PlatformApiError for an answer that is an error."""
    fields: dict[str, Any] = {}
    with suppress(ValueError):
        fields = an_object(parse_json(answer.body))
    said = fields.get("status")  # what passes an error on may say 200, and the body does not
    status = said if type(said) is int and answer.status < 400 <= said else answer.status
    if status >= 400:
        code = str(fields.get("code") or fields.get("error") or "unknown")
        message = str(fields.get("message") or fields.get("description") or "")
        raise PlatformApiError(status, code, message[:300])
    if status >= 300:  # not followed: it may lead anywhere
        message = "it is at another address: --api-url and --login-url, or api_url of the target"
        raise PlatformApiError(status, "redirected", message)


def _decoded(answer: _Answer) -> dict[str, Any]:
    """The object of an answer. Raises PlatformApiError for an error, and for what says nothing: a
    job that was only accepted, an empty body, another form."""
    body = _json(answer)
    if answer.status != 200 or not isinstance(body, dict):
        raise PlatformApiError(answer.status, NO_ANSWER, "a JSON object was expected")
    return body


def listed(answer: Mapping[str, Any], name: str, *others: str) -> list[dict[str, Any]]:
    """The objects of an answer's list; none of an answer that is empty, or has one of the others.

    Raises PlatformApiError for an answer about something else, such as an error or a job.
    """
    if answer and not any(key in answer for key in (name, *others)):
        raise PlatformApiError(200, NO_ANSWER, f"{name!r} was expected in it")
    return objects(answer.get(name))


def _network(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).rpartition(": ")[2][:200]


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
    return {
        str(one["key"]): int(one["value"])
        for one in objects(inner(api.get(NAMESPACE), "entities"))
        if one.get("key") in WORDS and type(one.get("value")) is int
    }
