"""``calibration.json``: what this machine can generate, measured by ``harness calibrate``.

It lies in the reports folder, where ``harness plan`` and ``harness preflight`` read it. A rate is
the highest of a rising load before the generator lags. It is shown as a table and as a page.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import inf
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from rich.console import Console
from rich.table import Table as TerminalTable

from harness.errors import ConfigError, expect
from harness.foreign import read_bytes
from harness.judge.validity import LATE_MS
from harness.preflight.guard import Intent
from harness.report.html.page import Items, Page, Section, Table, Tile, numbers, texts
from harness.rundir.layout import CALIBRATION, reading, write_json, writing

if TYPE_CHECKING:  # a plan needs no checks, and they take a while to import
    from harness.preflight.checks import Check

SCHEMA = 1
MAX_OTHER_WORK = 0.1
"""The share of the machine that other programs may use during a calibration without a warning."""
SAFETY_SHARE = 0.7
"""The part of the measured limit that a plan uses: the rest is a safety margin."""
SPOILED_MS = LATE_MS / 2
"""Half of what makes a run INVALID: there has to be room for a bad minute."""
SLOW_MS = 100.0
"""If half of the simulator's answers take this long (normally about 1 ms), the simulator is the
limit."""
WINDOW_SECONDS = 3
"""How many seconds form a window that is judged as a whole."""
BAD_WINDOWS = 2
"""How many windows in a row must be bad: a single stall of the machine is no limit."""


class Limit(StrEnum):
    """What ended the rise."""

    GENERATOR = "the generator lagged"
    OTHER_SIDE = "the simulator was slow"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """One second of the rise over all processes. Times in milliseconds."""

    done: float
    """what was done in it: guests cleared, messages delivered"""
    lag_ms: float
    """the generator's lag, p99"""
    answer_ms: float
    """what the other side took, median"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What was reached per second before something spoiled it, and what that was."""

    per_s: float
    lag_ms: float
    limit: Limit

    @property
    def safe_per_s(self) -> float:
        """The rate that a plan may count on."""
        return self.per_s * SAFETY_SHARE


def find_limit(seconds: Sequence[Second]) -> Rate | None:
    """The rate up to which lag and answers stayed within ``SPOILED_MS`` and ``SLOW_MS``.

    None without a single good window: then nothing can be said.
    """
    windows = [
        seconds[i : i + WINDOW_SECONDS]
        for i in range(0, len(seconds) - WINDOW_SECONDS + 1, WINDOW_SECONDS)
    ]
    best: Rate | None = None
    bad = 0
    for window in windows:
        lag = median(second.lag_ms for second in window)
        answer = median(second.answer_ms for second in window)
        if lag > SPOILED_MS or answer > SLOW_MS:
            bad += 1
            if bad == BAD_WINDOWS:
                # A generator that lags also sees answers late: it is to blame first.
                limit = Limit.GENERATOR if lag > SPOILED_MS else Limit.OTHER_SIDE
                return None if best is None else replace(best, limit=limit)
            continue
        bad = 0
        rate = sum(second.done for second in window) / WINDOW_SECONDS
        if best is None or rate > best.per_s:
            best = Rate(per_s=rate, lag_ms=lag, limit=Limit.NOT_REACHED)
    return best


def is_spoiled(seconds: Sequence[Second]) -> bool:
    """Whether the rise has gone beyond its limit already, so that it can end."""
    rate = find_limit(seconds)
    if rate is not None:
        return rate.limit is not Limit.NOT_REACHED
    return len(seconds) >= 4 * WINDOW_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSessions:
    """``held`` were in session at once; ``room`` is how many would fit, and what ends it."""

    held: int
    lag_ms: float
    kib_each: float | None
    """None where the memory did not grow enough to tell"""
    room: int
    room_ends_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLimits:
    """What one machine carries over one kind of connection; None where it was not measured."""

    guests: Rate | None
    messages: Rate | None
    sessions: HeldSessions | None
    others: float | None = None
    """the share of the machine that other work took meanwhile; None: not known"""

    @property
    def disturbed(self) -> str:
        """A warning if other work took so much that the figures are too low; else empty."""
        if self.others is None or self.others <= MAX_OTHER_WORK:
            return ""
        return f"while other work took {self.others:.0%} of the machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All of it. ``kinds`` are ``plain`` and ``tls``; ``made`` is an ISO time in UTC."""

    made: str
    host: str
    cores: int
    processes: int
    kinds: Mapping[str, MachineLimits]

    def best(self, *, tls: bool = True) -> MachineLimits:
        """The limits over TLS, as real deployments use it, or else those that were measured."""
        wanted = "tls" if tls else "plain"
        return self.kinds.get(wanted) or next(iter(self.kinds.values()))


def write_calibration(reports: Path, calibration: Calibration) -> Path:
    """Write it in one step. Raises ConfigError when the folder can't be written to."""
    path = reports / CALIBRATION
    with writing(path):
        reports.mkdir(parents=True, exist_ok=True)
        return write_json(path, as_dict(calibration))


def as_dict(calibration: Calibration) -> dict[str, Any]:
    return {"schema": SCHEMA, **asdict(calibration)}


def read_calibration(path: Path) -> Calibration:
    """A calibration from its file. Raises ConfigError when it is none."""
    from pydantic import TypeAdapter, ValidationError

    with reading(path, "a calibration"):
        content = orjson.loads(read_bytes(path))
        if isinstance(content, dict):
            expect(content["schema"] == SCHEMA, f"{path}: schema", str(SCHEMA), content["schema"])
        try:
            calibration = TypeAdapter(Calibration).validate_python(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise ConfigError(f"{path} is not a calibration: {place}: {first['msg']}") from error
    for one in calibration.kinds.values():
        for rate in filter(None, (one.guests, one.messages)):
            expect(0 < rate.per_s < inf, str(path), "rates above zero", f"{rate.per_s:g}")
    expect(bool(calibration.kinds), str(path), "what was measured", "nothing")
    return calibration


def check_planned(path: Path, intent: Intent, *, processes: int, tls: bool) -> "list[Check]":
    """What a run asks of this machine against the calibration at ``path``, for a preflight.

    Skipped where this machine was not calibrated. Raises ConfigError where the file is no
    calibration.
    """
    from harness.preflight.checks import SKIPPED, Check, check_calibration

    if not path.is_file():
        text = "not done: harness calibrate measures what this machine can generate"
        return [Check("calibration", SKIPPED, text)]
    calibration = read_calibration(path)
    if calibration.host != platform.node():
        return [Check("calibration", SKIPPED, f"{path} is of another machine ({calibration.host})")]
    carried = calibration.best(tls=tls)
    # Processes share the work; cores beyond those that there are carry nothing.
    share = min(processes, calibration.cores) / calibration.processes
    return check_calibration(
        peak_per_s=intent.peak_per_s,
        at_once=intent.at_once,
        safe_per_s=None if carried.guests is None else carried.guests.safe_per_s * share,
        room=None if carried.sessions is None else carried.sessions.room,
        disturbed=carried.disturbed,
    )


ASSUMES = (
    "A guest's texts are short, and each is answered by one message.",
    f"A generator is late when its lag is above {SPOILED_MS:g} ms at the 99th percentile, half of "
    "what voids a run.",
    "Two machines generate twice as much as one.",
)
COULD_NOT_TELL = (
    "What the network on the way to a real service limits or delays.",
    "How much more it can generate without the simulator, which took its share of the CPU.",
    "Whether the machine can keep this up for hours: each ramp lasts minutes.",
)
KIND_NAMES = {"plain": "plain", "tls": "TLS"}


class Row(NamedTuple):
    """One measured figure in words."""

    what: str
    kind: str
    reached: str
    count_on: str
    lag: str
    ended_by: str


def rows_of(calibration: Calibration) -> list[Row]:
    rows = []
    for kind, carried in calibration.kinds.items():
        name = KIND_NAMES.get(kind, kind)
        rows += [
            _rate(carried.guests, "new guests a second", name),
            _rate(carried.messages, "messages a second", name),
        ]
        sessions = carried.sessions
        if sessions is not None:
            each = "" if sessions.kib_each is None else f", at {sessions.kib_each:,.0f} KiB each"
            reached, room = f"{sessions.held:,} held", f"{sessions.room:,}"
            lag, ended_by = f"{sessions.lag_ms:,.1f} ms", f"{sessions.room_ends_by}{each}"
            rows.append(Row("sessions at once", name, reached, room, lag, ended_by))
    return rows


def disturbances(calibration: Calibration) -> str:
    """A sentence where other work made the figures lower; empty where none did."""
    shares = " and ".join(
        f"{carried.others:.0%} ({KIND_NAMES.get(kind, kind)})"
        for kind, carried in calibration.kinds.items()
        if carried.disturbed
    )
    if not shares:
        return ""
    return (
        f"Measured while other work took {shares} of this machine: alone it carries more. "
        "Calibrate again when nothing else runs here."
    )


def show(calibration: Calibration, console: Console) -> None:
    title = f"What {calibration.host or 'this machine'} can generate ({calibration.cores} cores)"
    table = TerminalTable(title=title, title_justify="left")
    for heading in ("", "connection", "reached", "count on", "ended by"):
        right = heading in ("reached", "count on")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in rows_of(calibration):
        table.add_row(row.what, row.kind, row.reached, row.count_on, row.ended_by)
    console.print(table)
    if disturbed := disturbances(calibration):
        console.print(disturbed, style="yellow")


def _rate(rate: Rate | None, what: str, kind: str) -> Row:
    if rate is None:
        return Row(what, kind, "-", "-", "-", "lagged at once")
    reached = f"{rate.per_s:,.0f}"
    if rate.limit is not Limit.GENERATOR:
        reached = f"at least {reached}"
    safe, lag = f"{rate.safe_per_s:,.0f}", f"{rate.lag_ms:,.1f} ms"
    return Row(what, kind, reached, safe, lag, rate.limit)


def calibration_page(calibration: Calibration) -> Page:
    """What to count on first, then every figure, and on what it rests."""
    best = calibration.best()
    headline, why = _headline(best)
    processes = "1 process" if calibration.processes == 1 else f"{calibration.processes} processes"
    columns = [
        *texts("", "Connection"),
        *numbers("Reached", "Count on", "Lag there"),
        *texts("Ended by"),
    ]
    return Page(
        title="What this machine can generate",
        kicker="Calibration",
        about=f"{calibration.host} · {calibration.cores} cores · {processes} · "
        f"{calibration.made[:16]}",
        tone="pass" if best.guests and not best.disturbed else "no_data",
        headline=headline,
        why=why,
        notices=[text for text in (disturbances(calibration),) if text],
        tiles=_tiles(
            best, "over TLS" if best is calibration.kinds.get("tls") else "over plain connections"
        ),
        sections=[
            Section(
                "Every figure",
                [Table("Every figure", columns, rows_of(calibration), cards=True)],
                f"Count on {SAFETY_SHARE:.0%} of the rates that were reached: the first bad minute "
                "spoils a rate at the edge. Sessions: as many as memory, files and ports allow.",
            ),
            Section("What this assumes", [Items(ASSUMES)]),
            Section("What it could not tell", [Items(COULD_NOT_TELL)]),
        ],
        foot="Lag is how late the generator itself was, at the 99th percentile.",
    )


def _headline(best: MachineLimits) -> tuple[str, str]:
    """In one line, and on what ground."""
    if best.guests is None:
        return "How many new guests a second is not known", (
            "The generator was late from the first seconds on, so no rate of new guests can be "
            "vouched for. Calibrate again on a quiet machine."
        )
    return f"Count on {best.guests.safe_per_s:,.0f} new guests a second", (
        "This machine can generate so much load before its own lag shows in the figures. The "
        "simulator ran on the same machine and took its share: against a real service it can be "
        "more."
    )


def _tiles(best: MachineLimits, over: str) -> list[Tile]:
    tiles = []
    if best.guests is not None:
        tiles.append(Tile(f"{best.guests.safe_per_s * 60:,.0f}", "new guests a minute", over))
    if best.messages is not None:
        tiles.append(Tile(f"{best.messages.safe_per_s:,.0f}", "messages a second", over))
    if (sessions := best.sessions) is not None:
        note = f"by {sessions.room_ends_by}; {sessions.held:,} were held"
        tiles.append(Tile(f"{sessions.room:,}", "room for sessions at once", note))
    return tiles
