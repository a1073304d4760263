"""Two runs side by side: how differently they were run, and what changed from one to the other.

The mathematics and the words for times and shares are those of :mod:`harness.analysis.compare`.
Leftovers are counted, not estimated: one more than before is one more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.compare import (
    Change,
    Rules,
    ShareChange,
    Word,
    compare_runs,
    compare_shares,
)
from harness.exit_codes import ExitCode
from harness.measure.operations import ordered
from harness.report.blocks import read_blocks
from harness.report.figures import count_text, length_text, ms_text, percent_text
from harness.report.reading import read_record
from harness.report.schema import RunRecord
from harness.report.story import failures, how_rows

SERVICE = ".service"
NOT_TIMED = "lag"
MORE, FEWER = "more", "fewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something about how the runs were made that is not the same."""

    name: str
    base: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A count or a share in both runs and a word for the change."""

    name: str
    base: str
    new: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed between two runs."""

    base: RunRecord
    new: RunRecord
    rules: Rules
    differences: list[Difference]
    times: list[Change]
    counts: list[Counted]
    health: list[Difference]
    doubts: list[str]
    """Why one of the runs is not fit to be compared; empty where both are."""

    @property
    def worse(self) -> list[str]:
        """What got worse, each in a few words."""
        slower = [
            f"{change.name} p{change.percent:g}"
            for change in self.times
            if change.word is Word.SLOWER
        ]
        return slower + [f"more {item.name}" for item in self.counts if item.word == MORE]

    @property
    def better(self) -> list[str]:
        """What got better."""
        faster = [
            f"{change.name} p{change.percent:g}"
            for change in self.times
            if change.word is Word.FASTER
        ]
        return faster + [f"fewer {item.name}" for item in self.counts if item.word == FEWER]

    @property
    def unclear(self) -> list[str]:
        """What can't be told."""
        found = [
            f"{change.name} p{change.percent:g}"
            for change in self.times
            if change.word is Word.UNKNOWN
        ]
        return found + [item.name for item in self.counts if item.word == Word.UNKNOWN]

    @property
    def figures(self) -> int:
        """How many figures were compared."""
        return len(self.times) + len(self.counts)

    @property
    def exit_code(self) -> ExitCode:
        """Worth of the comparison as a gate: nothing passes that could not be judged."""
        if self.doubts:
            return ExitCode.INVALID
        if self.worse:
            return ExitCode.OBJECTIVES
        told = [change for change in self.times if change.word is not Word.UNKNOWN]
        return ExitCode.PASS if told else ExitCode.NO_DATA

    @property
    def summary(self) -> str:
        """One sentence."""
        if self.doubts:
            return "These runs can't be compared: " + " ".join(self.doubts)
        if self.worse:
            return f"Worse: {grouped(self.worse)}."
        if self.exit_code is ExitCode.NO_DATA:
            return "Nothing can be told: these runs are too short."
        limited = f" {len(self.unclear)} of {self.figures} figures can't be told."
        more = limited if self.unclear else ""
        if self.better:
            return f"Better: {grouped(self.better)}. Nothing got worse.{more}"
        return f"No difference was seen.{more}"


def grouped(items: list[str]) -> str:
    """``reply p50, reply p95, more leftovers`` → ``reply p50 and p95; more leftovers``."""
    found: dict[str, list[str]] = {}
    for item in items:
        name, _, percentile = item.rpartition(" p")
        found.setdefault(name or item, []).extend([f"p{percentile}"] if name else [])
    parts = []
    for name, percentiles in found.items():
        last = [" and ".join(percentiles[-2:])] if percentiles else []
        parts.append(" ".join([name, ", ".join([*percentiles[:-2], *last])]).strip())
    return "; ".join(parts)


def compare(base_dir: Path, new_dir: Path, *, rules: Rules | None = None) -> Comparison:
    """Compare the run in ``new_dir`` with the one in ``base_dir``.

    Raises ConfigError where one of them is no run directory or damaged.
    """
    rules = rules or Rules()
    base, new = read_record(base_dir), read_record(new_dir)
    return Comparison(
        base=base,
        new=new,
        rules=rules,
        differences=list(_differences(base, new)),
        times=_times(base_dir, new_dir, rules),
        counts=list(_counts(base, new, rules)),
        health=list(_health(base, new)),
        doubts=[*_doubts(base, "base"), *_doubts(new, "new run")],
    )


def _times(base_dir: Path, new_dir: Path, rules: Rules) -> list[Change]:
    sides = [_service(run_dir) for run_dir in (base_dir, new_dir)]
    order = ordered([*sides[0], *sides[1]])
    base, new = ({name: side[name] for name in order if name in side} for side in sides)
    found = compare_runs(base, new, rules=rules)
    return sorted(found, key=lambda change: order.index(change.name))  # stable: by percentile


def _service(run_dir: Path) -> dict[str, list[list[tuple[float, int]]]]:
    return {
        tag.removesuffix(SERVICE): [list(block) for block in blocks]
        for tag, blocks in read_blocks(run_dir).items()
        if tag.endswith(SERVICE)
    }


def _differences(base: RunRecord, new: RunRecord) -> Iterator[Difference]:
    sides = [{row.label: row.figure for row in how_rows(record)} for record in (base, new)]
    for side, record in zip(sides, (base, new), strict=True):
        side["Arrivals due"] = count_text(record.arrivals.due)
        side["Length"] = length_text(record.duration_s)
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        ours, theirs = (side.get(name, "not set") for side in sides)
        if ours != theirs:
            yield Difference(name=name, base=ours, new=theirs)


def _counts(base: RunRecord, new: RunRecord, rules: Rules) -> Iterator[Counted]:
    names = ordered(name for name in base.operations if name in new.operations)
    # The stated error rate holds for all these shares together (Bonferroni).
    confidence = 1 - (1 - rules.confidence) / max(1, len(names) + 1)
    for name in names:
        sides = [_errors(record, name) for record in (base, new)]
        yield _shares(f"errors of {name}", sides, confidence)
    sides = [(record.arrivals.dropped, record.arrivals.due) for record in (base, new)]
    yield _shares("arrivals dropped", sides, confidence)
    left = [record.sessions.leftover for record in (base, new)]
    yield Counted(
        name="leftovers",
        base=count_text(left[0]),
        new=count_text(left[1]),
        word=_more_or_fewer(left[0], left[1]),
    )


def _errors(record: RunRecord, name: str) -> tuple[int | None, int | None]:
    failed, _ = failures(record, name)
    return failed, sum(record.operations[name].outcomes.values())


def _shares(name: str, sides: list[tuple[int | None, int | None]], confidence: float) -> Counted:
    known = [(part, whole) for part, whole in sides if part is not None and whole is not None]
    if len(known) < 2:
        found = ShareChange(base=None, new=None, low=None, high=None, word=str(Word.UNKNOWN))
    else:
        found = compare_shares(known[0], known[1], confidence=confidence)
    base, new = (
        "not recorded" if part is None else f"{count_text(part)} ({percent_text(share)})"
        for (part, _), share in zip(sides, (found.base, found.new), strict=True)
    )
    return Counted(name=name, base=base, new=new, word=found.word)


def _more_or_fewer(base: int | None, new: int | None) -> str:
    if base is None or new is None:
        return str(Word.UNKNOWN)
    if base == new:
        return str(Word.SAME)
    return MORE if new > base else FEWER


def _health(base: RunRecord, new: RunRecord) -> Iterator[Difference]:
    sides = []
    for record in (base, new):
        found = record.generator
        sides.append(
            {
                "Generator late, of the time": percent_text(found.late_share),
                "Event loop lag p99": ms_text(found.lag_loop_ms.p99),
                "Highest CPU of one process": percent_text(found.cpu_max),
                "Workers lost": count_text(found.workers_lost),
                "Verdict": record.verdict or "none",
            }
        )
    for name in sides[0]:
        yield Difference(name=name, base=sides[0][name], new=sides[1][name])


def _doubts(record: RunRecord, side: str) -> Iterator[str]:
    if record.verdict == "INVALID":
        yield f"The {side} ({record.run_id}) is not valid itself."
    elif record.complete is False:
        yield f"The {side} ({record.run_id}) did not come to its end."
