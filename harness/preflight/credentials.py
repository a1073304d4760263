"""Do the platform credentials work, and for what? Learnt by asking for what cannot exist."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from harness.errors import ConfigError, PlatformApiError
from harness.platform_api.client import Credentials, Places, PlatformApi
from harness.platform_api.conversations import (
    conversations_of_guests,
    conversations_of_run,
    observe,
)
from harness.platform_api.limits import organisation_limits
from harness.preflight.checks import Check, Status
from harness.targets import Terms

PATIENCE_S = 10.0
TRIES = 2
NOBODY = "00000000-0000-4000-8000-000000000000"
"""No conversation has this id, and no guest: 404 says that we may ask, 403 that we may not."""
NAME = "platform"


def check_credentials(
    terms: Terms, environment: Mapping[str, str] = os.environ
) -> tuple[list[Check], dict[str, int]]:
    """What the client may do whose variables the target names, and the organisation's limits.

    The limits are by key (``platform_api.limits.WORDS``); empty where they can't be read.
    """
    if not terms.client_id_env or not terms.client_secret_env:
        text = "no credentials named (client_id_env, client_secret_env): no audit by the platform"
        return [Check(name=NAME, status=Status.SKIPPED, text=text)], {}
    url = terms.api_url or None
    try:
        credentials = Credentials.from_environment(
            environment, names=(terms.client_id_env, terms.client_secret_env)
        )
        login = url and url.replace("https://api.", "https://login.", 1)
        places = Places.of(terms.target, url, login)
    except ConfigError as error:
        return [Check(name=NAME, status=Status.WARN, text=str(error))], {}
    api = PlatformApi.towards(terms.target, credentials, places, patience_s=PATIENCE_S, tries=TRIES)
    try:
        return _ask(api, terms)
    except PlatformApiError as error:
        refused = error.status in (400, 401)
        why = f"the sign-in was refused: {error}" if refused else f"it can't be asked: {error}"
        return [Check(name=NAME, status=Status.FAIL, text=why)], {}
    finally:
        api.close()


def _ask(api: PlatformApi, terms: Terms) -> tuple[list[Check], dict[str, int]]:
    now = datetime.now(UTC)
    lately = now - timedelta(minutes=1)
    message = f"/api/v2/conversations/messages/{NOBODY}"
    limits: dict[str, int] = {}
    questions: Sequence[tuple[Callable[[], object], str, str]] = [
        (lambda: api.get(message), "conversation:webmessaging:view", "audits"),
        (
            lambda: list(conversations_of_guests(api, [NOBODY], lately, now)),
            "analytics:conversationDetail:view",
            "audits",
        ),
        (
            lambda: conversations_of_run(api, NOBODY, lately, now),
            "conversation:participant:attributesview",
            "audits that find conversations by the run's id",
        ),
        (
            lambda: api.patch(message, {"state": "disconnected"}),
            "conversation:communication:disconnect",
            "sweep --platform",
        ),
        (
            lambda: limits.update(organisation_limits(api)),
            "limits:organization:view",
            "the organisation's own limits",
        ),
    ]
    for ids, kind in ((terms.queues, "queue"), (terms.flows, "flow")):
        if ids:
            named = {"queues": [], "flows": [], f"{kind}s": list(ids)}
            permission = f"analytics:{kind}Observation:view"
            count = lambda named=named: observe(api, **named)  # noqa: E731 - one of the list
            questions = [*questions, (count, permission, f"counts of the {kind}s")]
    found: list[Check] = []
    for ask, permission, needed_for in questions:
        try:
            ask()
        except PlatformApiError as error:
            if error.status == 404:
                continue  # there is no such thing, and we may ask for it
            if error.status != 403:
                raise
            text = f"signed in, but it lacks {permission}: needed for {needed_for}"
            found.append(Check(name=NAME, status=Status.WARN, text=text))
    if not found:
        text = "signed in; it may do all that audit, sweep --platform and this need"
        found = [Check(name=NAME, status=Status.OK, text=text)]
    return found, limits
