"""What the findings of a preflight mean: pure judgements, each one line with what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from harness.config.guard import Refusal
from harness.platform_api.client import CONNECTIONS, MESSAGES, REQUESTS, WORDS
from harness.protocol.names import (
    CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE,
    MESSAGES_PER_SESSION_PER_SECOND,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
)
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


class Status(StrEnum):
    """How a check came out. Only FAIL makes a preflight fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of a preflight."""

    name: str
    status: Status
    text: str


def check_deployment(
    config: Mapping[str, Any], *, sign_ins: bool = False, auto_join: bool = False
) -> list[Check]:
    """What the deployment's public configuration (config.json) says about load.

    ``sign_ins``: whether guests have any; ``auto_join``: whether they join before they speak.
    """
    found = []
    status = config.get("status")
    active = status == "Active"
    found.append(
        Check(
            name="deployment",
            status=Status.OK if active else Status.FAIL,
            text="active" if active else f"its status is {status!r}, not Active",
        )
    )
    talks = _inner(config, "messenger", "apps", "conversations")
    clear = _inner(talks, "conversationClear").get("enabled", False)
    found.append(
        Check(
            name="clear",
            status=Status.OK if clear else Status.FAIL,
            text="guests may end their conversations"
            if clear
            else "Clear Conversation is off: no session could be proved ended. Switch it on in the "
            "Messenger configuration",
        )
    )
    auto = auto_start(config)
    how = "by Join, before a text" if auto else "with the first text"
    text = f"a widget's conversations begin {how} (autoStart {auto})"
    if auto is not auto_join:
        text += ", guests' do not: " + ("write auto_join = true" if auto else "auto_join is on")
    found.append(Check(name="start", status=Status.OK, text=text))
    life_s = talks.get("sessionDurationSeconds")
    text = "not stated"
    if isinstance(life_s, int | float) and 0 <= life_s < MOST_LIFE_S:
        text = duration_text(float(life_s))
    found.append(Check(name="session life", status=Status.OK, text=text))
    found += _sign_in(_inner(config, "auth"), sign_ins=sign_ins)
    return found


def auto_start(config: Mapping[str, Any]) -> bool:
    """Whether a widget joins before its guest has said anything."""
    talks = _inner(config, "messenger", "apps", "conversations")
    return _inner(talks, "autoStart").get("enabled") is True


def _sign_in(auth: Mapping[str, Any], *, sign_ins: bool) -> list[Check]:
    """Where sign-in is on, anonymous guests can't send messages, unless they may step up to it."""
    name = "sign-in"
    if not auth.get("enabled", False):
        if sign_ins:
            text = "the deployment knows none: leave sign_ins away"
            return [Check(name=name, status=Status.WARN, text=text)]
        return []
    if sign_ins:
        return [Check(name=name, status=Status.OK, text="guests sign in, as the deployment asks")]
    if auth.get("allowSessionUpgrade", False):
        text = "the deployment knows signed-in customers; guests without a sign-in come in as "
        text += "strangers"
        return [Check(name=name, status=Status.WARN, text=text)]
    text = "the deployment takes no messages of guests who have not signed in: write sign_ins = "
    text += "FILE (JWTs, one a line)"
    return [Check(name=name, status=Status.FAIL, text=text)]


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
    told = [Check(name="requests", status=Status.WARN, text=text) for text in breaks]
    if peak_per_s is None:
        text = f"a closed workload of {at_once} guests: how often they connect is up to the service"
        return [Check(name="connections", status=Status.SKIPPED, text=text), *told]
    per_min = peak_per_s * 60
    over = per_min > limit
    return [
        Check(
            name="connections",
            status=Status.FAIL if over else Status.OK,
            text=f"up to {per_min:,.4g} a minute, the deployment takes {limit:,}"
            + (": lower the rate, or ask for a higher limit" if over else ""),
        ),
        *told,
    ]


def check_limits(found: Mapping[str, int], *, connections_per_min: int | None) -> list[Check]:
    """The organisation's own limits, by their keys, against what guests keep to.

    ``connections_per_min`` is what the target's entry says; None: nothing. A limit of 0 is none.
    """
    if not found:
        return []
    kept = {**DOCUMENTED, CONNECTIONS: connections_per_min or DOCUMENTED[CONNECTIONS]}
    checks = []
    for key, limit in found.items():
        if 0 < limit < kept[key]:
            text = f"the organisation allows {limit:,} {WORDS[key]}, guests keep to {kept[key]:,}: "
            text += (
                f"write connections_per_minute = {limit}"
                if key == CONNECTIONS
                else "let their stories be slower than that"
            )
            checks.append(Check(name="limits", status=Status.WARN, text=text))
    if not checks:
        told = ", ".join(f"{limit:,} {WORDS[key]}" for key, limit in found.items() if limit)
        text = f"the organisation's own: {told or 'none'}"
        checks = [Check(name="limits", status=Status.OK, text=text)]
    return checks


def check_clock(offset_s: float | None) -> Check:
    """This machine's clock against the service's."""
    if offset_s is None:
        return Check(name="clock", status=Status.SKIPPED, text="the service told no time")
    off = abs(offset_s) > CLOCK_OFF_S
    return Check(
        name="clock",
        status=Status.WARN if off else Status.OK,
        text=f"{round(offset_s):+d} s against the service's"
        + (": sessions would be hard to find by time afterwards" if off else ""),
    )


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
    found = []
    if peak_per_s is not None and safe_per_s is None:
        text = "it did not find how many new guests a second this machine carries"
        found.append(Check(name="calibration", status=Status.WARN, text=text))
    if peak_per_s is not None and safe_per_s is not None:
        over = peak_per_s > safe_per_s
        found.append(
            Check(
                name="calibration",
                status=Status.WARN if over else Status.OK,
                text=f"up to {peak_per_s:,.3g} new guests a second, this machine is good for "
                f"{safe_per_s:,.3g}"
                + (f" (measured {disturbed})" if disturbed else "")
                + (": use more processes or machines, or its lag spoils the figures" * over),
            )
        )
    if room is not None and at_once > room:
        found.append(
            Check(
                name="calibration",
                status=Status.WARN,
                text=f"{at_once:,} sessions at once, this machine has room for {room:,}",
            )
        )
    return found


def check_guard(found: tuple[Refusal, ...], *, guarded: bool) -> list[Check]:
    """Approval, window and cap as a run of now would find them."""
    if not guarded:
        text = "on this machine: no approval, window or cap is needed"
        return [Check(name="terms", status=Status.OK, text=text)]
    if not found:
        return [Check(name="terms", status=Status.OK, text="approval, window and cap are in order")]
    return [Check(name=refusal.rule, status=Status.WARN, text=refusal.why) for refusal in found]


def passed(checks: list[Check]) -> bool:
    """Whether a run may rest on this preflight."""
    return all(check.status is not Status.FAIL for check in checks)


def _inner(mapping: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        inner = mapping.get(key)
        if not isinstance(inner, Mapping):
            return {}
        mapping = inner
    return mapping
