"""Do the platform credentials work, and for what? Learnt by asking for what cannot exist.

Each question is judged by itself: only a refused sign-in is a failure. What else goes wrong is told
with the question and in the service's own words.

The part of a preflight that touches the world: the way there, its configuration.
"""

import json
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from harness.config.run_config import ENVIRONMENT
from harness.config.target import Terms
from harness.errors import ConfigError, PlatformApiError, TransportError
from harness.platform_api.client import Credentials, Places, PlatformApi, organisation_limits
from harness.platform_api.conversations import (
    conversation_of_message,
    conversations_of_guests,
    conversations_of_run,
    observe,
)
from harness.preflight.checks import Check, Status
from harness.transport.dial import Address
from harness.transport.http import request
from harness.transport.websocket import probe

PATIENCE_S = 10.0
TRIES = 2
NOBODY = "00000000-0000-4000-8000-000000000000"
"""No conversation has this id, and no guest: 404 says that we may ask, 403 that we may not."""
NAME = "platform"
SIGN_IN_REFUSED = 401


class Question(NamedTuple):
    """What is asked, which permission it needs (the vendor's definition), and what needs it."""

    ask: Callable[[], object]
    what: str
    permission: str
    needed_for: str


@dataclass(slots=True, kw_only=True)
class Platform:
    """What was learnt of the operators' side."""

    checks: list[Check] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    """the organisation's own, by key (``platform_api.limits.WORDS``), as far as they can be read"""
    deployment: Mapping[str, Any] | None = None
    """the deployment as operators see it: domains, flow, status"""
    signed_in: bool = False


def open_platform(
    terms: Terms, environment: Mapping[str, str] = ENVIRONMENT
) -> tuple[PlatformApi | None, Check | None]:
    """The API for whose client the target names variables; or why there is none."""
    if not terms.client_id_env or not terms.client_secret_env:
        text = "no credentials (client_id_env, client_secret_env): audits are not possible"
        return None, Check.skipped(NAME, text)
    url = terms.api_url or None
    try:
        credentials = Credentials.from_environment(
            environment, names=(terms.client_id_env, terms.client_secret_env)
        )
        login = url and url.replace("https://api.", "https://login.", 1)
        places = Places.of(terms.target, url, login)
    except ConfigError as error:
        return None, Check.warn(NAME, str(error))
    return PlatformApi.towards(
        terms.target, credentials, places, patience_s=PATIENCE_S, tries=TRIES
    ), None


def check_credentials(terms: Terms, environment: Mapping[str, str] = ENVIRONMENT) -> Platform:
    """What the client may do whose variables the target names."""
    api, instead = open_platform(terms, environment)
    if api is None:
        return Platform(checks=[] if instead is None else [instead])
    try:
        return _ask_all(api, terms)
    finally:
        api.close()


def _ask_all(api: PlatformApi, terms: Terms) -> Platform:
    found = Platform()
    try:
        api.sign_in()
    except PlatformApiError as error:
        refused = error.status == SIGN_IN_REFUSED
        why = f"the sign-in was refused: {error}" if refused else f"it can't be asked: {error}"
        status = Status.FAIL if refused else Status.WARN
        found.checks.append(Check(name=NAME, status=status, text=why))
        return found
    found.signed_in = True
    for question in _questions(api, terms, found):
        try:
            question.ask()
        except PlatformApiError as error:
            text = _what_it_means(question, error)
            if text:
                found.checks.append(Check.warn(NAME, text))
    if not found.checks:
        text = "signed in, with all permissions that audit, sweep --platform and preflight need"
        found.checks.append(Check.ok(NAME, text))
    return found


def _what_it_means(question: Question, error: PlatformApiError) -> str:
    """A sentence; empty where the answer is as good as any: there is no such thing."""
    if error.status == 404:
        return ""
    if error.status == 403:
        return (
            f"signed in, but it lacks {question.permission}: needed for {question.needed_for} "
            f"({question.what})"
        )
    return f"{question.what} (for {question.needed_for}) can't be asked: {error}"


def _questions(api: PlatformApi, terms: Terms, found: Platform) -> list[Question]:
    now = datetime.now(UTC)
    lately = now - timedelta(minutes=1)
    message = f"/api/v2/conversations/messages/{NOBODY}"

    def deployment() -> None:
        path = f"/api/v2/webdeployments/deployments/{terms.target.deployment_id}"
        told = api.get(path)
        found.deployment = told if isinstance(told, dict) else None

    asked = [
        Question(
            lambda: api.get(message),
            "how one conversation stands",
            "conversation:webmessaging:view",
            "audits",
        ),
        Question(
            lambda: conversation_of_message(api, NOBODY),
            "which conversation a message belongs to",
            "conversation:webmessaging:view",
            "audits",
        ),
        Question(
            lambda: list(conversations_of_guests(api, [NOBODY], lately, now)),
            "conversations by their details",
            "analytics:conversationDetail:view",
            "audits",
        ),
        Question(
            lambda: conversations_of_run(api, NOBODY, lately, now),
            "conversations with their attributes",
            "conversation:participant:attributesview",
            "audits of many sessions",
        ),
        Question(
            lambda: api.patch(message, {"state": "disconnected"}),
            "an end to a conversation",
            "conversation:communication:disconnect",
            "sweep --platform",
        ),
        Question(
            lambda: found.limits.update(organisation_limits(api)),
            "the organisation's own limits",
            "limits:organization:view",
            "the checks of the schedule",
        ),
        Question(
            deployment,
            "the deployment's domains, flow and status",
            "webDeployments:deployment:view",
            "the checks of origin and flow",
        ),
    ]
    for ids, kind in ((terms.queues, "queue"), (terms.flows, "flow")):
        if ids:
            named = {"queues": [], "flows": [], f"{kind}s": list(ids)}
            asked.append(
                Question(
                    lambda named=named: observe(api, **named),  # type: ignore[misc]
                    f"what is open in the {kind}s",
                    f"analytics:{kind}Observation:view",
                    f"counts of the {kind}s",
                )
            )
    return asked


WITHIN_S = 10.0


def look_at_the_way(terms: Terms) -> list[Check]:
    """Reachability, TLS and upgrade."""
    try:
        phases = probe(terms.target, timeout_s=WITHIN_S)
    except TransportError as error:
        return [Check.fail("reach", str(error))]
    taken = ", ".join(f"{name} {ns / 1e6:.1f} ms" for name, ns in phases.items())
    checks = [Check.ok("reach", taken)]
    if terms.target.scheme == "ws":
        plain = Status.OK if terms.target.loopback else Status.FAIL
        checks.append(Check(name="tls", status=plain, text="none: the connection is not encrypted"))
    else:
        by = "a private CA" if terms.target.ca_file else "the system's CAs"
        checks.append(Check.ok("tls", f"certificate accepted by {by}"))
    return checks


def fetch_config(terms: Terms) -> tuple[Mapping[str, Any] | None, float | None, Check]:
    """config.json, how far this machine's clock is off (seconds), and how the fetching went."""
    if not terms.config_url:
        text = "the address of config.json is not known: write config_url"
        return None, None, Check.warn("config.json", text)
    try:
        tls = ssl.create_default_context(cafile=terms.target.ca_file)
        way = Address.of(terms.target, None)
        answer = request("GET", terms.config_url, tls=tls, way=way, timeout_s=WITHIN_S)
        if answer.status != 200:
            why = f"HTTP {answer.status}"
            if answer.status == 403:
                why += " (so it is for an unknown deployment id)"
            return None, None, Check.fail("config.json", why)
        config = json.loads(answer.body)
    except (TransportError, OSError, ValueError) as error:
        return None, None, Check.fail("config.json", str(error))
    offset_s = None
    if told := answer.headers.get("date"):
        with suppress(ValueError):
            # The header has whole seconds: what it tells is half a second later, on average.
            offset_s = time.time() - parsedate_to_datetime(told).timestamp() - 0.5
    if not isinstance(config, dict):
        return None, offset_s, Check.fail("config.json", "expected a JSON object")
    return config, offset_s, Check.ok("config.json", "fetched and read")


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
