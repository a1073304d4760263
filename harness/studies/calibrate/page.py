"""What a machine can generate in words: a table for the terminal, a page."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as TerminalTable

from harness.report.html.page import Column, Items, Page, Section, Table, Tile, write_page
from harness.studies.calibrate.calibration import (
    SAFE,
    SPOILED_MS,
    Calibration,
    Carried,
    Limit,
    Rate,
)

PAGE = "calibration.html"
ASSUMES = (
    "A guest's texts are short, and each is answered by one message.",
    f"A generator is late when its lag is above {SPOILED_MS:g} ms at the 99th percentile, half of "
    "what voids a run.",
    "Rates grow with the machines: two of them make twice as much.",
)
COULD_NOT_TELL = (
    "What the network between here and a real service takes or delays.",
    "How much more it would be without the simulator, which had its share of the processor.",
    "Whether the machine goes on like this for hours: the rises last minutes.",
)
NAMES = {"plain": "plain", "tls": "TLS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured figure in words."""

    what: str
    kind: str
    reached: str
    count_on: str
    lag: str
    ended_by: str


def rows_of(found: Calibration) -> list[Row]:
    """Everything that was measured, in order."""
    rows = []
    for kind, carried in found.kinds.items():
        name = NAMES.get(kind, kind)
        rows += [
            _rate(carried.guests, "new guests a second", name),
            _rate(carried.messages, "messages a second", name),
        ]
        held = carried.sessions
        if held is not None:
            each = "" if held.kib_each is None else f", at {held.kib_each:,.0f} KiB each"
            rows.append(
                Row(
                    what="sessions at once",
                    kind=name,
                    reached=f"{held.held:,} held",
                    count_on=f"{held.room:,}",
                    lag=f"{held.lag_ms:,.1f} ms",
                    ended_by=f"{held.room_ends_by}{each}",
                )
            )
    return rows


def disturbances(found: Calibration) -> str:
    """A sentence where other work made the figures lower; empty where none did."""
    shares = " and ".join(
        f"{carried.others:.0%} ({NAMES.get(kind, kind)})"
        for kind, carried in found.kinds.items()
        if carried.disturbed
    )
    if not shares:
        return ""
    return (
        f"Measured while other work took {shares} of this machine: alone it carries more. "
        "Calibrate again when nothing else runs here."
    )


def show(found: Calibration, console: Console) -> None:
    """The table for a person."""
    title = f"What {found.host or 'this machine'} can generate ({found.cores} cores)"
    table = TerminalTable(title=title, title_justify="left")
    for heading in ("", "connection", "reached", "count on", "ended by"):
        right = heading in ("reached", "count on")
        table.add_column(heading, justify="right" if right else "left")
    for row in rows_of(found):
        table.add_row(row.what, row.kind, row.reached, row.count_on, row.ended_by)
    console.print(table)
    if disturbed := disturbances(found):
        console.print(disturbed, style="yellow", highlight=False, soft_wrap=True)


def _rate(rate: Rate | None, what: str, kind: str) -> Row:
    if rate is None:
        return Row(
            what=what, kind=kind, reached="-", count_on="-", lag="-", ended_by="lagged at once"
        )
    least = "at least " if rate.limit is not Limit.GENERATOR else ""
    return Row(
        what=what,
        kind=kind,
        reached=f"{least}{rate.per_s:,.0f}",
        count_on=f"{rate.safe_per_s:,.0f}",
        lag=f"{rate.lag_ms:,.1f} ms",
        ended_by=rate.limit,
    )


def write_calibration_page(folder: Path, found: Calibration) -> Path:
    """Write ``calibration.html``. Raises ConfigError when that is not possible."""
    best = found.best()
    rows = rows_of(found)
    processes = "1 process" if found.processes == 1 else f"{found.processes} processes"
    columns = [
        Column(""),
        Column("Connection"),
        Column("Reached", number=True),
        Column("Count on", number=True),
        Column("Lag there", number=True),
        Column("Ended by"),
    ]
    cells = [(row.what, row.kind, row.reached, row.count_on, row.lag, row.ended_by) for row in rows]
    page = Page(
        title="What this machine can generate",
        kicker="Calibration",
        about=f"{found.host} · {found.cores} cores · {processes} · {found.made[:16]}",
        tone="pass" if best.guests and not best.disturbed else "no_data",
        headline=_headline(best),
        why=_why(best),
        notices=[text for text in (disturbances(found),) if text],
        tiles=_tiles(
            best, "over TLS" if best is found.kinds.get("tls") else "over plain connections"
        ),
        sections=[
            Section(
                heading="Every figure",
                lede=f"To count on are {SAFE:.0%} of the rates that were reached, because a rate "
                "at the edge is spoiled by the first bad minute. Sessions are what memory, files "
                "and ports have room for.",
                blocks=[Table(label="Every figure", columns=columns, rows=cells, cards=True)],
            ),
            Section(heading="What this assumes", blocks=[Items(ASSUMES)]),
            Section(heading="What it could not tell", blocks=[Items(COULD_NOT_TELL)]),
        ],
        foot="Lag is how late the generator itself was, at the 99th percentile.",
    )
    return write_page(folder / PAGE, page)


def _headline(best: Carried) -> str:
    if best.guests is None:
        return "How many new guests a second is not known"
    return f"Count on {best.guests.safe_per_s:,.0f} new guests a second"


def _why(best: Carried) -> str:
    if best.guests is None:
        return (
            "The generator was late from the first seconds on, so no rate of new guests can be "
            "vouched for. Calibrate again on a quiet machine."
        )
    return (
        "So much load can come from this machine before its own lateness would show in the "
        "figures. The simulator ran on the same machine and took its share of it: against a real "
        "service it can be more."
    )


def _tiles(best: Carried, over: str) -> list[Tile]:
    keys = []
    if best.guests is not None:
        figure = f"{best.guests.safe_per_s * 60:,.0f}"
        keys.append(Tile(figure=figure, name="new guests a minute", note=over))
    if best.messages is not None:
        figure = f"{best.messages.safe_per_s:,.0f}"
        keys.append(Tile(figure=figure, name="messages a second", note=over))
    if best.sessions is not None:
        held = best.sessions
        note = f"by {held.room_ends_by}; {held.held:,} were held"
        keys.append(Tile(figure=f"{held.room:,}", name="room for sessions at once", note=note))
    return keys
