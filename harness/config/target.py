"""What a run is pointed at, and the terms under which it may be loaded.

Both are validated before anything is sent. A target is named in a TOML file (``harness target
init`` writes a commented one) with its terms; a plain URL comes without terms, so it works for
targets on this machine only.
"""

import hashlib
import ipaddress
import json
import re
import ssl
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import time
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from harness.config.run_config import ENVIRONMENT, SIMULATOR_NAME, TARGETS
from harness.errors import ConfigError
from harness.foreign import check_file, read_toml
from harness.units import rate_per_s

EXAMPLE_URL = "ws://127.0.0.1:PORT/v1?deploymentId=UUID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A deployment's guest socket. Made by :func:`parse_target`."""

    scheme: str
    host: str
    port: int
    path: str
    deployment_id: str
    ca_file: Path | None = None
    origin: str | None = None
    proxy: tuple[str, int] | None = None
    """host and port of an HTTP proxy that takes CONNECT"""
    proxy_login_env: str = ""
    """the environment variable that holds its user:password; the login itself is kept nowhere"""
    sources: tuple[str, ...] = ()
    """addresses of this machine to connect from, in turn: each has its own range of ports"""

    @property
    def url(self) -> str:
        """The whole URL, as :func:`parse_target` takes it."""
        return f"{self.scheme}://{self.netloc}{self.resource}"

    @property
    def netloc(self) -> str:
        """host:port, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def proxy_url(self) -> str | None:
        """As :func:`parse_target` takes it; there is no login in it."""
        if self.proxy is None:
            return None
        host, port = self.proxy
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def resource(self) -> str:
        """Path and query of the upgrade request."""
        return f"{self.path}?{urlencode({'deploymentId': self.deployment_id})}"

    @property
    def loopback(self) -> bool:
        """Whether the target is on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def proxy_login(self) -> str:
        """The proxy's ``user:password``; empty if it asks for none. Raises ConfigError."""
        if self.proxy is None or not self.proxy_login_env:
            return ""
        login = ENVIRONMENT.get(self.proxy_login_env, "")
        user, colon, _ = login.partition(":")
        if not user or not colon or not login.isprintable():
            raise ConfigError(
                f"the proxy's login: expected user:password in the environment variable "
                f"{self.proxy_login_env}, which is {'malformed' if login else 'not set'}"
            )
        return login

    def tls_context(self) -> ssl.SSLContext | None:
        """A context to share among all connections; None for ``ws``. Raises ConfigError."""
        if self.scheme == "ws":
            return None
        if self.ca_file is not None:
            missing = f"the CA file {self.ca_file} can't be used: there is none"
            check_file(self.ca_file, missing)
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the CA file {self.ca_file} can't be used: {error.strerror or error}"
            ) from error


def parse_target(
    url: str,
    *,
    ca_file: str | None = None,
    origin: str | None = None,
    proxy: str | None = None,
    proxy_login_env: str = "",
    sources: Sequence[str] = (),
) -> Target:
    """``ws(s)://host[:port]/v1?deploymentId=UUID`` as a Target. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"the target {url!r} is not a URL: {error}") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigError(f"the target {url!r} is not a websocket URL; expected {EXAMPLE_URL}")
    if parts.username or parts.password:
        raise ConfigError("the target must not hold a user name or password")
    ids = parse_qs(parts.query).get("deploymentId", [])
    if len(ids) != 1:
        raise ConfigError(f"the target {url!r} lacks its deploymentId; expected {EXAMPLE_URL}")
    return Target(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or (443 if parts.scheme == "wss" else 80),
        path=parts.path or "/v1",
        deployment_id=deployment_id(ids[0]),
        ca_file=Path(ca_file) if ca_file else None,
        origin=origin or None,
        proxy=_proxy(proxy) if proxy else None,
        proxy_login_env=_login_env(proxy_login_env, proxy),
        sources=tuple(_address(source) for source in sources),
    )


def _proxy(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "http" or not parts.hostname or port is None or parts.username:
        # What stands there may be a password: it is not repeated.
        login = "@" in text
        raise ConfigError(
            "proxy: a login does not go into the URL; name the environment variable that holds "
            "user:password with proxy_login_env"
            if login
            else f"proxy: expected http://host:port (it is asked to CONNECT), got {text!r}"
        )
    return parts.hostname, port


def _login_env(name: str, proxy: str | None) -> str:
    if name and not proxy:
        raise ConfigError("proxy_login_env: there is no proxy")
    if name and not name.isidentifier():
        raise ConfigError("proxy_login_env: expected the name of an environment variable")
    return name


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigError(
            f"sources: expected an IP address of this machine, got {text!r}"
        ) from None


def deployment_id(text: str) -> str:
    """A deployment id in its canonical form. Raises ConfigError unless it is a UUID."""
    try:
        canonical = str(uuid.UUID(text))
    except ValueError:
        canonical = ""
    if canonical != text.lower():
        raise ConfigError(
            f"the deployment id {text!r} is not a UUID such as 12345678-90ab-cdef-1234-567890abcdef"
        )
    return canonical


FILE = Path(TARGETS.default)
WINDOW = "23:00-05:00"
ALWAYS = "always"
"""When the vendor lets load tests run, in the region's own time (vendor's load test FAQ)."""

# Region, the domain of its guest sockets (webmessaging.DOMAIN), and its own time.
REGIONS: MappingProxyType[str, tuple[str, str]] = MappingProxyType(
    {
        "us-east-1": ("mypurecloud.com", "America/New_York"),
        "us-east-2": ("use2.us-gov-pure.cloud", "America/New_York"),
        "us-west-2": ("usw2.pure.cloud", "America/Los_Angeles"),
        "ca-central-1": ("cac1.pure.cloud", "America/Toronto"),
        "mx-central-1": ("mxc1.pure.cloud", "America/Mexico_City"),
        "sa-east-1": ("sae1.pure.cloud", "America/Sao_Paulo"),
        "eu-west-1": ("mypurecloud.ie", "Europe/Dublin"),
        "eu-west-2": ("euw2.pure.cloud", "Europe/London"),
        "eu-central-1": ("mypurecloud.de", "Europe/Berlin"),
        "eu-central-2": ("euc2.pure.cloud", "Europe/Zurich"),
        "me-central-1": ("mec1.pure.cloud", "Asia/Dubai"),
        "ap-south-1": ("aps1.pure.cloud", "Asia/Kolkata"),
        "ap-northeast-1": ("mypurecloud.jp", "Asia/Tokyo"),
        "ap-northeast-2": ("apne2.pure.cloud", "Asia/Seoul"),
        "ap-northeast-3": ("apne3.pure.cloud", "Asia/Tokyo"),
        "ap-southeast-1": ("apse1.pure.cloud", "Asia/Singapore"),
        "ap-southeast-2": ("mypurecloud.com.au", "Australia/Sydney"),
    }
)

_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")
_TEXTS = ("url", "region", "time_zone", "approval", "window", "max_rate", "ca_file", "origin",
          "proxy", "proxy_login_env", "client_id_env", "client_secret_env", "config_url", "api_url",
          "sign_ins")  # fmt: skip
_TRUTHS = ("treat_as_real", "auto_join", "greets", "turns", "replies")
_NUMBERS = ("max_sessions", "connections_per_minute")
_LISTS = {"sources": "addresses", "queues": "ids", "flows": "ids"}
_OF_TARGET = ("ca_file", "origin", "proxy", "proxy_login_env", "sources")
_AS_WRITTEN = (*_TRUTHS, *_NUMBERS, "client_id_env", "client_secret_env")
_KEYS = (*_TEXTS, *_TRUTHS, *_NUMBERS, *_LISTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which terms a deployment may be loaded.

    ``window`` is (from, to) in ``zone``; None: runs may go on at any time.
    """

    name: str
    target: Target
    zone: ZoneInfo | None = None
    window: tuple[time, time] | None = (time(23), time(5))
    approval: str = ""
    max_sessions: int | None = None
    max_rate_per_s: float | None = None
    treat_as_real: bool = False
    """a target on this machine that is guarded as if it were not, to rehearse the guard"""
    connections_per_minute: int | None = None
    """new connections a minute that all workers together may make; None: not written"""
    auto_join: bool = False
    """guests join when their session opens, as a widget does with autoStart"""
    greets: bool | None = None
    """whether the flow says something by itself; None: not written"""
    turns: bool | None = None
    """whether it answers in several messages, so that guests wait for all of them"""
    replies: bool | None = None
    """whether what guests say is answered: not where only agents answer"""
    sign_ins: Path | None = None
    """a file of JWTs, one a line, for a deployment whose guests sign in"""
    client_id_env: str = ""
    client_secret_env: str = ""
    config_url: str = ""
    api_url: str = ""
    queues: tuple[str, ...] = ()
    """ids of the queues that the run's conversations reach"""
    flows: tuple[str, ...] = ()
    """ids of the flows that they begin in"""
    written: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def window_text(self) -> str:
        """As the targets file has it."""
        if self.window is None:
            return ALWAYS
        opens, ends = self.window
        return f"{opens:%H:%M}-{ends:%H:%M}"

    @property
    def guarded(self) -> bool:
        """Whether a run needs approval, window, cap and preflight."""
        return self.treat_as_real or not self.target.loopback

    @property
    def platform_facts(self) -> dict[str, Any]:
        """What can be told of the operators' side; no secret, only where secrets are kept."""
        return {
            "api_url": self.api_url,
            "client_id_env": self.client_id_env,
            "client_secret_env": self.client_secret_env,
            "queues": list(self.queues),
            "flows": list(self.flows),
        }

    @property
    def fingerprint(self) -> str:
        """Changes with anything that is written about the target."""
        text = json.dumps({"url": self.target.url, **self.written}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def resolve_target(
    text: str, file: Path, *, ca_file: str | None = None, origin: str | None = None
) -> Terms:
    """The terms of a target given by URL or by name. Raises ConfigError.

    A URL that is written in the file has the terms written there. ``ca_file`` and ``origin``, when
    given, win over the file's. A login that its proxy needs is there, or it is a ConfigError too.
    """
    if not text.strip():
        raise ConfigError("the target is empty: expected a name of the targets file, or a URL")
    if "://" in text or "/" in text:
        target = parse_target(text, ca_file=ca_file, origin=origin)
        known = known_targets(file).values()
        named = next((terms for terms in known if terms.target.url == target.url), None)
        if named is None:
            return Terms(
                name="",
                target=target,
                zone=_zone({}, target.host),
                config_url=_config_url(target),
                api_url=_api_url(target),
            )
    elif file.exists() or file.is_symlink():
        named = read_target(text, file)
    else:
        raise ConfigError(
            f"the target {text!r} is not a websocket URL, and there is no {file} with names of "
            "targets (harness target init writes one)"
        )
    target = replace(
        named.target,
        ca_file=Path(ca_file) if ca_file else named.target.ca_file,
        origin=origin or named.target.origin,
    )
    target.proxy_login()  # missing, it would fail each connection
    return replace(named, target=target)


def read_target(name: str, file: Path) -> Terms:
    """The terms of a name in the file. Raises ConfigError with the names that there are."""
    targets = read_targets(file)
    if name not in targets:
        raise ConfigError(f"{file}: there is no target {name!r}; there are: {', '.join(targets)}")
    return targets[name]


def known_targets(file: Path) -> dict[str, Terms]:
    """As :func:`read_targets`, but none where there is no such file."""
    return read_targets(file) if file.exists() or file.is_symlink() else {}


def read_targets(file: Path) -> dict[str, Terms]:
    """All targets of a file by name. Raises ConfigError naming file, target and key."""
    missing = f"there is no file of targets {str(file)!r}; harness target init writes one"
    check_file(file, missing)
    data = read_toml(file, missing=missing)
    tables = data.pop("targets", {})
    if data:
        raise ConfigError(f"{file}: unknown key {next(iter(data))!r}; expected [targets.NAME]")
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(f"{file}: no target in it; expected [targets.NAME] with url = …")
    return {name: _terms(name, table, file) for name, table in tables.items()}


def _terms(name: str, table: Any, file: Path) -> Terms:
    place = f"{file}: [targets.{name}]"
    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        raise ConfigError(f"{place}: a name is a letter with letters, digits, - and _")
    if name in ("sim", SIMULATOR_NAME):
        raise ConfigError(f"{place}: this name is that of the embedded simulator; choose another")
    if not isinstance(table, dict):
        raise ConfigError(f"{place}: expected a table")
    for key, value in table.items():
        if key not in _KEYS:
            raise ConfigError(f"{place}: unknown key {key!r}; there are: {', '.join(_KEYS)}")
        if key in _TEXTS and not isinstance(value, str):
            raise ConfigError(f"{place}: {key}: expected a text, got {value!r}")
        if key in _TRUTHS and not isinstance(value, bool):
            raise ConfigError(f"{place}: {key}: expected true or false, got {value!r}")
        if key in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"{place}: {key}: expected a whole number above zero, got {value!r}")
        if key in _LISTS and not (
            isinstance(value, list) and all(isinstance(item, str) for item in value)
        ):
            raise ConfigError(f"{place}: {key}: expected a list of {_LISTS[key]}, got {value!r}")
    if "url" not in table:
        raise ConfigError(f"{place}: url is missing")
    try:
        target = parse_target(table["url"], **_taken(table, _OF_TARGET))
        max_rate = table.get("max_rate")
        return Terms(
            name=name,
            target=target,
            zone=_zone(table, target.host),
            window=parse_window(table.get("window", WINDOW)),
            approval=table.get("approval", "").strip(),
            max_rate_per_s=None if max_rate is None else rate_per_s(max_rate, "max_rate"),
            sign_ins=Path(table["sign_ins"]) if table.get("sign_ins") else None,
            config_url=table.get("config_url", "") or _config_url(target),
            api_url=table.get("api_url", "") or _api_url(target),
            queues=tuple(table.get("queues", [])),
            flows=tuple(table.get("flows", [])),
            written=MappingProxyType(dict(table)),
            **_taken(table, _AS_WRITTEN),
        )
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _taken(table: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """What is written under these keys; where nothing is, there is a default."""
    return {key: table[key] for key in keys if key in table}


def parse_window(text: str) -> tuple[time, time] | None:
    """``"23:00-05:00"`` as two times of day; None for ``"always"``. Raises ConfigError."""
    if text.strip() == ALWAYS:
        return None
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"window: expected a form such as {WINDOW}, or {ALWAYS}, got {text!r}")
    start, end = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
    if start == end:
        raise ConfigError(f"window: {text!r} is empty; write {ALWAYS} for any time")
    return start, end


def domain_of(host: str) -> str:
    """``mypurecloud.de`` of ``webmessaging.mypurecloud.de``; empty for any other host."""
    name, _, domain = host.lower().partition(".")
    return domain if name == "webmessaging" and domain in dict(REGIONS.values()) else ""


def _zone(table: Mapping[str, Any], host: str) -> ZoneInfo | None:
    region = table.get("region", "")
    if region and region not in REGIONS:
        raise ConfigError(f"region: {region!r} is not known; there are: {', '.join(REGIONS)}")
    domain = REGIONS[region][0] if region else domain_of(host)
    name = table.get("time_zone") or dict(REGIONS.values()).get(domain)
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"time_zone: {name!r} is not known here") from None


def _config_url(target: Target) -> str:
    path = f"/webdeployments/v1/deployments/{target.deployment_id}/config.json"
    if domain := domain_of(target.host):
        return f"https://api-cdn.{domain}{path}"
    return _beside(target) + path if target.loopback else ""


def _api_url(target: Target) -> str:
    if domain := domain_of(target.host):
        return f"https://api.{domain}"
    return _beside(target) if target.loopback else ""


def _beside(target: Target) -> str:
    """A simulator serves everything on the port of its guest socket."""
    return f"{target.scheme.replace('ws', 'http', 1)}://{target.netloc}"
