"""Two runs side by side: how differently they were run, and what changed from one to the other.

The mathematics and the words for times and shares are those of
:mod:`harness.studies.compare.statistics`. Leftovers are counted, not estimated: one more than
before is one more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.config.run_config import SIMULATOR_NAME
from harness.errors import ConfigError, ExitCode
from harness.judge.reading import changed_files, read_record
from harness.judge.series import MOST_BLOCKS, BinnedTimes, Series, empty_series, read_span
from harness.measure.histogram import Counted
from harness.measure.model import Outcome, ordered
from harness.measure.snapshot import read_intervals, read_measurements
from harness.report.story import failures, how_rows, sessions_as_left
from harness.report.wording import count_text, length_text, ms_text, percent_text
from harness.rundir.layout import RunDirectory
from harness.rundir.schema import RunRecord
from harness.studies.compare.statistics import (
    Change,
    Rules,
    ShareBlocks,
    ShareChange,
    Word,
    compare_runs,
    compare_shares,
)

Buckets = Sequence[tuple[float, int]]
"""(milliseconds, count) of a histogram."""


def _blocks_of(run_dir: Path) -> Series | None:
    paths = RunDirectory(run_dir).all_intervals()
    span = read_span(paths)
    return None if span is None else empty_series(span, (MOST_BLOCKS,))[0]


def read_blocks(run_dir: Path) -> dict[str, list[Buckets]]:
    """Per tag the histogram of each block in which it has values, in order of time.

    All processes are merged. Empty where nothing was recorded. Damaged lines are left out.
    """
    by_tag: dict[str, list[Buckets]] = {}
    if (series := _blocks_of(run_dir)) is None:
        return by_tag

    def keep(tag: str, part: Counted, _at_s: float) -> None:
        by_tag.setdefault(tag, []).append(
            [(value_us / 1000, count) for value_us, count in part.buckets_us()]
        )

    BinnedTimes(series, keep).read(RunDirectory(run_dir).all_histograms())
    return by_tag


def read_error_blocks(run_dir: Path) -> dict[str, list[tuple[int, int]]]:
    """Per operation (did not end well, all) of each block in which it ended, in order of time.

    All processes are merged. What the end of the run has cut short is left out.
    """
    if (series := _blocks_of(run_dir)) is None:
        return {}
    by_operation: dict[str, list[list[int]]] = {}
    for path in RunDirectory(run_dir).all_intervals():
        for interval in read_intervals(path):
            place = series.bin_of(interval.ended_s - interval.length_s / 2)
            for operation, outcomes in interval.outcomes.items():
                blocks = by_operation.setdefault(operation, [[0, 0] for _ in range(len(series))])
                whole = sum(outcomes.values()) - outcomes.get(Outcome.CUT_SHORT, 0)
                blocks[place][0] += whole - outcomes.get(Outcome.OK, 0)
                blocks[place][1] += whole
    return {
        operation: [(bad, whole) for bad, whole in blocks if whole]
        for operation, blocks in by_operation.items()
    }


SERVICE = ".service"
MORE, FEWER = "more", "fewer"
ERRORS_OF = "errors of "
GATE_OPERATIONS = ("reply", "session_open", "delivered")
GATE_PERCENT = 95.0
SHARES_MATTER = 0.005
"""A share of errors that is higher by half a percentage point is worse."""


class Difference(NamedTuple):
    """Something about how the runs were made that is not the same."""

    name: str
    base: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountChange:
    """A count or a share in both runs and a word for the change."""

    name: str
    base: str
    new: str
    word: str
    worst: float | None = None
    """by how much a share may be more at most; of one that the gate looks at"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed between two runs."""

    base: RunRecord
    new: RunRecord
    rules: Rules
    differences: list[Difference]
    times: list[Change]
    counts: list[CountChange]
    health: list[Difference]
    doubts: list[str]
    """Why one of the runs is not fit to be compared; empty where both are."""
    named: list[str] = field(default_factory=list)
    """The figures that the gate judges."""
    bases: int = 1

    @property
    def worse(self) -> list[str]:
        return self._with_word(Word.SLOWER, MORE, f"{MORE} ")

    @property
    def better(self) -> list[str]:
        return self._with_word(Word.FASTER, FEWER, f"{FEWER} ")

    @property
    def unclear(self) -> list[str]:
        return self._with_word(Word.UNKNOWN, Word.UNKNOWN)

    def _with_word(self, word: Word, of_counts: str, before: str = "") -> list[str]:
        """The times and the counts of which a word is said."""
        times = [change.figure for change in self.times if change.word is word]
        return times + [f"{before}{item.name}" for item in self.counts if item.word == of_counts]

    @property
    def open(self) -> list[str]:
        """Figures of the gate that may be worse by what matters, for all that is known."""
        times = [
            change.figure
            for change in self.times
            if change.figure in self.named
            and (change.worst is None or change.worst >= self.rules.matters)
            and not (change.word is Word.SAME and change.note)  # smaller than anybody notices
        ]
        return times + [
            item.name
            for item in self.counts
            if item.name in self.named
            and item.name.startswith(ERRORS_OF)
            and (item.worst is None or item.worst >= SHARES_MATTER)
        ]

    @property
    def exit_code(self) -> ExitCode:
        """Worth of the comparison as a gate: nothing passes that could not be judged."""
        if self.doubts:
            return ExitCode.INVALID
        if self.worse:
            return ExitCode.OBJECTIVES
        return ExitCode.NO_DATA if self.open or not self.named else ExitCode.PASS

    @property
    def summary(self) -> str:
        if self.doubts:
            return "These runs can't be compared: " + " ".join(self.doubts)
        if self.worse:
            return f"Worse: {grouped(self.worse)}."
        better = f"Better: {grouped(self.better)}. " if self.better else ""
        if not self.named:
            return "Nothing can be told: the runs have no figure in common that a gate looks at."
        if self.open:
            return (
                f"{better}Nothing is known to be worse, but {grouped(self.open)} may be, by as "
                "much as matters. Longer runs would tell."
            )
        figures = len(self.times) + len(self.counts)
        limited = f" {len(self.unclear)} of {figures} figures can't be told."
        return (
            f"{better}Nothing got worse by as much as matters (looked at: {grouped(self.named)})."
            + (limited if self.unclear else "")
        )

    @property
    def assumption(self) -> str:
        """What the words stand on."""
        if self.rules.between_runs:
            share = f"{self.rules.between_runs * 100:g} %"
            return f"Runs are taken to differ by {share} from one to the next anyway."
        if self.bases > 1:
            return f"How much runs differ anyway was taken from the {self.bases} base runs."
        return (
            "These words hold for these two runs. One base run can't show how much runs differ "
            "anyway: where that is 3 %, most comparisons find a change that means nothing. "
            "Give several base runs, or --between-runs."
        )


def grouped(items: list[str]) -> str:
    """``reply p50, reply p95, more leftovers`` → ``reply p50 and p95; more leftovers``."""
    groups: dict[str, list[str]] = {}
    for item in items:
        name, _, percentile = item.rpartition(" p")
        groups.setdefault(name or item, []).extend([f"p{percentile}"] if name else [])
    parts = []
    for name, percentiles in groups.items():
        last = [" and ".join(percentiles[-2:])] if percentiles else []
        parts.append(" ".join([name, ", ".join([*percentiles[:-2], *last])]).strip())
    return "; ".join(parts)


def compare(
    base_dirs: Path | Sequence[Path],
    new_dir: Path,
    *,
    rules: Rules | None = None,
    named: Sequence[str] = (),
) -> Comparison:
    """Compare the run in ``new_dir`` with one or several base runs, the newest of them last.

    ``named`` are the figures that the gate looks at, such as ``reply p95`` or ``errors of reply``;
    by default the p95 and the errors of replies, openings and deliveries, and leftovers.

    Raises ConfigError where one of them is no run directory, damaged, or a name is unknown.
    """
    rules = rules or Rules()
    bases = [base_dirs] if isinstance(base_dirs, Path) else list(base_dirs)
    records, new = [read_record(directory) for directory in bases], read_record(new_dir)
    base = records[-1]
    common = [name for name in base.operations if name in new.operations]
    gate = list(named) or _gate_of(common)
    times = _times(bases, new_dir, rules, gate)
    counts = list(_counts((*bases, new_dir), (*records, new), rules, gate))
    known = [change.figure for change in times] + [item.name for item in counts]
    for name in named:
        if name not in known:
            raise ConfigError(f"--figure: {name!r} is not compared; there are: {', '.join(known)}")
    return Comparison(
        base=base,
        new=new,
        rules=rules,
        differences=list(_differences(base, new)),
        times=times,
        counts=counts,
        health=list(_health(base, new)),
        doubts=[
            *(
                doubt
                for pair in zip(records, bases, strict=True)
                for doubt in _doubts(*pair, "base")
            ),
            *_doubts(new, new_dir, "new"),
        ],
        named=[name for name in gate if name in known],
        bases=len(bases),
    )


def _gate_of(operations: Sequence[str]) -> list[str]:
    """What the gate judges by default."""
    looked_at = [name for name in GATE_OPERATIONS if name in operations]
    return [
        *(f"{name} p{GATE_PERCENT:g}" for name in looked_at),
        *(ERRORS_OF + name for name in looked_at),
        *(["leftovers"] if looked_at else []),
    ]


def _times(
    base_dirs: Sequence[Path], new_dir: Path, rules: Rules, gate: Sequence[str]
) -> list[Change]:
    bases, new = [_service(run_dir) for run_dir in base_dirs], _service(new_dir)
    order = ordered(name for side in (*bases, new) for name in side)
    runs = [{name: side[name] for name in order if name in side} for side in (*bases, new)]
    named = []
    for figure in gate:
        name, _, percent = figure.rpartition(" p")
        if name and percent.replace(".", "", 1).isdecimal():
            named.append((name, float(percent)))
    changes = compare_runs(runs[:-1], runs[-1], rules=rules, named=named)
    return sorted(changes, key=lambda change: order.index(change.name))  # stable: by percentile


def _service(run_dir: Path) -> dict[str, list[Buckets]]:
    return {
        tag.removesuffix(SERVICE): blocks
        for tag, blocks in read_blocks(run_dir).items()
        if tag.endswith(SERVICE)
    }


NO_SETUP = frozenset({"Note", "Disk", "Option users"})
"""Not a setting of the run, or shown in another row (the slots)."""
SHOWN_ELSEWHERE = frozenset({"Target", "Deployment"})
"""New in each run of the embedded simulator."""


def _differences(base: RunRecord, new: RunRecord) -> Iterator[Difference]:
    sides = [{row.label: row.figure for row in how_rows(record)} for record in (base, new)]
    embedded = all(record.how.target_name == SIMULATOR_NAME for record in (base, new))
    hidden = NO_SETUP | SHOWN_ELSEWHERE if embedded else NO_SETUP
    for side, record in zip(sides, (base, new), strict=True):
        side["Arrivals due"] = count_text(record.arrivals.due)
        side["Length"] = length_text(record.duration_s)
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        ours, theirs = (side.get(name, "not set") for side in sides)
        if ours != theirs and name not in hidden:
            yield Difference(name=name, base=ours, new=theirs)


def _counts(
    run_dirs: Sequence[Path],
    records: Sequence[RunRecord],
    rules: Rules,
    gate: Sequence[str],
) -> Iterator[CountChange]:
    """Of the base runs together and of the new one, which is last."""
    base, new = records[-2], records[-1]
    names = ordered(name for name in base.operations if name in new.operations)
    # The stated error rate holds for all these shares together (Bonferroni).
    confidence = 1 - (1 - rules.confidence) / max(1, len(names) + 1)
    looked_at = sum(figure.startswith(ERRORS_OF) for figure in gate)
    blocks = [read_error_blocks(run_dir) for run_dir in run_dirs]
    for name in names:
        sides = [
            _errors(record, name, run_blocks.get(name, ()))
            for record, run_blocks in zip(records, blocks, strict=True)
        ]
        named = looked_at if ERRORS_OF + name in gate else 0
        yield _shares(ERRORS_OF + name, sides, confidence, rules.confidence, named)
    dropped = [
        None if lost is None or due is None else [(lost, due)]
        for lost, due in ((record.arrivals.dropped, record.arrivals.due) for record in records)
    ]
    yield _shares("arrivals dropped", dropped, confidence, rules.confidence, 0)
    left = [sessions_as_left(record).leftover for record in (base, new)]
    yield CountChange(
        name="leftovers",
        base=count_text(left[0]),
        new=count_text(left[1]),
        word=_more_or_fewer(left[0], left[1]),
    )


def _errors(record: RunRecord, name: str, blocks: ShareBlocks) -> ShareBlocks | None:
    """By blocks of time, if they hold all that the record counts; None where it counts nothing.

    Of what the end of the run cut short only that counts which had waited longer than all others.
    """
    if name not in record.operations:
        return None
    operation = record.operations[name]
    failed, _ = failures(record, name)
    if failed is None:
        return None
    early = operation.cut_early or 0
    late = operation.outcomes.get(Outcome.CUT_SHORT, 0) - early
    blocks = [*blocks, *([(late, late)] if late else [])]
    known = failed - early, sum(operation.outcomes.values()) - early
    return blocks if known == tuple(map(sum, zip(*blocks, strict=True))) else [known]


def _shares(
    name: str, runs: Sequence[ShareBlocks | None], confidence: float, gate: float, looked_at: int
) -> CountChange:
    """``runs`` are None where it was not recorded.

    ``looked_at``: with how many shares of the gate it has to hold together (0: not one).
    """
    *bases, new = runs
    base = None if None in bases else [block for run in bases if run for block in run]
    change = ShareChange(word=str(Word.UNKNOWN))
    worst = None
    if base is not None and new is not None:
        change = compare_shares(base, new, confidence=confidence, matters=SHARES_MATTER)
        if looked_at:
            worst = compare_shares(base, new, confidence=gate, looked_at=looked_at).worst
    before, after = (
        "not recorded"
        if side is None
        else f"{count_text(sum(part for part, _ in side))} ({percent_text(share)})"
        for side, share in ((base, change.base), (new, change.new))
    )
    return CountChange(name=name, base=before, new=after, word=change.word, worst=worst)


def _more_or_fewer(base: int | None, new: int | None) -> str:
    if base is None or new is None:
        return str(Word.UNKNOWN)
    if base == new:
        return str(Word.SAME)
    return MORE if new > base else FEWER


def _health(base: RunRecord, new: RunRecord) -> Iterator[Difference]:
    sides = []
    for record in (base, new):
        generator = record.generator
        sides.append(
            {
                "Generator late, of the time": percent_text(generator.late_share),
                "Event loop lag p99": ms_text(generator.lag_loop_ms.p99),
                "Highest CPU of one process": percent_text(generator.cpu_max),
                "Workers lost": count_text(generator.workers_lost),
                "Verdict": record.verdict or "none",
            }
        )
    for name in sides[0]:
        yield Difference(name=name, base=sides[0][name], new=sides[1][name])


def _doubts(record: RunRecord, directory: Path, side: str) -> Iterator[str]:
    if record.verdict == "INVALID":
        yield f"The {side} run ({record.run_id}) is INVALID."
    elif record.complete is False:
        yield f"The {side} run ({record.run_id}) did not come to its end."
    blocks = record.model_dump()["operations"]
    timed = {
        name: block
        for name, block in blocks.items()
        if (block.get("service_ms") or {}).get("max") is not None
    }
    for why in changed_files({"operations": timed}, read_measurements(directory)):
        yield f"The {side} run ({record.run_id}): {why}."
