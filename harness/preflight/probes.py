"""Everything that can be checked before a run, one thing after the other.

Whether the platform credentials work, and for what, is learnt by asking for what cannot exist. Each
question is judged by itself: only a refused sign-in is a failure. What else goes wrong is told with
the question and in the service's own words.
"""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

from harness.clock import utc_iso
from harness.config.run_config import ENVIRONMENT, STOP_TIMEOUT
from harness.config.target import Terms
from harness.errors import (
    ConfigError,
    ConnectionLost,
    PlatformApiError,
    TransportError,
    safe_quote,
)
from harness.foreign import an_object, parse_json
from harness.machine import Share, raise_file_limit, shortfalls, this_machine, too_many_processes
from harness.platform_api.client import (
    CONNECTIONS,
    Credentials,
    Places,
    PlatformApi,
    organisation_limits,
)
from harness.platform_api.conversations import (
    conversation_of_message,
    conversations_of_guests,
    conversations_of_run,
    observe,
)
from harness.preflight.checks import (
    FAIL,
    OK,
    SKIPPED,
    WARN,
    Check,
    auto_start,
    check_clock,
    check_deployment,
    check_flow,
    check_guard,
    check_limits,
    check_operator_view,
    check_origin,
    check_schedule,
    check_visit,
    lessons,
    passed,
)
from harness.preflight.guard import Intent, Learned, Rule, refusals
from harness.preflight.trial import SHOWN_WITHIN_S, OperatorView, learn, try_one_guest
from harness.transport.dial import Address
from harness.transport.http import Answer, request
from harness.transport.websocket import probe
from harness.units import seconds

PATIENCE_S = 10.0
TRIES = 2
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
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
        return None, Check(NAME, SKIPPED, text)
    try:
        credentials = Credentials.from_environment(
            environment, names=(terms.client_id_env, terms.client_secret_env)
        )
        places = Places.of(terms.target, terms.api_url or None, way="write api_url")
    except ConfigError as error:
        return None, Check(NAME, WARN, str(error))
    return PlatformApi.towards(
        terms.target, credentials, places, patience_s=PATIENCE_S, tries=TRIES
    ), None


def check_credentials(
    terms: Terms,
    environment: Mapping[str, str] = ENVIRONMENT,
    *,
    tell: Callable[[str], object] = lambda _: None,
) -> Platform:
    """What the client may do whose variables the target names; ``tell`` hears what is asked."""
    api, instead = open_platform(terms, environment)
    if api is None:
        return Platform(checks=[] if instead is None else [instead])
    with closing(api):
        return _ask_all(api, terms, tell)


def _ask_all(api: PlatformApi, terms: Terms, tell: Callable[[str], object]) -> Platform:
    platform = Platform()
    tell("Platform API: signing in")
    try:
        api.sign_in()
    except PlatformApiError as error:
        refused = error.status == SIGN_IN_REFUSED
        why = f"the sign-in was refused: {error}" if refused else f"it can't be asked: {error}"
        status = FAIL if refused else WARN
        platform.checks.append(Check(NAME, status, why))
        return platform
    platform.signed_in = True
    for question in _questions(api, terms, platform):
        tell(f"Platform API: {question.what}")
        try:
            question.ask()
        except PlatformApiError as error:
            if text := _what_it_means(question, error):
                platform.checks.append(Check(NAME, WARN, text))
    if not platform.checks:
        text = "signed in, with all permissions that audit, sweep --platform and preflight need"
        platform.checks.append(Check(NAME, OK, text))
    return platform


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


def _questions(api: PlatformApi, terms: Terms, platform: Platform) -> list[Question]:
    now = datetime.now(UTC)
    lately = now - timedelta(minutes=1)
    message = f"/api/v2/conversations/messages/{UNKNOWN_ID}"

    def deployment() -> None:
        path = f"/api/v2/webdeployments/deployments/{terms.target.deployment_id}"
        platform.deployment = an_object(api.get(path)) or None

    questions = [
        Question(
            lambda: api.get(message),
            "how one conversation stands",
            "conversation:webmessaging:view",
            "audits",
        ),
        Question(
            lambda: conversation_of_message(api, UNKNOWN_ID),
            "which conversation a message belongs to",
            "conversation:webmessaging:view",
            "audits",
        ),
        Question(
            lambda: list(conversations_of_guests(api, [UNKNOWN_ID], lately, now)),
            "conversations by their details",
            "analytics:conversationDetail:view",
            "audits",
        ),
        Question(
            lambda: conversations_of_run(api, UNKNOWN_ID, lately, now),
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
            lambda: platform.limits.update(organisation_limits(api)),
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
            questions.append(
                Question(
                    lambda named=named: observe(api, **named),  # type: ignore[misc]
                    f"what is open in the {kind}s",
                    f"analytics:{kind}Observation:view",
                    f"counts of the {kind}s",
                )
            )
    return questions


def check_reachability(terms: Terms) -> list[Check]:
    """Reachability, TLS and upgrade."""
    try:
        phases = probe(terms.target, timeout_s=PATIENCE_S)
    except TransportError as error:
        return [Check("reach", FAIL, str(error))]
    taken = ", ".join(f"{name} {ns / 1e6:.1f} ms" for name, ns in phases.items())
    checks = [Check("reach", OK, taken)]
    if terms.target.scheme == "ws":
        plain = OK if terms.target.loopback else FAIL
        checks.append(Check("tls", plain, "none: the connection is not encrypted"))
    else:
        by = "a private CA" if terms.target.ca_file else "the system's CAs"
        checks.append(Check("tls", OK, f"certificate accepted by {by}"))
    return checks


def fetch_config(terms: Terms) -> tuple[Mapping[str, Any] | None, float | None, Check]:
    """config.json, how far this machine's clock is off (seconds), and how the fetching went."""
    if not terms.config_url:
        text = "the address of config.json is not known: write config_url"
        return None, None, Check("config.json", WARN, text)
    try:
        answer = _fetch(terms, terms.config_url)
        if answer.status != 200:
            why = f"HTTP {answer.status}"
            if place := answer.headers.get("location"):
                why += f" to {safe_quote(place)}: if it is there, write it as config_url"
            if answer.status == 403:
                why += " (so it is for an unknown deployment id)"
            return None, None, Check("config.json", FAIL, why)
        config = parse_json(answer.body)
    except ValueError as error:
        begins = safe_quote(answer.body[:40].decode("utf-8", "replace"))
        why = f"not JSON: {error}; it begins with {begins!r}: is config_url the right address?"
        return None, None, Check("config.json", FAIL, why)
    except (TransportError, OSError) as error:
        why = error.reason if isinstance(error, ConnectionLost) else str(error)
        return None, None, Check("config.json", FAIL, f"can't be fetched: {why}")
    offset_s = None
    if date := answer.headers.get("date"):
        with suppress(ValueError):
            # The header has whole seconds: what it tells is half a second later, on average.
            offset_s = time.time() - parsedate_to_datetime(date).timestamp() - 0.5
    if not isinstance(config, dict):
        return None, offset_s, Check("config.json", FAIL, "expected a JSON object")
    named = config.get("id")
    if isinstance(named, str) and named.lower() != terms.target.deployment_id.lower():
        why = f"it is that of another deployment, {safe_quote(named)}: is config_url right?"
        return None, offset_s, Check("config.json", FAIL, why)
    return config, offset_s, Check("config.json", OK, "fetched and read")


def _fetch(terms: Terms, url: str) -> Answer:
    tls = ssl.create_default_context(cafile=terms.target.ca_file)
    return request("GET", url, way=Address.of(terms.target, tls), timeout_s=PATIENCE_S)


def fetch_domains(terms: Terms) -> Mapping[str, Any] | None:
    """``domains.json`` beside the configuration: who may connect; None where it can't be had."""
    if not terms.config_url:
        return None
    try:
        answer = _fetch(terms, terms.config_url.rpartition("/")[0] + "/domains.json")
        domains = parse_json(answer.body) if answer.status == 200 else None
    except (ConfigError, TransportError, OSError, ValueError):
        return None
    return domains if isinstance(domains, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The run that is to come, as far as it is known."""

    inspected: Mapping[str, Any] = field(default_factory=dict)
    """what its locustfile contains; empty without one"""
    users: int | None = None
    processes: int = 1

    @property
    def intent(self) -> Intent:
        stop_timeout_s = seconds(STOP_TIMEOUT)
        return Intent.of_plan(self.inspected, users=self.users, stop_timeout_s=stop_timeout_s)


@dataclass(slots=True, kw_only=True)
class Findings:
    checks: list[Check]
    learned: Learned | None = None
    """by a whole visit"""
    directory: Path | None = None
    """where the guest's ledger is, if there was one"""

    @property
    def passed(self) -> bool:
        return passed(self.checks)

    def table(self, terms: Terms) -> dict[str, Any]:
        """What ``preflight.json`` holds; no token and no secret."""
        return {
            "target": terms.name,
            "url": terms.target.url,
            "at": utc_iso(),
            "passed": self.passed,
            "checks": [asdict(check) for check in self.checks],
            "learned": None if self.learned is None else asdict(self.learned),
        }


def check_all(
    terms: Terms,
    planned: Planned,
    *,
    calibrated: Sequence[Check],
    reports: Path,
    quick: bool,
    no_guest: bool,
    tell: Callable[[str], object],
) -> Findings:
    """All checks in the order in which they are shown.

    ``calibrated`` says what this machine was found to carry; ``tell`` is told what takes long.
    Raises ConfigError.
    """
    platform = check_credentials(terms, tell=tell)
    tell(f"{terms.target.netloc}: the way there")
    intent = planned.intent
    findings = _check_service(terms, platform, planned, reports, quick, no_guest, tell)
    limits, budget = platform.limits, terms.connections_per_minute
    findings.checks += platform.checks
    findings.checks += check_limits(limits, connections_per_min=budget)
    if planned.inspected:
        findings.checks += check_schedule(
            peak_per_s=intent.peak_per_s,
            at_once=intent.at_once,
            connections_per_min=budget or limits.get(CONNECTIONS),
            breaks=planned.inspected["may_break"],
        )
    findings.checks += _machine(terms, planned)
    findings.checks += calibrated
    refused = refusals(terms, intent, now=datetime.now(UTC), preflight=None)
    rules = tuple(refusal for refusal in refused if refusal.rule is not Rule.PREFLIGHT)
    findings.checks += check_guard(rules, guarded=terms.guarded)
    return findings


def _check_service(
    terms: Terms,
    platform: Platform,
    planned: Planned,
    reports: Path,
    quick: bool,
    no_guest: bool,
    tell: Callable[[str], object],
) -> Findings:
    """The checks of all that is not here, and what they taught."""
    checks = check_reachability(terms)
    reached = passed(checks)
    config, offset_s, fetched = fetch_config(terms)
    checks.append(fetched)
    joins, signs_in = terms.auto_join, terms.sign_ins is not None
    if config is not None:
        checks += check_deployment(config, sign_ins=signs_in, auto_join=joins)
    domains = platform.deployment or fetch_domains(terms)
    domain, needed = check_origin(terms.target.origin, domains, reached=reached)
    checks.append(domain)
    checks += check_flow(platform.deployment, terms.flows)
    checks.append(check_clock(offset_s))
    if why := "not asked for" if no_guest else _no_guest_because(checks, reached=reached):
        checks.append(Check("one guest", SKIPPED, why))
        return Findings(checks=checks)
    tell("trying one guest from end to end: this takes up to a minute")
    api, _ = open_platform(terms) if platform.signed_in and not quick else (None, None)
    view = None if api is None else OperatorView(api)
    trial = try_one_guest(
        terms,
        reports,
        quick=quick,
        while_open=(lambda _: None) if view is None else view.look_while_open,
    )
    checks.append(check_visit(trial, replies=terms.replies))
    if quick:
        return Findings(checks=checks, directory=trial.directory)
    facts = learn(trial) | {"origin_needed": needed}
    facts["auto_start"] = None if config is None else auto_start(config)
    if view is not None and api is not None:
        if trial.ended and trial.message_id:
            tell("looking for it from the operators' side")
            view.look_after(trial)
        api.close()
        facts |= view.learned
    learned = Learned(**facts)
    checks += lessons(learned, sessions=planned.intent.sessions)
    if view is not None and trial.ended and trial.message_id:
        refused = sorted(view.refused)
        checks += check_operator_view(learned, view.state, refused=refused, within_s=SHOWN_WITHIN_S)
    return Findings(checks=checks, learned=learned, directory=trial.directory)


def _no_guest_because(checks: Sequence[Check], *, reached: bool) -> str:
    """Why no guest is sent; empty if one is. What could not be ended is not opened."""
    if not reached:
        return "the target can't be reached"
    failed = {check.name for check in checks if check.status is FAIL}
    reasons = {
        "clear": "it could not be ended",
        "config.json": "whether it could be ended is not known",
        "sign-in": "it could say nothing without a sign-in",
        "deployment": "the deployment takes none",
    }
    return next((f"none is opened: {why}" for name, why in reasons.items() if name in failed), "")


def _machine(terms: Terms, planned: Planned) -> list[Check]:
    raise_file_limit()
    machine, processes, intent = this_machine(), planned.processes, planned.intent
    share = Share(
        at_once=-(-intent.at_once // processes),
        per_s=None if intent.peak_per_s is None else intent.peak_per_s / processes,
        processes=processes,
        sources=max(1, len(terms.target.sources)),
    )
    if short := shortfalls(machine, share):
        return [Check("machine", FAIL, why) for why in short]
    cores = f"{machine.cores} core{'s' * (machine.cores != 1)}"
    text = f"{machine.files:,} files, {machine.ports:,} ports, {cores}"
    if crowded := too_many_processes(processes):
        return [Check("machine", WARN, f"{text}; {crowded}")]
    return [Check("machine", OK, text)]
