"""Named deployments with the terms under which they may be loaded, from a TOML file.

``harness target init`` writes a commented file. A name can be given wherever a target is asked
for; a plain URL works for targets on this machine only, because it comes without terms.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import time
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from harness.config.target import Target, parse_target
from harness.errors import ConfigError
from harness.units import rate_per_s

FILE = Path("targets.toml")
WINDOW = "23:00-05:00"
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
_KEYS = (*_TEXTS, *_TRUTHS, *_NUMBERS, *_LISTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which terms a deployment may be loaded. ``window`` is (from, to) in ``zone``."""

    name: str
    target: Target
    zone: ZoneInfo | None = None
    window: tuple[time, time] = (time(23), time(5))
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
        known = read_targets(file).values() if file.is_file() else ()
        for terms in known:
            if terms.target.url == target.url:
                return _at_hand(_with(terms, ca_file, origin))
        return Terms(
            name="",
            target=target,
            zone=_zone({}, target.host),
            config_url=_config_url(target),
            api_url=_api_url(target),
        )
    if not file.is_file():
        raise ConfigError(
            f"the target {text!r} is not a websocket URL, and there is no {file} with names of "
            "targets (harness target init writes one)"
        )
    targets = read_targets(file)
    if text not in targets:
        raise ConfigError(f"{file}: there is no target {text!r}; there are: {', '.join(targets)}")
    return _at_hand(_with(targets[text], ca_file, origin))


def _at_hand(terms: Terms) -> Terms:
    terms.target.proxy_login()  # missing, it would fail each connection
    return terms


def _with(terms: Terms, ca_file: str | None, origin: str | None) -> Terms:
    changes: dict[str, Any] = {}
    if ca_file:
        changes["ca_file"] = Path(ca_file)
    if origin:
        changes["origin"] = origin
    return replace(terms, target=replace(terms.target, **changes)) if changes else terms


def read_targets(file: Path) -> dict[str, Terms]:
    """All targets of a file by name. Raises ConfigError naming file, target and key."""
    try:
        data = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} can't be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    tables = data.pop("targets", {})
    if data:
        raise ConfigError(f"{file}: unknown key {next(iter(data))!r}; expected [targets.NAME]")
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(f"{file}: no target in it; expected [targets.NAME] with url = …")
    return {name: _terms(name, table, file) for name, table in tables.items()}


def _terms(name: str, table: Any, file: Path) -> Terms:
    place = f"{file}: [targets.{name}]"
    if not re.fullmatch(r"[A-Za-z][\w-]*", name) or name == "sim":
        raise ConfigError(f"{place}: a name is a letter with letters, digits, - and _, and not sim")
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
        target = parse_target(
            table["url"],
            ca_file=table.get("ca_file"),
            origin=table.get("origin"),
            proxy=table.get("proxy"),
            proxy_login_env=table.get("proxy_login_env", ""),
            sources=table.get("sources", []),
        )
        max_rate = table.get("max_rate")
        return Terms(
            name=name,
            target=target,
            zone=_zone(table, target.host),
            window=parse_window(table.get("window", WINDOW)),
            approval=table.get("approval", "").strip(),
            max_sessions=table.get("max_sessions"),
            max_rate_per_s=None if max_rate is None else rate_per_s(max_rate, "max_rate"),
            treat_as_real=table.get("treat_as_real", False),
            connections_per_minute=table.get("connections_per_minute"),
            auto_join=table.get("auto_join", False),
            greets=table.get("greets"),
            turns=table.get("turns"),
            replies=table.get("replies"),
            sign_ins=Path(table["sign_ins"]) if table.get("sign_ins") else None,
            client_id_env=table.get("client_id_env", ""),
            client_secret_env=table.get("client_secret_env", ""),
            config_url=table.get("config_url", "") or _config_url(target),
            api_url=table.get("api_url", "") or _api_url(target),
            queues=tuple(table.get("queues", [])),
            flows=tuple(table.get("flows", [])),
            written=MappingProxyType(dict(table)),
        )
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def parse_window(text: str) -> tuple[time, time]:
    """``"23:00-05:00"`` as two times of day. Raises ConfigError."""
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"window: expected a form such as {WINDOW}, got {text!r}")
    start, end = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
    if start == end:
        raise ConfigError(f"window: {text!r} has no length")
    return start, end


def domain_of(host: str) -> str:
    """``mypurecloud.de`` of ``webmessaging.mypurecloud.de``; empty for any other host."""
    name, _, domain = host.lower().partition(".")
    known = {domain for domain, _ in REGIONS.values()}
    return domain if name == "webmessaging" and domain in known else ""


def _zone(table: Mapping[str, Any], host: str) -> ZoneInfo | None:
    region = table.get("region", "")
    if region and region not in REGIONS:
        raise ConfigError(f"region: {region!r} is not known; there are: {', '.join(REGIONS)}")
    name = table.get("time_zone", "")
    if not name and region:
        name = REGIONS[region][1]
    if not name and (domain := domain_of(host)):
        name = next(zone for known, zone in REGIONS.values() if known == domain)
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
