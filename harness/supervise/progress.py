"""Follows a run while it goes on, from the files it writes, and shows how it stands."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from harness.errors import ConfigError
from harness.measure.model import CONNECT_PHASES, OPERATIONS, Phase, RunningTotals
from harness.rundir.layout import AT_THE_END, WAITING, RunDirectory
from harness.streams import TELL_EVERY_S, plain_line, plain_table
from harness.units import duration_text, milliseconds

if TYPE_CHECKING:  # with it come libraries that take a while to import
    from harness.measure.histogram import Histogram

PHASES = {
    "": "starting",
    Phase.RUNNING: "running",
    Phase.PAUSED: "paused; harness pause RUN --resume goes on",
    Phase.FINISHING: "no new guests; conversations may finish",
    Phase.CLEARING: "clearing what is still open",
    Phase.ENDED: "ended",
}
EVERY_S = 0.5
CLOSED_WITHIN_S = 3.0


class Tail:
    """Hands out the whole lines that files matching a pattern have gained since the last look."""

    def __init__(self, directory: Path, pattern: str) -> None:
        self._directory = directory
        self._pattern = pattern
        self._read: dict[Path, int] = {}

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """(file name, line) in the order of each file."""
        for path in sorted(self._directory.glob(self._pattern)):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for line in whole.splitlines():
                yield path.name, line


class Progress(RunningTotals):
    """The present state of a run, from the files of its processes."""

    def __init__(self, directory: Path, *, run_time_s: float | None) -> None:
        super().__init__()
        files = RunDirectory(directory)
        self._intervals = Tail(directory, files.intervals("*").name)
        self._logs = Tail(directory, files.histograms("*").name)
        self._printed = Tail(directory, files.locust_log.name)
        self.waiting = ""
        """for whom, before the run begins"""
        self.news: list[str] = []
        """what the end of the run has to say, and nobody has shown yet"""
        self._histograms: dict[str, Histogram] = {}
        self._run_time_s = run_time_s
        self._began_s: float | None = None

    def refresh(self) -> None:
        """Read what is new."""
        for name, line in self._intervals.lines():
            try:
                self._take(name, orjson.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # the final record will say that it is damaged
        for _, line in self._printed.lines():
            text = plain_line(line.decode(errors="replace"))
            if text.startswith(WAITING):
                self.waiting = text
            elif text.startswith(AT_THE_END):
                self.news.append(text)
        if rows := [line for _, line in self._logs.lines() if line.startswith(b"Tag=")]:
            self._histograms = _merged(rows) or self._histograms

    def _take(self, name: str, row: dict[str, Any]) -> None:
        began_s = row["t"] - row["s"]
        self.add(name, row)
        if self._began_s is None:
            self._began_s = began_s

    @property
    def stage(self) -> str:
        """The phase in words; at the end with how far it has come."""
        words = PHASES[self.phase] if self.phase or not self.waiting else self.waiting
        if self.phase not in (Phase.FINISHING, Phase.CLEARING):
            return words
        opened, cleared = (self.total("sessions", key) for key in ("opened", "cleared"))
        to_go = self.total("sessions", "occupancy")
        return f"{words}: {cleared:,} of {opened:,} cleared, {to_go:,} to go"

    @property
    def clock(self) -> str:
        """Time since the start, and what is left of the run."""
        if self._began_s is None:
            return ""
        gone = max(0.0, time.time() - self._began_s)
        if self._run_time_s is None or self.phase != Phase.RUNNING:
            return duration_text(round(gone))
        left = duration_text(max(0, round(self._run_time_s - gone)))
        return f"{duration_text(round(gone))}, {left} left"

    @property
    def lag_ms(self) -> float | None:
        """How late the event loops were, at p99 by time, in the newest interval."""
        if not self._histograms:
            return None
        from harness.measure.recorder import LAG_LOOP

        lag = self._histograms.get(LAG_LOOP)
        return None if lag is None else lag.percentile_ms(99)

    def _measured(self, operation: str) -> "Histogram | None":
        """An operation's service time in the newest interval."""
        if not self._histograms:
            return None
        from harness.measure.recorder import service_tag

        return self._histograms.get(service_tag(operation))

    def line(self) -> str:
        """Everything in one plain line, for logs."""
        now, left = self.total("sessions", "occupancy"), self.total("sessions", "leftover")
        reply = self._measured("reply")
        reply_ms = None if reply is None else reply.percentile_ms(95)
        return (
            f"{self.clock}  {self.stage}  in session {now:,}"
            f"  opened {self.total('sessions', 'opened'):,}"
            f"  cleared {self.total('sessions', 'cleared'):,}  left over {left:,}"
            f"  errors {self.errors:,}{_time('reply p95', reply_ms)}"
            f"{_time('lag p99', self.lag_ms)}"
        )

    def view(self) -> RenderableType:
        """Everything as a small screen."""
        many = len(self.newest)
        head = Text.assemble(
            (self.stage, "bold"),
            "  ",
            (self.clock, "dim"),
            f"  {many} process{'' if many == 1 else 'es'}",
        )
        left = self.total("sessions", "leftover")
        account = Text.assemble(
            f"in session {self.total('sessions', 'occupancy'):,} · "
            f"opened {self.total('sessions', 'opened'):,} · "
            f"cleared {self.total('sessions', 'cleared'):,} · ",
            (f"left over {left:,}", "red" if left else ""),
        )
        arrivals = Text(
            f"arrivals: due {self.arrivals.get('due', 0):,} · late {self.arrivals.get('late', 0):,}"
            f" · dropped {self.arrivals.get('dropped', 0):,}    errors {self.errors:,}"
            f"{_time('  generator lag p99', self.lag_ms)}",
            style="dim",
        )
        table = plain_table("last second", "count", "p50 ms", "p95 ms", "max ms")
        for name in OPERATIONS:
            histogram = self._measured(name)
            if histogram is not None and name not in CONNECT_PHASES:
                values = histogram.percentiles_ms([50, 95, 100])
                table.add_row(name, f"{histogram.count:,}", *[milliseconds(v) for v in values])
        for text in (head, account, arrivals):
            # Else a live screen cuts off what a narrow terminal has no room for.
            text.no_wrap, text.overflow = False, "fold"
        return Group(head, account, arrivals, table)


class Display:
    """Shows a progress again and again, by a thread of its own.

    So whoever looks after the run never waits for a terminal that takes nothing, and a mistake in
    what is shown ends the showing and nothing else.
    """

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._over = threading.Event()
        self._shown_at = 0.0
        self._shown_phase = self._shown_waiting = ""
        self._thread = threading.Thread(target=self._show, daemon=True, name="display")
        self._thread.start()

    def say(self, text: str) -> None:
        """A line that stays. Never waits; may be called by a signal's handler."""
        self._messages.put(text)

    def close(self, *, within_s: float = CLOSED_WITHIN_S) -> None:
        """Show how it stands once more; waits for no longer than so for who takes nothing."""
        self._over.set()
        self._thread.join(within_s)

    def _show(self) -> None:
        try:
            with self._screen() as live:
                over = False
                while not over:
                    over = self._over.wait(EVERY_S)
                    self._say_what_waits()
                    self._update(live)
                self._say_what_waits()
        except Exception as error:  # noqa: BLE001 - the run goes on, and so do its messages
            self.say(f"the progress can't be shown any more: {type(error).__name__}: {error}")
        while not self._over.wait(EVERY_S):
            self._say_what_waits()
        self._say_what_waits()

    def _screen(self) -> AbstractContextManager[Live | None]:
        """A live screen on a terminal; nothing elsewhere, where lines are printed."""
        if not self._console.is_terminal:
            return nullcontext()
        return Live(
            console=self._console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _say_what_waits(self) -> None:
        with suppress(OSError, ValueError):
            while not self._messages.empty():
                self._console.print(self._messages.get(), highlight=False, soft_wrap=True)

    def _update(self, live: Live | None) -> None:
        progress = self._progress
        progress.refresh()
        while progress.news:
            self.say(progress.news.pop(0))
        if live is not None:
            live.update(progress.view())
            return
        if not progress.phase and progress.waiting != self._shown_waiting:
            self._shown_waiting = progress.waiting
            self._console.print(progress.waiting, soft_wrap=True, highlight=False)
        due = time.monotonic() - self._shown_at >= TELL_EVERY_S
        if progress.phase and (due or progress.phase != self._shown_phase):
            self._shown_at, self._shown_phase = time.monotonic(), progress.phase
            self._console.print(progress.line(), soft_wrap=True, highlight=False)


def _time(name: str, value_ms: float | None) -> str:
    """A figure of the line; nothing where nothing was measured yet."""
    return "" if value_ms is None else f"  {name} {milliseconds(value_ms)} ms"


def _merged(rows: list[bytes]) -> dict[str, "Histogram"]:
    """The histograms of these lines by tag; what is damaged will be told by the final record."""
    from harness.measure.histogram import Histogram

    merged: dict[str, Histogram] = {}
    for row in rows:
        fields = row.decode().split(",")
        with suppress(ConfigError):
            merged.setdefault(fields[0][4:], Histogram()).merge_encoded(fields[-1])
    return merged
