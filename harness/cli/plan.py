"""``harness plan``: what a launch needs, before anything is tested."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.parsing import Command, Namespace, option, section
from harness.cli.which_run import reports_option
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.report.console import open_console
from harness.rundir.layout import make_run_directory, new_run_id
from harness.studies.plan.inputs import read_machines, read_wanted
from harness.studies.plan.page import write_plan_page
from harness.studies.plan.plan import LaunchPlan, Wanted, plan_launch
from harness.units import duration_text, figure_text

LOCUSTFILE = '''"""The planned launch: {peak} guests a minute at the peak, {held} in session."""

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


def run(args: Namespace) -> int:
    """Plan, print, and write page and JSON."""
    machines = read_machines(args)
    wanted = read_wanted(args, machines)
    plan = plan_launch(wanted)
    if args.locustfile is not None:
        write_locustfile(args.locustfile, wanted, plan)
    folder = make_run_directory(args.reports, f"plan-{new_run_id()}")
    rows = plan_rows(wanted, plan, machines.source)
    page = write_plan_page(folder, wanted, plan, rows, locustfile=locustfile_of(wanted, plan))
    told = {"wanted": asdict(wanted), "machines": machines.source, "plan": plan.as_dict()}
    text = json.dumps(told, indent=2)
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
        console.print(Text.assemble(("warning:", "bold red"), f" {warning}"), highlight=False)
    console.print(f"arrivals to test with: {plan.arrivals}", highlight=False, soft_wrap=True)
    for command, why in plan.commands:
        console.print(f"  {command}", highlight=False, soft_wrap=True, end="")
        console.print(f"   # {why}", style="dim", highlight=False, soft_wrap=True)


def plan_rows(wanted: Wanted, plan: LaunchPlan, machines: str) -> list[tuple[str, str, str]]:
    """What, figure, why; ``machines`` says from where it is known what one of them carries."""
    handle = duration_text(wanted.handle_s)
    within = duration_text(wanted.answer_within_s)
    rows = [
        (
            "new guests at the peak",
            f"{figure_text(plan.peak_per_min)}/min",
            f"{wanted.chats_per_h:,.0f} an hour times {wanted.peak_factor:.3g}",
        ),
        (
            "worst minute",
            f"{plan.peak_minute:,}",
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
            f"{wanted.machine_messages_per_s:,.4g} messages a second each; {machines}",
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
            measured = f"measured {figure_text(wanted.capacity_per_min)} guests/min"
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
        peak=figure_text(plan.peak_per_min),
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


COMMAND = Command(
    "plan",
    run,
    [
        option("--locustfile", type=Path, metavar="FILE", help="write a ready locustfile"),
        option("--json", flag=True, help="print JSON instead of a table"),
        reports_option(),
        *section(
            "the load",
            option("--chats-per-hour", metavar="N", help="chats in the busy hour"),
            option(
                "profile",
                "--from",
                type=Path,
                metavar="CSV",
                help="or: guests per interval (start,guests)",
            ),
            option(
                "--peak-factor",
                metavar="X",
                help="worst minutes of the busy hour over its mean (default: 1)",
            ),
            option(
                "--handle-time", required=True, metavar="TIME", help="length of a chat, e.g. 8m"
            ),
            option("--messages", required=True, metavar="N", help="messages of a guest per chat"),
        ),
        *section(
            "the agents",
            option("--concurrency", default="1", metavar="N", help="chats per agent at a time"),
            option("--to-agents", default="100%", metavar="SHARE", help="chats that reach one"),
            option(
                "--answer-within",
                default="30s",
                metavar="TIME",
                help="a guest's longest wait for an agent",
            ),
            option("--service-level", default="80%", metavar="SHARE", help="answered in that time"),
            option("--patience", metavar="TIME", help="mean wait after which a guest gives up"),
        ),
        *section(
            "the test",
            option(
                "--test-duration",
                default="1h",
                metavar="TIME",
                help="length of the test at the peak",
            ),
            option("--window", default="6h", metavar="TIME", help="approved hours of a night"),
            option(
                "--capacity",
                metavar="RATE",
                help="measured capacity, e.g. 390/min, or the folder of a capacity search",
            ),
        ),
        *section(
            "the generator machines",
            option(
                "--calibration",
                type=Path,
                metavar="FILE",
                help="what harness calibrate found (default: calibration.json of the reports)",
            ),
            option("--guests-per-machine", metavar="N", help="sessions at once (5000)"),
            option("--rate-per-machine", metavar="RATE", help="new guests (50/s)"),
            option("--messages-per-machine", metavar="RATE", help="messages (1000/s)"),
        ),
        *section(
            "what leftovers cost",
            option(
                "--leftover-rate", default="0.5%", metavar="SHARE", help="chats that are left over"
            ),
            option("--leftover-time", default="1h", metavar="TIME", help="how long one stays"),
        ),
    ],
    description=(
        "Plans a launch from a few numbers: guests in session and new ones per minute at the peak "
        "against the service's documented limits, agents, whether a test of that size fits the "
        "approved window, generator machines, and what leftovers would cost in agents' hours."
    ),
    epilog=(
        "examples:\n"
        "  harness plan --chats-per-hour 3000 --peak-factor 1.6 --handle-time 8m --messages 12\n"
        "  harness plan --from monday.csv --handle-time 8m --messages 12 --concurrency 3\n"
        "  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\\n"
        "      --capacity 120/min --locustfile launch_plan.py --json\n"
        "  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\\n"
        "      --capacity reports/capacity-20261122-231500-ab12\n"
    ),
)
