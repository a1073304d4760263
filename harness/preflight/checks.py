"""What the findings of a preflight mean: pure judgements, each one line with what to do.

The lines can be read by a person and pasted into a ticket.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from harness.errors import safe_quote
from harness.foreign import an_object, inner
from harness.guest.settings import TURN_SILENCE_S
from harness.limits import (
    CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE,
    MESSAGES_PER_SESSION_PER_SECOND,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
)
from harness.platform_api.client import CONNECTIONS, MESSAGES, REQUESTS, WORDS
from harness.platform_api.conversations import ConversationState
from harness.preflight.guard import Learned, Refusal
from harness.preflight.trial import Trial
from harness.units import duration_text

DOCUMENTED = MappingProxyType(
    {
        CONNECTIONS: CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE,
        REQUESTS: REQUESTS_PER_CONNECTION_PER_MINUTE,
        MESSAGES: MESSAGES_PER_SESSION_PER_SECOND,
    }
)
"""What guests keep to (vendor's limits page)."""
CLOCK_OFF_S = 5.0
MOST_LIFE_S = 1e9
"""Of a session: what a configuration says beyond that is none."""
TOKENS_PER_SESSION = 1 / 51
"""AI tokens of a digital bot flow (the vendor's token pages, June 2026)."""
TOKENS_OF_AN_AGENT = (0.5, 1.2)
"""AI tokens an interaction of a virtual agent, and of an agentic one (the same pages)."""
SLOW_FIRST_S = 10.0
SILENCE_SHARE = 0.5


class Status(StrEnum):
    """How a check came out. Only FAIL makes a preflight fail."""

    OK = "ok"
    WARN = "warn"
    """Something to know; a run may begin all the same."""
    FAIL = "fail"
    SKIPPED = "skipped"
    """It was not looked at."""


OK, WARN, FAIL, SKIPPED = Status


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    status: Status
    text: str


def check_deployment(
    config: Mapping[str, Any], *, sign_ins: bool = False, auto_join: bool = False
) -> list[Check]:
    """What the deployment's public configuration (config.json) says about load.

    ``sign_ins``: whether guests have any; ``auto_join``: whether they join before they speak.
    """
    status = config.get("status")
    if status == "Active":
        active = Check("deployment", OK, "active")
    else:
        active = Check("deployment", FAIL, f"its status is {status!r}, not Active")
    talks = inner(config, "messenger", "apps", "conversations")
    on = inner(talks, "conversationClear", "enabled")
    if on is True:
        clear = Check("clear", OK, "guests may end their conversations")
    else:
        stands = "off" if on in (None, False) else f"neither on nor off ({safe_quote(str(on), 40)})"
        text = f"Clear Conversation is {stands}: no session could be proved ended. Switch it on "
        clear = Check("clear", FAIL, text + "in the Messenger configuration")
    auto = auto_start(config)
    how = "by Join, before a text" if auto else "with the first text"
    text = f"a widget begins its conversation {how} (autoStart is {'on' if auto else 'off'})"
    if auto is not auto_join:
        text += "; guests do not: " + ("write auto_join = true" if auto else "auto_join is on")
    start = Check("start", OK, text)
    life_s = inner(talks, "sessionDurationSeconds")
    stated = type(life_s) in (int, float) and 0 <= life_s < MOST_LIFE_S
    life = Check("session life", OK, duration_text(float(life_s)) if stated else "not stated")
    return [active, clear, start, life, *_sign_in(an_object(config.get("auth")), sign_ins=sign_ins)]


def auto_start(config: Mapping[str, Any]) -> bool:
    """Whether a widget joins before its guest has said anything."""
    talks = inner(config, "messenger", "apps", "conversations")
    return inner(talks, "autoStart", "enabled") is True


def _sign_in(auth: Mapping[str, Any], *, sign_ins: bool) -> list[Check]:
    """Where sign-in is on, anonymous guests can't send messages, unless they may step up to it."""
    name = "sign-in"
    if not auth.get("enabled", False):
        if sign_ins:
            return [Check(name, WARN, "the deployment has no sign-in: remove sign_ins")]
        return []
    if sign_ins:
        return [Check(name, OK, "guests sign in, as the deployment asks")]
    if auth.get("allowSessionUpgrade", False):
        return [Check(name, WARN, "the deployment has a sign-in; guests without one are anonymous")]
    text = "only signed-in guests may send messages: write sign_ins = FILE (JWTs, one per line)"
    return [Check(name, FAIL, text)]


def check_schedule(
    *,
    peak_per_s: float | None,
    at_once: int,
    connections_per_min: int | None = None,
    breaks: Sequence[str] = (),
) -> list[Check]:
    """The schedule against the limits: documented, or as agreed for this target.

    ``breaks`` are sentences about stories that would break what one guest may do.
    """
    limit = connections_per_min or DOCUMENTED[CONNECTIONS]
    requests = [Check("requests", WARN, text) for text in breaks]
    if peak_per_s is None:
        text = f"closed workload of {at_once} guests: the service decides how often they connect"
        return [Check("connections", SKIPPED, text), *requests]
    per_min = peak_per_s * 60
    text = f"up to {per_min:,.4g} per minute; the limit is {limit:,}"
    if per_min > limit:
        text += ": lower the rate, or ask for a higher limit"
    return [Check("connections", FAIL if per_min > limit else OK, text), *requests]


def check_limits(limits: Mapping[str, int], *, connections_per_min: int | None) -> list[Check]:
    """The organisation's own limits, by their keys, against what guests keep to.

    ``connections_per_min`` is what the target's entry says; None: nothing. A limit of 0 is none.
    """
    if not limits:
        return []
    kept = {**DOCUMENTED, CONNECTIONS: connections_per_min or DOCUMENTED[CONNECTIONS]}
    checks = []
    for key, limit in limits.items():
        if 0 < limit < kept[key]:
            text = f"the organisation allows {limit:,} {WORDS[key]}, guests keep to {kept[key]:,}: "
            write = f"write connections_per_minute = {limit}"
            text += write if key == CONNECTIONS else "make their stories slower"
            checks.append(Check("limits", WARN, text))
    if not checks:
        listed = ", ".join(f"{limit:,} {WORDS[key]}" for key, limit in limits.items() if limit)
        checks = [Check("limits", OK, f"the organisation's own: {listed or 'none'}")]
    return checks


def check_clock(offset_s: float | None) -> Check:
    """This machine's clock against the service's."""
    if offset_s is None:
        return Check("clock", SKIPPED, "the service sent no time")
    off = abs(offset_s) > CLOCK_OFF_S
    text = f"{round(offset_s):+d} s compared with the service's"
    if off:
        text += ": it would be hard to find sessions by their time"
    return Check("clock", WARN if off else OK, text)


def check_calibration(
    *,
    peak_per_s: float | None,
    at_once: int,
    safe_per_s: float | None,
    room: int | None,
    disturbed: str = "",
) -> list[Check]:
    """What is asked of this machine against what ``harness calibrate`` found that it can carry.

    ``safe_per_s`` are new guests a second, ``room`` is how many sessions fit; None: not known.
    ``disturbed`` says that other work made the figures lower.
    """
    name, checks = "calibration", []
    if peak_per_s is not None and safe_per_s is None:
        checks.append(Check(name, WARN, "it has no figure for new guests per second"))
    elif peak_per_s is not None and safe_per_s is not None:
        over = peak_per_s > safe_per_s
        text = f"up to {peak_per_s:,.3g} new guests per second; this machine can generate "
        text += f"{safe_per_s:,.3g}" + (f" (measured {disturbed})" if disturbed else "")
        if over:
            text += ": use more processes or machines, or its lag spoils the figures"
        checks.append(Check(name, WARN if over else OK, text))
    if room is not None and at_once > room:
        text = f"{at_once:,} sessions at once; this machine has room for {room:,}"
        checks.append(Check(name, WARN, text))
    return checks


def check_guard(refusals: tuple[Refusal, ...], *, guarded: bool) -> list[Check]:
    """Approval, window, cap and limits, as a run that began now would find them."""
    if not guarded:
        return [Check("terms", OK, "on this machine: no approval, window or cap is needed")]
    if not refusals:
        return [Check("terms", OK, "approval, window, cap and limits are in order")]
    return [Check(refusal.rule, WARN, f"will be refused: {refusal.why}") for refusal in refusals]


def passed(checks: list[Check]) -> bool:
    """Whether a run may rest on this preflight."""
    return all(check.status is not FAIL for check in checks)


def check_visit(trial: Trial, *, replies: bool | None) -> Check:
    """How the visit went; a missing reply fails only where the target says ``replies = true``."""
    name = "one guest"
    if not trial.ended:
        why = trial.failure or trial.clear_refusal or "no proof"
        text = f"no proof that its session ended ({why}): run harness sweep {trial.directory}"
        return Check(name, FAIL, text)
    if trial.failure:
        return Check(name, FAIL, trial.failure)
    if trial.refusals:
        return Check(name, FAIL, f"its text was refused with {trial.refusals[0]}; it was cleared")
    if not trial.delivered:
        text = "opened and cleared, but the service never sent its text back, which says that it "
        text += "was taken: see whether the deployment takes messages (status, flow, sign-in)"
        return Check(name, FAIL, text)
    lost = ""
    if trial.reconnects:
        lost = "; its connection was lost and made again"
        lost += "" if trial.reconnects == 1 else f", {trial.reconnects} times"
    if not trial.answered:
        status = FAIL if replies else WARN
        text = f"opened and cleared, but nobody answered it{lost}"
        if not replies:
            text += ": write replies = false if that is right, replies = true if it is not"
        return Check(name, status, text)
    return Check(name, WARN if lost else OK, f"opened, answered ({trial.reply!r}), cleared{lost}")


def check_origin(
    origin: str | None, deployment: Mapping[str, Any] | None, *, reached: bool
) -> tuple[Check, bool | None]:
    """Domains and the Origin header; and whether one is needed, as far as it is known.

    ``deployment`` holds ``allowAllDomains`` and ``allowedDomains``; ``reached`` says whether an
    upgrade with ``origin`` was accepted.
    """
    name = "domains"
    if deployment is None or type(deployment.get("allowAllDomains")) is not bool:
        return Check(name, SKIPPED, "the allowed domains are not known"), None
    if deployment["allowAllDomains"]:
        return Check(name, OK, "any Origin, or none"), False
    listed = deployment.get("allowedDomains")
    domains = [safe_quote(str(one)) for one in listed] if isinstance(listed, list) else []
    shown = ", ".join(domains[:5]) or "none"
    if origin is None:
        if reached:
            text = f"only {shown}; but a connection without Origin was accepted"
            return Check(name, OK, text), False
        hint = domains[0] if domains else "DOMAIN"
        text = f'only {shown}: write origin = "https://{hint}", or say --origin'
        return Check(name, WARN, text), True
    host = (urlsplit(origin).hostname or "").lower()
    fits = any(host == one.lower() or host.endswith(f".{one.lower()}") for one in domains)
    text = f"only {shown}; the Origin is {origin}"
    if not fits:
        text += ", which is none of these"
    return Check(name, OK if fits else WARN, text), not fits or None


def check_flow(deployment: Mapping[str, Any] | None, flows: Sequence[str]) -> list[Check]:
    """The flow that the deployment begins in, and whether it is one of those that are counted."""
    flow = inner(deployment, "flow", "id")
    if not isinstance(flow, str) or not flow:
        return []
    text = safe_quote(flow)
    if not flows:
        text += f': write flows = ["{safe_quote(flow)}"] to count its open conversations'
    elif flow not in flows:
        text += f", and flows names another: {', '.join(flows)}"
    wrong = bool(flows) and flow not in flows
    return [Check("flow", WARN if wrong else OK, text)]


def lessons(learned: Learned, *, sessions: int | None = None) -> Iterator[Check]:
    """What was learnt of the flow and of the way out, a line each; what was not, is left out."""
    if learned.greets is not None:
        when = "after Join" if learned.joined else "with its first answer"
        many = _messages(learned.greeting_messages or 0)
        text = f"yes, {when}: {many}" if learned.greets else "no"
        yield Check("greets", OK, text)
    elif learned.turn_messages is not None:
        text = "not known: the second answer to the same text was a different one; write greets = "
        yield Check("greets", OK, text + "true or false")
    if learned.turn_messages is not None:
        text = f"{_messages(learned.turn_messages)} (the longer of two)"
        if learned.turn_messages > 1:
            text += ": runs wait for all of them, unless the target says turns"
        gap_s = learned.turn_gap_s or 0.0
        slow = gap_s > SILENCE_SHARE * TURN_SILENCE_S
        if slow:
            text += f"; up to {gap_s:.2g} s apart: run with --turn-silence {3 * gap_s:.2g}s"
        yield Check("turn", WARN if slow else OK, text)
    if learned.first_message_s is not None and learned.last_message_s is not None:
        slow = learned.first_message_s > SLOW_FIRST_S
        first, last = duration_text(learned.first_message_s), duration_text(learned.last_message_s)
        text = f"first message after {first}, last after {last} (the slower of two answers)"
        if slow:
            text += ": guests have to wait longer than that"
        yield Check("times", WARN if slow else OK, text)
    if learned.clear_s is not None:
        text = f"proved {learned.clear_s * 1000:.3g} ms after Clear"
        if learned.retired_s is not None:
            text += f"; the connection retired {learned.retired_s * 1000:.3g} ms later"
        if learned.close_code is not None:
            text += f", closed with {learned.close_code}"
        yield Check("end", OK, text)
    if learned.id_form or learned.time_form:
        text = f"ids: {learned.id_form}; times: {learned.time_form}"
        yield Check("forms", OK, text)
    if learned.answered_by:
        yield Check("answers by", OK, learned.answered_by + _cost(learned, sessions))


def _cost(learned: Learned, sessions: int | None) -> str:
    if learned.answered_by != "Bot":
        return ""
    many = 1000 if sessions is None else sessions
    few, most = TOKENS_OF_AN_AGENT
    return (
        f"; {many:,} guests take about {many * TOKENS_PER_SESSION:,.0f} AI tokens with a digital "
        f"bot flow, {many * few:,.0f} with a virtual agent, {many * most:,.0f} with an agentic one"
    )


def check_operator_view(
    learned: Learned, state: ConversationState, *, refused: Sequence[str], within_s: float
) -> list[Check]:
    """What the Platform API showed of the visit, and whether it proves the conversation ended."""
    name = "proved outside"
    if state.over:
        ended = learned.ended_s
        if ended is None:
            ended = learned.analytics_ends_s
        lag = "" if ended is None else f" {ended:g} s after Clear"
        proof = Check(name, OK, f"its conversation was over{lag}")
    elif state is ConversationState.OPEN:
        text = f"its conversation is still open {within_s:g} s after Clear: sessions would hold "
        text += "agents; look at it with harness audit"
        proof = Check(name, FAIL, text)
    else:
        text = "the Platform API does not show its conversation: an audit could not check it "
        text += "(another division, or a missing permission)"
        proof = Check(name, WARN, text)
    return [proof, _views(learned), _analytics(learned, refused, within_s)]


def _views(learned: Learned) -> Check:
    ways = {
        "its message": learned.message_leads,
        "its attributes": learned.search_shown,
        "its journey id": learned.journey_shown,
    }
    found_by = [way for way, leads in ways.items() if leads]
    not_found_by = [way for way, leads in ways.items() if leads is False]
    text = f"found by {' and '.join(found_by)}" if found_by else "found by none of the ways"
    if not_found_by:
        text += f"; not by {' or '.join(not_found_by)}"
    if learned.attribute_prefix:
        text += f"; attributes begin with '{safe_quote(learned.attribute_prefix)}'"
    purposes = {
        "itself": learned.purpose_direct,
        "analytics": learned.purpose_analytics,
        "search": learned.purpose_search,
    }
    called = [f"{safe_quote(name, 40)} ({view})" for view, name in purposes.items() if name]
    if called:
        text += f"; the guest is called {', '.join(called)}"
    return Check("views", OK if found_by else WARN, text)


def _analytics(learned: Learned, refused: Sequence[str], within_s: float) -> Check:
    name = "analytics"
    if learned.analytics_ends_s is not None:
        text = f"shows a guest {learned.analytics_shows_s:g} s after its first words and its end "
        text += f"{learned.analytics_ends_s:g} s after Clear, at most (asked every few seconds)"
        return Check(name, OK, text)
    if name in refused:
        return Check(name, WARN, "can't be asked with these credentials")
    what = "the guest" if learned.analytics_shows_s is None else "the guest's end"
    text = f"did not show {what} within {within_s:g} s: let audits wait longer (--deadline)"
    return Check(name, WARN, text)


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
