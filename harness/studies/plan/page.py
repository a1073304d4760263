"""The plan of a launch in words: a table, a page for people who decide, a locustfile."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text

from harness.errors import ConfigError
from harness.report.html.page import Code, Column, Page, Section, Table, Tile, write_page
from harness.studies.plan.model import LaunchPlan, Wanted
from harness.units import duration_text, figure_text

PAGE = "plan.html"


def write_plan_page(
    folder: Path,
    wanted: Wanted,
    plan: LaunchPlan,
    rows: Sequence[tuple[str, str, str]],
    *,
    locustfile: str,
) -> Path:
    """Write ``plan.html``. ``rows`` are (what, figure, why).

    Raises ConfigError when that is not possible.
    """
    sections = [
        Section(
            heading="What it takes",
            blocks=[
                Table(
                    label="What it takes",
                    columns=[Column("What"), Column("Figure", number=True), Column("Why")],
                    rows=rows,
                    cards=True,
                )
            ],
        ),
        Section(
            heading="Runs to make",
            lede="In this order; each ends with a verdict and a report of its own. Against the "
            "real service add --target with the name of a target.",
            blocks=[Code("\n".join(f"{command}   # {why}" for command, why in plan.commands))],
        ),
        Section(heading="As a locustfile", blocks=[Code(locustfile)]),
    ]
    return write_page(
        folder / PAGE,
        Page(
            title=f"Plan of a launch: {_headline(plan)}",
            kicker="Plan of a launch",
            about=f"{wanted.chats_per_h:,.0f} chats an hour, {duration_text(wanted.handle_s)} each",
            tone=_tone(plan),
            headline=_headline(plan),
            why=_why(wanted, plan),
            notices=plan.warnings,
            tiles=_tiles(wanted, plan),
            sections=sections,
            foot="Agents by Erlang C, or Erlang A where guests give up; guests in session by "
            "Little's law; what chance adds by Poisson, exceeded once in a thousand.",
        ),
    )


def _tone(plan: LaunchPlan) -> str:
    if plan.warnings:
        return "fail"
    return "no_data" if plan.headroom is None else "pass"


def _headline(plan: LaunchPlan) -> str:
    if plan.warnings:
        many = len(plan.warnings)
        stand = "1 thing stands" if many == 1 else f"{many} things stand"
        return f"It does not fit: {stand} against it"
    if plan.headroom is None:
        return "It fits the documented limits; the capacity is not known yet"
    return f"It fits, with {plan.headroom:.0%} to spare"


def _why(wanted: Wanted, plan: LaunchPlan) -> str:
    busy = f"{wanted.chats_per_h:,.0f} chats in the busy hour"
    if wanted.peak_factor > 1:
        busy += f", {wanted.peak_factor:.3g} times that in its worst minutes,"
    sentence = (
        f"{busy} are {figure_text(plan.peak_per_min)} new guests a minute and "
        f"{plan.occupancy:,.0f} in session at once, for {duration_text(wanted.handle_s)} each."
    )
    if plan.headroom is None:
        return f"{sentence} Measure the capacity with harness capacity and plan again."
    if plan.headroom >= 0:
        return f"{sentence} The reserve is gone when demand has grown by {plan.headroom:.0%}."
    return sentence


def _answered(wanted: Wanted, plan: LaunchPlan) -> str:
    if not plan.agents:
        return plan.model
    return f"{plan.answered_within:.0%} answered within {duration_text(wanted.answer_within_s)}"


def _tiles(wanted: Wanted, plan: LaunchPlan) -> list[Tile]:
    nights = "-" if plan.nights is None else f"{plan.nights}"
    keys = [
        Tile(figure=f"{figure_text(plan.peak_per_min)}", name="new guests a minute at the peak"),
        Tile(figure=f"{plan.occupancy_high:,}", name="in session at once, chance included"),
        Tile(figure=f"{plan.agents:,}", name="agents", note=_answered(wanted, plan)),
        Tile(figure=nights, name="nights of testing", bad=plan.nights is None),
        Tile(figure=f"{plan.machines:,}", name="generator machines"),
        Tile(
            figure=f"{plan.leftover_agent_hours_per_1000_chats:,.3g} h",
            name="agents' hours lost per 1,000 chats to leftovers",
        ),
    ]
    if plan.headroom is not None:
        keys[4:4] = [Tile(figure=f"{plan.headroom:+.0%}", name="headroom", bad=plan.headroom < 0)]
        del keys[3]
    return keys


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


def show(rows: Sequence[tuple[str, str, str]], plan: LaunchPlan, console: Console) -> None:
    """The table for a person."""
    table = TerminalTable(title="Plan of the launch", title_justify="left", show_header=False)
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
