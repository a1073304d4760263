"""``harness plan``: what a launch needs, before anything is tested."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.analysis.knee import answer
from harness.analysis.planning import LaunchPlan, Wanted, peak_of_intervals, plan_launch
from harness.analysis.raised import Raised
from harness.cli.reports_option import add_reports
from harness.cli.searching import resume_search
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.report.calibration import CALIBRATION, read_calibration
from harness.report.console import open_console
from harness.report.opening import make_run_directory, new_run_id
from harness.report.plan_page import write_plan_page
from harness.units import duration_text, rate_per_s, seconds
from harness.workload.profile import read_profile

LOCUSTFILE = '''"""The planned launch: {peak:.4g} guests a minute at the peak, {held} in session."""

from locust import task

from harness.load import ArrivalShape, GuestUser, objective, poisson, ramp, steady


class Launch(ArrivalShape):
    arrivals = poisson(
        {arrivals},
        seed=1,
    )
    slots = {slots}


class Guest(GuestUser):
    think_time = "{think}s"

    @task
    def talk(self) -> None:
        with self.guest() as guest:
            for number in range({messages}):
                guest.say(f"Message {{number + 1}} of {messages}.")
                guest.await_reply(within="30s")
                guest.think()


objective("reply p95 < 5s", "session_open errors < 1%", "dropped == 0", "leftovers == 0")
'''


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Plans a launch from a few numbers: guests in session and new ones per minute at the peak "
        "against the service's documented limits, agents, whether a test of that size fits the "
        "approved window, generator machines, and what leftovers would cost in agents' hours."
    )
    parser.epilog = (
        "examples:\n"
        "  harness plan --chats-per-hour 3000 --peak-factor 1.6 --handle-time 8m --messages 12\n"
        "  harness plan --from monday.csv --handle-time 8m --messages 12 --concurrency 3\n"
        "  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\\n"
        "      --capacity 120/min --locustfile launch_plan.py --json\n"
        "  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\\n"
        "      --capacity reports/capacity-20261122-231500-ab12\n"
    )
    load = parser.add_argument_group("the load")
    load.add_argument("--chats-per-hour", metavar="N", help="chats in the busy hour")
    load.add_argument(
        "--from",
        dest="profile",
        type=Path,
        metavar="CSV",
        help="or: guests per interval (start,guests)",
    )
    load.add_argument(
        "--peak-factor",
        metavar="X",
        help="worst minutes of the busy hour over its mean (default: 1)",
    )
    load.add_argument(
        "--handle-time", required=True, metavar="TIME", help="length of a chat, e.g. 8m"
    )
    load.add_argument("--messages", required=True, metavar="N", help="messages of a guest per chat")
    staff = parser.add_argument_group("the agents")
    staff.add_argument("--concurrency", default="1", metavar="N", help="chats per agent at a time")
    staff.add_argument("--to-agents", default="100%", metavar="SHARE", help="chats that reach one")
    staff.add_argument("--answer-within", default="30s", metavar="TIME")
    staff.add_argument(
        "--service-level", default="80%", metavar="SHARE", help="answered in that time"
    )
    staff.add_argument("--patience", metavar="TIME", help="mean wait after which a guest gives up")
    test = parser.add_argument_group("the test")
    test.add_argument("--test-duration", default="1h", metavar="TIME")
    test.add_argument("--window", default="6h", metavar="TIME", help="approved hours of a night")
    test.add_argument(
        "--capacity",
        metavar="RATE",
        help="measured capacity, e.g. 390/min, or the folder of a capacity search",
    )
    machine = parser.add_argument_group("the generator machines")
    machine.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="what harness calibrate found (calibration.json in the reports folder, if there)",
    )
    machine.add_argument("--guests-per-machine", metavar="N", help="sessions at once (5000)")
    machine.add_argument("--rate-per-machine", metavar="RATE", help="new guests (50/s)")
    machine.add_argument("--messages-per-machine", metavar="RATE", help="messages (1000/s)")
    cost = parser.add_argument_group("what leftovers cost")
    cost.add_argument("--leftover-rate", default="0.5%", metavar="SHARE")
    cost.add_argument("--leftover-time", default="1h", metavar="TIME", help="how long one stays")
    parser.add_argument("--locustfile", type=Path, metavar="FILE", help="write a ready locustfile")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_reports(parser)


def run(args: argparse.Namespace) -> int:
    """Plan, print, and write page and JSON."""
    machines = read_machines(args)
    wanted = read_wanted(args, machines)
    plan = plan_launch(wanted)
    if args.locustfile is not None:
        write_locustfile(args.locustfile, wanted, plan)
    folder = make_run_directory(args.reports, f"plan-{new_run_id()}")
    rows = plan_rows(wanted, plan)
    page = write_plan_page(
        folder, wanted, plan, rows, about=machines.source, locustfile=locustfile_of(wanted, plan)
    )
    text = json.dumps({"wanted": asdict(wanted), "plan": plan.as_dict()}, indent=2)
    (folder / "plan.json").write_text(text)
    if args.json:
        print(text)
        return ExitCode.PASS
    console = open_console()
    show(rows, plan, console)
    if args.locustfile is not None:
        print(f"wrote {args.locustfile}")
    console.print(f"page  {page}", highlight=False, soft_wrap=True)
    return ExitCode.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What one generator machine carries, and who says so."""

    guests: float
    guests_per_s: float
    messages_per_s: float
    source: str


def read_machines(args: argparse.Namespace) -> Machines:
    """By the options, else by a calibration, else by defaults. ConfigError names the option."""
    path = args.calibration or args.reports / CALIBRATION
    guests, guests_per_s, messages_per_s = 5000.0, 50.0, 1000.0
    source = "machines not calibrated (harness calibrate does that)"
    if args.calibration is not None or path.is_file():
        found = read_calibration(path)
        best = found.best()
        if best.sessions is not None:
            guests = float(best.sessions.room)
        if best.guests is not None:
            guests_per_s = best.guests.safe_per_s
        if best.messages is not None:
            messages_per_s = best.messages.safe_per_s
        source = f"machines like {found.host or 'this one'}, calibrated {found.made[:10]}"
    if args.guests_per_machine is not None:
        guests = _number("--guests-per-machine", args.guests_per_machine)
    if args.rate_per_machine is not None:
        guests_per_s = rate_per_s(args.rate_per_machine, "--rate-per-machine")
    if args.messages_per_machine is not None:
        messages_per_s = rate_per_s(args.messages_per_machine, "--messages-per-machine")
    return Machines(
        guests=guests, guests_per_s=guests_per_s, messages_per_s=messages_per_s, source=source
    )


def read_capacity(text: str) -> dict[str, float]:
    """Guests a minute or at once: a rate as written, or what the folder of a search has proved."""
    folder = Path(text)
    if not folder.is_dir():
        if "/" in text and text[:1] not in "0123456789":
            raise ConfigError(f"--capacity: there is no folder {text!r}")
        return {"capacity_per_min": rate_per_s(text, "--capacity") * 60}
    search = resume_search(folder)
    found = answer(search.plan, search.tried)
    if found.low <= 0:
        raise ConfigError(f"--capacity: the search in {folder} has not found any load that is met")
    name = "capacity_per_min" if search.by is Raised.RATE else "capacity_at_once"
    return {name: search.by.shown(found.low)}


def read_wanted(args: argparse.Namespace, machines: Machines) -> Wanted:
    """The options as values. ConfigError names the option."""
    if (args.chats_per_hour is None) == (args.profile is None):
        raise ConfigError("give either --chats-per-hour or --from CSV")
    if args.profile is None:
        chats = _number("--chats-per-hour", args.chats_per_hour)
        peak = 1.0
    else:
        profile = read_profile(args.profile)
        try:
            chats, peak = peak_of_intervals(
                [float(guests) for guests in profile.guests], profile.interval_ns / 1e9
            )
        except ConfigError as error:
            raise ConfigError(f"{args.profile}: {error}") from None
    if args.peak_factor is not None:
        peak = _number("--peak-factor", args.peak_factor)
    patience = args.patience
    capacity = args.capacity
    return Wanted(
        chats_per_h=chats,
        peak_factor=peak,
        handle_s=seconds(args.handle_time, "--handle-time"),
        messages=_number("--messages", args.messages),
        concurrency=_number("--concurrency", args.concurrency),
        to_agents=_share("--to-agents", args.to_agents),
        answer_within_s=seconds(args.answer_within, "--answer-within"),
        service_level=_share("--service-level", args.service_level),
        patience_s=None if patience is None else seconds(patience, "--patience"),
        test_s=seconds(args.test_duration, "--test-duration"),
        window_s=seconds(args.window, "--window"),
        leftover_share=_share("--leftover-rate", args.leftover_rate),
        leftover_s=seconds(args.leftover_time, "--leftover-time"),
        **({} if capacity is None else read_capacity(capacity)),
        machine_guests=machines.guests,
        machine_guests_per_s=machines.guests_per_s,
        machine_messages_per_s=machines.messages_per_s,
    )


def show(rows: Sequence[tuple[str, str, str]], plan: LaunchPlan, console: Console) -> None:
    """The table for a person."""
    table = Table(title="Plan of the launch", title_justify="left", show_header=False)
    table.add_column("what", style="bold")
    table.add_column("figure", justify="right")
    table.add_column("why")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for warning in plan.warnings:
        console.print(f"[bold red]warning:[/] {warning}", highlight=False)
    console.print(f"arrivals to test with: {plan.arrivals}", highlight=False, soft_wrap=True)
    for command, why in plan.commands:
        console.print(f"  {command}", highlight=False, soft_wrap=True, end="")
        console.print(f"   # {why}", style="dim", highlight=False, soft_wrap=True)


def plan_rows(wanted: Wanted, plan: LaunchPlan) -> list[tuple[str, str, str]]:
    """What, figure, why."""
    handle = duration_text(wanted.handle_s)
    within = duration_text(wanted.answer_within_s)
    rows = [
        (
            "new guests at the peak",
            f"{plan.peak_per_min:.4g}/min",
            f"{wanted.chats_per_h:,.0f} an hour times {wanted.peak_factor:.3g}",
        ),
        (
            "worst minute",
            f"{plan.peak_minute}",
            f"exceeded once in a thousand; {plan.connections_share:.0%} of the service's 1000 a "
            "minute per deployment",
        ),
        (
            "guests in session",
            f"{plan.occupancy:,.0f}",
            f"rate times {handle} (Little); up to {plan.occupancy_high:,} by chance",
        ),
        (
            "requests per connection",
            f"{plan.requests_per_min:.3g}/min",
            f"{plan.requests_share:.0%} of the service's 60 a minute",
        ),
        (
            "agents",
            f"{plan.agents:,}",
            f"{plan.agent_slots:,} places, {wanted.concurrency:g} each: {plan.answered_within:.1%} "
            f"answered within {within} ({plan.model}"
            + (f", {plan.abandoned:.1%} give up)" if plan.abandoned else ")"),
        ),
        (
            "a test at the peak",
            f"{plan.test_guests:,} guests",
            f"{duration_text(wanted.test_s)}, "
            + (
                "does not fit any night"
                if plan.nights is None
                else f"{plan.nights} night{'s' * (plan.nights > 1)} of "
                f"{duration_text(wanted.window_s)}, each with filling up and draining"
            ),
        ),
        (
            "generator machines",
            f"{plan.machines}",
            f"for {plan.machines_for}, at {wanted.machine_guests:,.0f} guests, "
            f"{wanted.machine_guests_per_s:,.3g} new ones and "
            f"{wanted.machine_messages_per_s:,.4g} messages a second each",
        ),
        (
            "cost of leftovers",
            f"{plan.leftover_agents:,.3g} agents",
            f"kept busy: {wanted.leftover_share:.2%} of chats left over for "
            f"{duration_text(wanted.leftover_s)} each take "
            f"{plan.leftover_agent_hours_per_1000_chats:.3g} agent hours per 1,000 chats",
        ),
    ]
    if plan.headroom is not None:
        if wanted.capacity_per_min is not None:
            measured = f"measured {wanted.capacity_per_min:,.4g} guests/min"
        else:
            measured = f"measured {wanted.capacity_at_once:,.0f} guests at once"
        gone = (
            "none: that is below the peak"
            if plan.headroom < 0
            else f"gone when demand has grown by {plan.headroom:.0%}, at "
            f"{wanted.chats_per_h * (1 + plan.headroom):,.0f} chats an hour"
        )
        rows.append(("headroom", f"{plan.headroom:+.0%}", f"{measured}; {gone}"))
    return rows


def locustfile_of(wanted: Wanted, plan: LaunchPlan) -> str:
    """A locustfile that runs the plan."""
    messages = max(1, round(wanted.messages))
    return LOCUSTFILE.format(
        peak=plan.peak_per_min,
        held=plan.occupancy_high,
        arrivals=plan.arrivals,
        slots=plan.slots,
        messages=messages,
        think=f"{wanted.handle_s / messages:.3g}",
    )


def write_locustfile(path: Path, wanted: Wanted, plan: LaunchPlan) -> None:
    """Write it; refuses to replace a file."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(locustfile_of(wanted, plan))
    except FileExistsError:
        raise ConfigError(f"--locustfile: {path} is already there") from None
    except OSError as error:
        raise ConfigError(f"--locustfile: {path}: {error.strerror or error}") from None


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option}: expected a number, got {text!r}") from None


def _share(option: str, text: str) -> float:
    """``5%`` → 0.05. A number without the sign is refused: 0.5 could mean either."""
    if not text.strip().endswith("%"):
        raise ConfigError(f"{option}: expected a share such as 5%, got {text!r}")
    return _number(option, text.strip().removesuffix("%")) / 100
