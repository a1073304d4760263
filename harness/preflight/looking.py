"""The part of a preflight that touches the world: the way there, its configuration."""

import json
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from harness.config.targets_file import Terms
from harness.errors import ConfigError, TransportError
from harness.preflight.checks import Check, Status
from harness.transport.dial import Address
from harness.transport.http import request
from harness.transport.websocket import probe

WITHIN_S = 10.0


def look_at_the_way(terms: Terms) -> list[Check]:
    """Reachability, TLS and upgrade."""
    try:
        phases = probe(terms.target, timeout_s=WITHIN_S)
    except TransportError as error:
        return [Check(name="reach", status=Status.FAIL, text=str(error))]
    taken = ", ".join(f"{name} {ns / 1e6:.1f} ms" for name, ns in phases.items())
    checks = [Check(name="reach", status=Status.OK, text=taken)]
    if terms.target.scheme == "ws":
        plain = Status.OK if terms.target.loopback else Status.FAIL
        checks.append(Check(name="tls", status=plain, text="none: the connection is in clear"))
    else:
        by = "a private CA" if terms.target.ca_file else "the system's CAs"
        checks.append(Check(name="tls", status=Status.OK, text=f"certificate accepted by {by}"))
    return checks


def fetch_config(terms: Terms) -> tuple[Mapping[str, Any] | None, float | None, Check]:
    """config.json, how far this machine's clock is off (seconds), and how the fetching went."""
    if not terms.config_url:
        text = "where config.json is kept is not known: write config_url"
        return None, None, Check(name="config.json", status=Status.WARN, text=text)
    try:
        tls = ssl.create_default_context(cafile=terms.target.ca_file)
        way = Address.of(terms.target, None)
        answer = request("GET", terms.config_url, tls=tls, way=way, timeout_s=WITHIN_S)
        if answer.status != 200:
            why = f"HTTP {answer.status}"
            if answer.status == 403:
                why += " (so it is for an unknown deployment id)"
            return None, None, Check(name="config.json", status=Status.FAIL, text=why)
        config = json.loads(answer.body)
    except (TransportError, OSError, ValueError) as error:
        return None, None, Check(name="config.json", status=Status.FAIL, text=str(error))
    offset_s = None
    if told := answer.headers.get("date"):
        with suppress(ValueError):
            # The header has whole seconds: what it tells is half a second later, on average.
            offset_s = time.time() - parsedate_to_datetime(told).timestamp() - 0.5
    if not isinstance(config, dict):
        text = "expected a JSON object"
        return None, offset_s, Check(name="config.json", status=Status.FAIL, text=text)
    return config, offset_s, Check(name="config.json", status=Status.OK, text="fetched and read")


def fetch_domains(terms: Terms) -> Mapping[str, Any] | None:
    """``domains.json`` beside the configuration: who may connect; None where it can't be had."""
    if not terms.config_url:
        return None
    try:
        tls = ssl.create_default_context(cafile=terms.target.ca_file)
        way = Address.of(terms.target, None)
        url = terms.config_url.rpartition("/")[0] + "/domains.json"
        answer = request("GET", url, tls=tls, way=way, timeout_s=WITHIN_S)
        found = json.loads(answer.body) if answer.status == 200 else None
    except (ConfigError, TransportError, OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
