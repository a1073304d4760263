"""The plan of a launch in words: a table for a person, a page for people who decide.

And as a locustfile, whose guests come at whatever rate a run asks for.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text as TerminalText

from harness import deploy
from harness.report.html.page import (
    Code,
    Items,
    Page,
    Section,
    Table,
    Tile,
    numbers,
    texts,
    write_page,
)
from harness.report.wording import sentence
from harness.rundir.layout import (
    PLAN,
    PLAN_PAGE,
    PLAN_PREFIX,
    make_run_directory,
    new_run_id,
    write_json,
    write_new,
)
from harness.studies.plan.inputs import Inputs
from harness.studies.plan.model import (
    SLOT_FACTOR,
    LaunchPlan,
    PlannedRun,
    Wanted,
    plan_launch,
    rate_text,
)
from harness.units import duration_text, figure_text

Rows = Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A plan, and the files in which it stands."""

    plan: LaunchPlan
    rows: Rows
    locustfile: Path
    page: Path
    facts: Path
    """all of it as JSON"""


def write_plan(inputs: Inputs, reports: Path, locustfile: Path | None) -> Written:
    """Plan, and write page and JSON into a folder of ``reports``; the locustfile too, or elsewhere.

    Raises ConfigError for what can't be planned, before anything is written, and for a locustfile
    that is there already.
    """
    wanted = inputs.wanted
    folder = reports / (PLAN_PREFIX + new_run_id())
    path = locustfile or folder / "launch_plan.py"
    plan = plan_launch(
        wanted, locustfile=quote(str(path)), target=inputs.target, guarded=inputs.guarded
    )
    text = locustfile_of(wanted, plan)
    if locustfile is not None:  # where it is refused there is no folder
        write_new(path, text)
    make_run_directory(reports, folder.name)
    if locustfile is None:
        write_new(path, text)
    rows = plan_rows(wanted, plan, machines=inputs.machines, arrivals=inputs.arrivals)
    facts = {
        "wanted": asdict(wanted),
        "machines": inputs.machines,
        "arrivals": inputs.arrivals,
        "locustfile": str(path),
        "plan": asdict(plan),
    }
    return Written(
        plan=plan,
        rows=rows,
        locustfile=path,
        page=write_page(folder / PLAN_PAGE, plan_page(wanted, plan, rows, locustfile=text)),
        facts=write_json(folder / PLAN, facts),
    )


def show(rows: Rows, plan: LaunchPlan, console: Console) -> None:
    table = TerminalTable(title="Plan of the launch", title_justify="left", show_header=False)
    table.add_column("what", style="bold", overflow="fold")
    table.add_column("figure", justify="right", overflow="fold")
    table.add_column("why", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for obstacle in plan.obstacles:
        console.print(TerminalText.assemble(("does not fit:", "bold red"), f" {obstacle}"))
    for warning in plan.warnings:
        console.print(TerminalText.assemble(("warning:", "bold yellow"), f" {warning}"))
    console.print("runs to make, in this order:")
    for what, command in _commands(plan):
        console.print(TerminalText.assemble(f"  {command}", (f"   # {what}", "dim")))
    for heading, sentences in (
        ("assumed:", plan.assumptions),
        ("could not be told:", plan.unknown),
    ):
        console.print(heading)
        for one in sentences:
            console.print(f"  - {one}", style="dim")


ON_EACH = "on each machine, which needs only the package; MASTER is where a run with --master is"
IN_CLUSTER = "or in a cluster: IMAGE is built from harness/deploy/Dockerfile"


def _commands(plan: LaunchPlan) -> list[tuple[str, str]]:
    """What each command is for, and it."""
    commands = [(_purpose(run), run.command) for run in plan.runs]
    commands += [(ON_EACH, plan.worker), (IN_CLUSTER, plan.deploy)]
    return [(what, command) for what, command in commands if command]


def _purpose(run: PlannedRun) -> str:
    """What a run is for and what it sends."""
    if run.guests is None or run.messages is None:
        return run.why
    guests = f"{run.guests:,} guest{'s' * (run.guests != 1)}"
    tokens = "" if run.ai_tokens is None else f", {figure_text(run.ai_tokens)} AI tokens"
    return f"{run.why}: {guests}, {run.messages:,} messages{tokens}"


def plan_rows(wanted: Wanted, plan: LaunchPlan, *, machines: str, arrivals: str) -> Rows:
    """What, figure, why.

    ``machines`` says from where it is known what one of them carries, ``arrivals`` how a file of
    arrivals was read.
    """
    wait = plan.agents.mean_wait_s * wanted.to_agents
    waiting = f", waits of {duration_text(wait)} included" if wait >= 0.5 else ""
    rows = [
        (
            "new guests at the peak",
            f"{figure_text(plan.peak_per_min)}/min",
            f"{wanted.chats_per_h:,.0f} an hour times {wanted.peak_factor:.3g}"
            + (f"; {arrivals}" if arrivals else ""),
        ),
        (
            "worst minute",
            f"{plan.peak_minute:,}",
            f"exceeded once in a thousand; {plan.connections_share:.0%} of the limit of "
            f"{wanted.connections_per_min:,} a minute per deployment",
        ),
        (
            "guests in session",
            f"{plan.occupancy:,.0f}",
            f"rate times {duration_text(plan.session_s)} (Little){waiting}; up to "
            f"{plan.occupancy_high:,} by chance",
        ),
        (
            "messages",
            f"{figure_text(plan.messages_per_s)}/s",
            f"{wanted.messages:g} of each guest; {figure_text(plan.requests_per_min)} requests a "
            f"minute on a connection, {plan.requests_share:.0%} of the limit",
        ),
        ("agents", f"{plan.agents.on_roster:,}", _agents_text(wanted, plan)),
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
        ("cost of the runs", *_cost(plan)),
        (
            "generator machines",
            f"{plan.machines}",
            " + ".join(f"{share:.2f} for {what}" for what, share in plan.machine_shares.items())
            + f", at {wanted.machine_guests:,.0f} guests, {wanted.machine_guests_per_s:,.3g} new "
            f"ones and {wanted.machine_messages_per_s:,.4g} messages a second each; {machines}",
        ),
        (
            "cost of leftovers",
            f"{figure_text(plan.leftover_agents)} agents",
            f"kept busy: {wanted.leftover_share:.2%} of chats left over for "
            f"{duration_text(wanted.leftover_s)} each take "
            f"{plan.leftover_agent_hours_per_1000_chats:.3g} agent hours per 1,000 chats",
        ),
    ]
    if plan.headroom is not None and wanted.capacity is not None:
        gone = (
            "none: that is below the peak"
            if plan.headroom < 0
            else f"used up when demand has grown by {plan.headroom:.0%}, at "
            f"{wanted.chats_per_h * (1 + plan.headroom):,.0f} chats an hour"
        )
        answer = wanted.capacity.answer
        measured = (
            f"{wanted.capacity.figures()} ({wanted.capacity.source}{answer and f': {answer}'})"
        )
        why = f"measured {measured}, by {plan.headroom_by}; {gone}"
        rows.append(("headroom", f"{plan.headroom:+.0%}", why))
    return rows


def _agents_text(wanted: Wanted, plan: LaunchPlan) -> str:
    agents = plan.agents
    if not agents.places:
        return agents.model
    away = f"{agents.on_duty:,} on duty ({wanted.shrinkage:.0%} away); " if wanted.shrinkage else ""
    up = f", {agents.gives_up:.1%} give up" if agents.gives_up else ""
    return (
        f"{away}{agents.places:,} places, {wanted.concurrency:g} each, {agents.busy:.0%} busy: "
        f"{agents.answered_within:.1%} answered within {duration_text(wanted.answer_within_s)}"
        f"{up} ({agents.model})"
    )


def _cost(plan: LaunchPlan) -> tuple[str, str]:
    messages = sum(run.messages or 0 for run in plan.runs)
    guests = sum(run.guests or 0 for run in plan.runs)
    tokens = [run.ai_tokens for run in plan.runs if run.ai_tokens is not None]
    why = f"of {guests:,} guests in all runs but the search, and as many answers or more"
    if tokens:
        why += (
            f"; {figure_text(sum(tokens))} AI tokens (an organisation has 250 or 350 a month free)"
        )
    return f"{messages:,} messages", why


def plan_page(wanted: Wanted, plan: LaunchPlan, rows: Rows, *, locustfile: str) -> Page:
    """Whether it fits, what it takes, the runs to make, and their locustfile."""
    table = Table(
        "What it takes", texts("What") + numbers("Figure") + texts("Why"), rows, cards=True
    )
    sections = [
        Section(table.label, [table]),
        Section(
            "Runs to make",
            [Code("\n\n".join(f"# {what}\n{one}" for what, one in _commands(plan)), wraps=True)],
            "In this order; each ends with a verdict and a report of its own. All play the "
            "locustfile below.",
        ),
        Section("As a locustfile", [Code(locustfile)]),
        Section("What this assumes", [Items(plan.assumptions)]),
        Section("What it could not tell", [Items(plan.unknown)]),
    ]
    fits = plan.headroom is not None and _sure(wanted)
    return Page(
        title=f"Plan of a launch: {_headline(wanted, plan)}",
        kicker="Plan of a launch",
        about=f"{wanted.chats_per_h:,.0f} chats an hour, {duration_text(wanted.handle_s)} each",
        tone="fail" if plan.obstacles else "pass" if fits else "no_data",
        headline=_headline(wanted, plan),
        why=_why(wanted, plan),
        notices=list(map(sentence, (*plan.obstacles, *plan.warnings))),
        tiles=_tiles(wanted, plan),
        sections=sections,
        foot="Agents by Erlang C, or Erlang A where guests give up; guests in session by "
        "Little's law; what chance adds is exceeded once in a thousand.",
    )


def _sure(wanted: Wanted) -> bool:
    return wanted.capacity is None or wanted.capacity.sure


def _headline(wanted: Wanted, plan: LaunchPlan) -> str:
    if plan.obstacles:
        many = len(plan.obstacles)
        stand = "1 thing stands" if many == 1 else f"{many} things stand"
        return f"It does not fit: {stand} against it"
    if plan.headroom is None:
        return "It fits the documented limits; the capacity is not known yet"
    if not _sure(wanted):
        return f"It fits what was met so far, with {plan.headroom:.0%} to spare; that is not sure"
    return f"It fits, with {plan.headroom:.0%} to spare"


def _why(wanted: Wanted, plan: LaunchPlan) -> str:
    busy = f"{wanted.chats_per_h:,.0f} chats in the busy hour"
    if wanted.peak_factor > 1:
        busy += f", {wanted.peak_factor:.3g} times that in its worst quarter,"
    sentence = (
        f"{busy} are {figure_text(plan.peak_per_min)} new guests a minute and "
        f"{plan.occupancy:,.0f} in session at once, for {duration_text(plan.session_s)} each."
    )
    if plan.headroom is None:
        return f"{sentence} Measure the capacity with harness capacity and plan again."
    if not _sure(wanted) and wanted.capacity is not None:
        return f"{sentence} Its capacity, as far as it is known: {wanted.capacity.answer}."
    if plan.headroom >= 0:
        return f"{sentence} The reserve is used up when demand has grown by {plan.headroom:.0%}."
    return sentence


def _tiles(wanted: Wanted, plan: LaunchPlan) -> list[Tile]:
    agents = plan.agents
    within = f"{agents.answered_within:.0%} answered within {duration_text(wanted.answer_within_s)}"
    if plan.headroom is None:
        nights = "-" if plan.nights is None else f"{plan.nights}"
        name = "night of testing" if plan.nights == 1 else "nights of testing"
        fourth = Tile(nights, name, bad=plan.nights is None)
    else:
        fourth = Tile(f"{plan.headroom:+.0%}", "headroom", bad=plan.headroom < 0)
    lost_h = f"{plan.leftover_agent_hours_per_1000_chats:,.3g} h"
    return [
        Tile(figure_text(plan.peak_per_min), "new guests a minute at the peak"),
        Tile(f"{plan.occupancy_high:,}", "in session at once, chance included"),
        Tile(f"{agents.on_roster:,}", "agents", within if agents.places else agents.model),
        fourth,
        Tile(f"{plan.machines:,}", f"generator machine{'s' * (plan.machines != 1)}"),
        Tile(lost_h, "agents' hours lost per 1,000 chats to leftovers"),
    ]


def locustfile_of(wanted: Wanted, plan: LaunchPlan) -> str:
    template = deploy.path("planned-locustfile.txt").read_text(encoding="utf-8")
    return template.format(
        peak=figure_text(plan.peak_per_min),
        occupancy=f"{plan.occupancy:,.0f}",
        session=f"{plan.session_s:.5g}",
        messages=f"{wanted.messages:g}",
        rate=rate_text(plan.peak_per_min),
        over=f"{wanted.test_s:g}s",
        spare=SLOT_FACTOR,
    )
