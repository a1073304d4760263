"""The plan of a launch as a page for people who decide."""

from collections.abc import Sequence
from pathlib import Path

from harness.report.html.page import Code, Column, Page, Section, Table, Tile, write_page
from harness.studies.plan.plan import LaunchPlan, Wanted
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
