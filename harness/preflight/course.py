"""Everything that can be checked before a run, one thing after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.clock import utc_iso
from harness.config.guard import Intent, Rule, refusals
from harness.config.target import Terms
from harness.machine import Share, raise_file_limit, shortfalls, this_machine
from harness.platform_api.client import CONNECTIONS
from harness.preflight.checks import (
    Check,
    Status,
    auto_start,
    check_clock,
    check_deployment,
    check_flow,
    check_guard,
    check_limits,
    check_origin,
    check_outside,
    check_schedule,
    check_visit,
    lessons,
    passed,
)
from harness.preflight.credentials import (
    Platform,
    check_credentials,
    fetch_config,
    fetch_domains,
    look_at_the_way,
    open_platform,
)
from harness.preflight.meeting import WITHIN_S, Outside, learn, meet
from harness.preflight.stamp import Learned

STOP_TIMEOUT_S = 15.0
"""That of a run which is not told another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The run that is to come, as far as it is known."""

    inspected: Mapping[str, Any] = field(default_factory=dict)
    """what its locustfile contains; empty without one"""
    users: int | None = None
    processes: int = 1

    @property
    def arrivals(self) -> Mapping[str, Any] | None:
        """The locustfile's schedule."""
        found: Mapping[str, Any] | None = self.inspected.get("arrivals")
        return found

    @property
    def guests(self) -> int | None:
        """How many arrive by it."""
        return None if self.arrivals is None else int(self.arrivals["count"])

    @property
    def peak_per_s(self) -> float | None:
        """Its highest rate."""
        return None if self.arrivals is None else float(self.arrivals["peak_per_s"])

    @property
    def at_once(self) -> int:
        """Guests at a time, at most."""
        return int(self.users or (self.arrivals or {}).get("slots") or 1)


@dataclass(slots=True, kw_only=True)
class Found:
    """What a preflight has found."""

    checks: list[Check]
    learned: Learned | None = None
    """by a whole visit"""
    directory: Path | None = None
    """where the guest's ledger is, if there was one"""

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return passed(self.checks)

    def table(self, terms: Terms) -> dict[str, Any]:
        """What ``preflight.json`` holds; no token and no secret."""
        return {
            "target": terms.name,
            "url": terms.target.url,
            "at": utc_iso(),
            "passed": self.passed,
            "checks": [
                {"name": check.name, "status": str(check.status), "text": check.text}
                for check in self.checks
            ],
            "learned": None if self.learned is None else self.learned.as_dict(),
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
) -> Found:
    """All checks in the order in which they are shown.

    ``calibrated`` says what this machine was found to carry; ``tell`` is told what takes long.
    Raises ConfigError.
    """
    platform = check_credentials(terms)
    found = _outside(terms, platform, planned, reports, quick, no_guest, tell)
    limits, budget = platform.limits, terms.connections_per_minute
    found.checks += platform.checks
    found.checks += check_limits(limits, connections_per_min=budget)
    if planned.inspected:
        found.checks += check_schedule(
            peak_per_s=planned.peak_per_s,
            at_once=planned.at_once,
            connections_per_min=budget or limits.get(CONNECTIONS),
            breaks=planned.inspected["may_break"],
        )
    found.checks += _machine(terms, planned)
    found.checks += calibrated
    intent = Intent(
        sessions=planned.guests,
        at_once=planned.at_once,
        peak_per_s=planned.peak_per_s,
        stop_timeout_s=STOP_TIMEOUT_S,
        breaks=planned.inspected.get("breaks", ()),
    )
    refused = refusals(terms, intent, now=datetime.now(UTC), preflight=None)
    rules = tuple(refusal for refusal in refused if refusal.rule is not Rule.PREFLIGHT)
    found.checks += check_guard(rules, guarded=terms.guarded)
    return found


def _outside(
    terms: Terms,
    platform: Platform,
    planned: Planned,
    reports: Path,
    quick: bool,
    no_guest: bool,
    tell: Callable[[str], object],
) -> Found:
    """The checks of all that is not here, and what they taught."""
    checks = look_at_the_way(terms)
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
        checks.append(Check.skipped("one guest", why))
        return Found(checks=checks)
    tell("one guest is on its visit: this takes up to a minute")
    api, _ = open_platform(terms) if platform.signed_in and not quick else (None, None)
    outside = None if api is None else Outside(api)
    meeting = meet(
        terms,
        reports,
        quick=quick,
        while_open=(lambda _: None) if outside is None else outside.look_while_open,
    )
    checks.append(check_visit(meeting, replies=terms.replies))
    if quick:
        return Found(checks=checks, directory=meeting.directory)
    facts = learn(meeting) | {"origin_needed": needed}
    facts["auto_start"] = None if config is None else auto_start(config)
    if outside is not None and api is not None:
        if meeting.ended and meeting.message_id:
            tell("looking for it from the operators' side")
            outside.look_after(meeting)
        api.close()
        facts |= outside.learned
    learned = Learned(**facts)
    checks += lessons(learned, sessions=planned.guests)
    if outside is not None and meeting.ended and meeting.message_id:
        refused = sorted(outside.refused)
        checks += check_outside(learned, outside.standing, refused=refused, within_s=WITHIN_S)
    return Found(checks=checks, learned=learned, directory=meeting.directory)


def _no_guest_because(checks: Sequence[Check], *, reached: bool) -> str:
    """Why no guest is sent; empty if one is. What could not be ended is not opened."""
    if not reached:
        return "the target can't be reached"
    failed = {check.name for check in checks if check.status is Status.FAIL}
    if "clear" in failed:
        return "none is opened: it could not be ended"
    if "config.json" in failed:
        return "none is opened: whether it could be ended is not known"
    if "sign-in" in failed:
        return "none is opened: it could say nothing without a sign-in"
    return "none is opened: the deployment takes none" if "deployment" in failed else ""


def _machine(terms: Terms, planned: Planned) -> list[Check]:
    raise_file_limit()
    machine, processes, peak = this_machine(), planned.processes, planned.peak_per_s
    share = Share(
        at_once=-(-planned.at_once // processes),
        per_s=None if peak is None else peak / processes,
        processes=processes,
        sources=max(1, len(terms.target.sources)),
    )
    short = shortfalls(machine, share)
    if short:
        return [Check.fail("machine", why) for why in short]
    text = f"{machine.files:,} files, {machine.ports:,} ports, {machine.cores} cores"
    return [Check.ok("machine", text)]
