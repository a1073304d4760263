"""Do the platform credentials work, and for what? Learnt by asking for what cannot exist.

Each question is judged by itself: only a refused sign-in is a failure. What else goes wrong is told
with the question and in the service's own words.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from harness.config.targets_file import Terms
from harness.errors import ConfigError, PlatformApiError
from harness.platform_api.client import Credentials, Places, PlatformApi, organisation_limits
from harness.platform_api.conversations import (
    conversation_of_message,
    conversations_of_guests,
    conversations_of_run,
    observe,
)
from harness.preflight.checks import Check, Status

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
    terms: Terms, environment: Mapping[str, str] = os.environ
) -> tuple[PlatformApi | None, Check | None]:
    """The API for whose client the target names variables; or why there is none."""
    if not terms.client_id_env or not terms.client_secret_env:
        text = "no credentials named (client_id_env, client_secret_env): no audit by the platform"
        return None, Check(name=NAME, status=Status.SKIPPED, text=text)
    url = terms.api_url or None
    try:
        credentials = Credentials.from_environment(
            environment, names=(terms.client_id_env, terms.client_secret_env)
        )
        login = url and url.replace("https://api.", "https://login.", 1)
        places = Places.of(terms.target, url, login)
    except ConfigError as error:
        return None, Check(name=NAME, status=Status.WARN, text=str(error))
    return PlatformApi.towards(
        terms.target, credentials, places, patience_s=PATIENCE_S, tries=TRIES
    ), None


def check_credentials(terms: Terms, environment: Mapping[str, str] = os.environ) -> Platform:
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
                found.checks.append(Check(name=NAME, status=Status.WARN, text=text))
    if not found.checks:
        text = "signed in; it may do all that audit, sweep --platform and this need"
        found.checks.append(Check(name=NAME, status=Status.OK, text=text))
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
