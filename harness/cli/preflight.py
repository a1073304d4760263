"""``harness preflight``: everything that can be checked before a run, and a stamp that it was."""

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.parsing import Command, Namespace, option
from harness.cli.which_run import reports_option
from harness.clock import utc_iso
from harness.config.guard import Intent, Rule, refusals
from harness.config.target import FILE, Terms, resolve_target
from harness.exit_codes import ExitCode
from harness.machine import Share, raise_file_limit, shortfalls, this_machine
from harness.platform_api.client import CONNECTIONS
from harness.preflight.checks import (
    Check,
    Status,
    auto_start,
    check_calibration,
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
from harness.preflight.stamp import Learned, write_stamp, write_table
from harness.streams import open_console
from harness.studies.calibrate.calibration import CALIBRATION, read_calibration
from harness.supervise.locust_process import inspect_locustfile

STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.SKIPPED: "dim"}


def run(args: Namespace) -> int:
    """Check one thing after the other and show each as it comes."""
    terms = resolve_target(args.target, args.targets, ca_file=args.ca_file, origin=args.origin)
    inspected = inspect_locustfile(args.locustfile, {}) if args.locustfile else {}
    plan = inspected.get("arrivals")
    console = open_console()
    platform = check_credentials(terms)
    checks, learned, directory = _outside(terms, args, platform, plan, console)
    limits = platform.limits
    checks += platform.checks
    checks += check_limits(limits, connections_per_min=terms.connections_per_minute)
    at_once = args.users or (plan or {}).get("slots") or 1
    peak = None if plan is None else plan["peak_per_s"]
    if args.locustfile:
        checks += check_schedule(
            peak_per_s=peak,
            at_once=at_once,
            connections_per_min=terms.connections_per_minute or limits.get(CONNECTIONS),
            breaks=inspected["may_break"],
        )
    processes = max(1, args.processes)
    checks += _machine(terms, at_once=at_once, peak=peak, processes=processes)
    checks += _calibrated(args.reports / CALIBRATION, terms, at_once, peak, processes)
    intent = Intent(
        sessions=None if plan is None else plan["count"],
        at_once=at_once,
        peak_per_s=peak,
        stop_timeout_s=15.0,
        breaks=inspected.get("breaks", ()),
    )
    found = refusals(terms, intent, now=datetime.now(UTC), preflight=None)
    rules = tuple(refusal for refusal in found if refusal.rule is not Rule.PREFLIGHT)
    checks += check_guard(rules, guarded=terms.guarded)
    _show(checks, console)
    good = passed(checks)
    if not args.no_guest:
        write_stamp(args.reports, terms, passed=good, learned=learned)
    if directory is not None:
        path = write_table(directory, _table(terms, checks, learned, passed=good))
        console.print(Text.assemble(("table      ", "dim"), str(path)), soft_wrap=True)
    console.print(
        Text.assemble(
            ("preflight  ", "dim"), ("passed", "bold green") if good else ("FAILED", "bold red")
        )
    )
    return ExitCode.PASS if good else ExitCode.PREFLIGHT


def _outside(
    terms: Terms,
    args: Namespace,
    platform: Platform,
    plan: dict[str, Any] | None,
    console: Console,
) -> tuple[list[Check], Learned | None, Path | None]:
    """The checks of all that is not here; what they taught, and where the guest's ledger is."""
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
    if why := _no_guest_because(args, checks, reached=reached):
        checks.append(Check(name="one guest", status=Status.SKIPPED, text=why))
        return checks, None, None
    console.print(Text("one guest is on its visit: this takes up to a minute", "dim"))
    api, _ = open_platform(terms) if platform.signed_in and not args.quick else (None, None)
    outside = None if api is None else Outside(api)
    meeting = meet(
        terms,
        args.reports,
        quick=args.quick,
        while_open=(lambda _: None) if outside is None else outside.look_while_open,
    )
    checks.append(check_visit(meeting, replies=terms.replies))
    if args.quick:
        return checks, None, meeting.directory
    facts = learn(meeting) | {"origin_needed": needed}
    facts["auto_start"] = None if config is None else auto_start(config)
    if outside is not None and api is not None:
        if meeting.ended and meeting.message_id:
            console.print(Text("looking for it from the operators' side", "dim"))
            outside.look_after(meeting)
        api.close()
        facts |= outside.learned
    learned = Learned(**facts)
    checks += lessons(learned, sessions=None if plan is None else plan["count"])
    if outside is not None and meeting.ended and meeting.message_id:
        refused = sorted(outside.refused)
        checks += check_outside(learned, outside.standing, refused=refused, within_s=WITHIN_S)
    return checks, learned, meeting.directory


def _table(
    terms: Terms, checks: list[Check], learned: Learned | None, *, passed: bool
) -> dict[str, Any]:
    """What preflight.json holds; no token and no secret."""
    return {
        "target": terms.name,
        "url": terms.target.url,
        "at": utc_iso(),
        "passed": passed,
        "checks": [
            {"name": check.name, "status": str(check.status), "text": check.text}
            for check in checks
        ],
        "learned": None if learned is None else learned.as_dict(),
    }


def _no_guest_because(args: Namespace, checks: list[Check], *, reached: bool) -> str:
    """Why no guest is sent; empty if one is. What could not be ended is not opened."""
    if args.no_guest:
        return "not asked for"
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


def _machine(terms: Terms, *, at_once: int, peak: float | None, processes: int) -> list[Check]:
    raise_file_limit()
    machine = this_machine()
    share = Share(
        at_once=-(-at_once // processes),
        per_s=None if peak is None else peak / processes,
        processes=processes,
        sources=max(1, len(terms.target.sources)),
    )
    short = shortfalls(machine, share)
    if short:
        return [Check(name="machine", status=Status.FAIL, text=why) for why in short]
    text = f"{machine.files:,} files, {machine.ports:,} ports, {machine.cores} cores"
    return [Check(name="machine", status=Status.OK, text=text)]


def _calibrated(
    path: Path, terms: Terms, at_once: int, peak: float | None, processes: int
) -> list[Check]:
    """Against what this machine was found to carry, if it was calibrated."""
    if not path.is_file():
        text = "not done: harness calibrate measures what this machine can generate"
        return [Check(name="calibration", status=Status.SKIPPED, text=text)]
    found = read_calibration(path)
    if found.host != platform.node():
        text = f"{path} is of another machine ({found.host})"
        return [Check(name="calibration", status=Status.SKIPPED, text=text)]
    carried = found.best(tls=terms.target.scheme == "wss")
    # Processes share the work; cores beyond those that there are carry nothing.
    share = min(processes, found.cores) / found.processes
    return check_calibration(
        peak_per_s=peak,
        at_once=at_once,
        safe_per_s=None if carried.guests is None else carried.guests.safe_per_s * share,
        room=None if carried.sessions is None else carried.sessions.room,
        disturbed=carried.disturbed,
    )


def _show(checks: list[Check], console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for check in checks:
        table.add_row(Text(check.status, style=STYLES[check.status]), check.name, check.text)
    console.print(table)


COMMAND = Command(
    "preflight",
    run,
    [
        option(
            "--target", required=True, metavar="NAME", help="a name of the targets file, or a URL"
        ),
        option("--targets", type=Path, default=FILE, metavar="FILE", help="targets file"),
        option("--locustfile", metavar="FILE", help="check its schedule too"),
        option("-u", "--users", type=int, metavar="N", help="slots that the run will have"),
        option(
            "--processes", type=int, default=1, metavar="N", help="processes that it will have here"
        ),
        option("--ca-file", metavar="PEM", help="private CA of a wss target"),
        option("--origin", metavar="ORIGIN", help="Origin header of the upgrade"),
        option("--quick", flag=True, help="one text, one reply; nothing is learnt from it"),
        option("--no-guest", flag=True, help="send no guest (the stamp then is none)"),
        reports_option(),
    ],
    description=(
        "Check a target before a run: the way there and its TLS, the deployment's configuration, "
        "one guest end to end, platform credentials if there are any, this machine, the schedule "
        "against the service's limits, approval and window. The guest says two texts, listens "
        "after each, and clears; what this teaches (does the flow greet, how many messages a turn, "
        "how long it all takes, how the Platform API shows it) is kept for runs, audits and "
        "sweeps. "
        "Runs against real deployments need a preflight that passed not long ago."
    ),
    epilog=(
        "exit codes: 0 passed (there may be warnings); 7 something failed; 8 bad input.\n\n"
        "examples:\n"
        "  harness preflight --target staging\n"
        "  harness preflight --target staging --locustfile locustfiles/load.py --users 200\n"
        "  harness preflight --target 'ws://127.0.0.1:8080/v1?deploymentId=UUID' --no-guest\n"
    ),
)
