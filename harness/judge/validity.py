"""Can a run be judged at all? Did it offer the load that was asked for, and is its record complete?

A verdict on the service depends on the load: half as many guests are served better. So a run is
INVALID if arrivals were dropped or late, slots were gone, the schedule was cut, or the mix was
different, unless an objective covers that.

Each process writes its measurements once an interval. If an interval is missing, or is much longer
than it should be, the figures of that time are not known well enough to be judged. A generator
that is late itself measures its own lateness.

The area under the occupancy must agree with the arrivals times the length of the sessions that
ended. It has the form of Little's law but is bookkeeping, not a test of that law: it finds guests
who were counted twice, or never left.

The master of a distributed run writes ``shares.json`` when the share of the workers changes:
``{"changes": [{"at": ..., "first": arrival, "workers": [...]}], "gone": {worker: arrivals}}``,
where ``gone`` has the number of arrivals that a worker was given before it lost its share.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from harness.errors import ConfigError
from harness.judge.objective import Objective
from harness.measure.histogram import Histogram
from harness.measure.model import COMING, GROUPS, OPERATIONS, Outcome, Phase, interval_s
from harness.measure.recorder import LAG_BEAT_S
from harness.measure.snapshot import Interval
from harness.measure.statistics import at_most
from harness.rundir.layout import (
    ABORTED,
    ENDED_BY_HAND,
    ENDED_BY_SEARCH,
    ENDED_FOR_DISK,
    ENDED_FOR_WINDOW,
    RunDirectory,
    write_json,
)
from harness.units import duration_text

MAX_NOT_OFFERED_SHARE = 0.01
"""Share of the arrivals that may be dropped or late, or not be due before the end."""
MAX_EMPTY_SHARE = 0.05
"""Share of the time for which the highest rate may keep a closed workload's slots empty: filling
them at the start takes a while."""
NOT_OFFERED = "the load asked for was not offered: "
ENDED_EARLY_S = 2.0
"""A closed workload that ends this much early was cut. Its length is known to one interval (a
second) at each end."""
CUT_BY = (
    (ENDED_BY_HAND, "by hand"),
    (ENDED_FOR_WINDOW, "because the target's window was about to close"),
    (ENDED_FOR_DISK, "because the disk was nearly full"),
)
"""Keys of ``start.json`` that say why a run was ended early."""
DECIDED_BY = (ABORTED, ENDED_BY_SEARCH)
"""Keys of ``start.json`` by which an objective or a search ended the run: that is no cut."""


def not_offered(
    start: Mapping[str, Any],
    intervals: Sequence[Interval],
    arrivals: Mapping[str, int],
    judged_counters: Collection[str],
    *,
    never_asked: Mapping[str, int] = MappingProxyType({}),
    lost: int = 0,
) -> list[str]:
    """Why the load of a finished run was not the one that its locustfile and options ask for.

    ``arrivals`` are the counts of all processes, including lost ones. ``judged_counters`` are those
    that an objective of the run names: it then limits how many may be dropped or late.
    ``never_asked`` are, by class, arrivals that were turned away because no slot of the class asked
    for one. ``lost`` is the number of dropped arrivals that belonged to a lost process.
    """
    ran = _ran_s(intervals)
    reasons = [
        _turned_away(arrivals, judged_counters, never_asked, lost),
        _paused(arrivals, judged_counters),
        _stood_paused(start, intervals),
        _slots_gone(arrivals, start.get("slots")),
        _cap(start, intervals),
        _slots_kept_empty(start, arrivals, ran),
        _cut(start, arrivals, ran),
    ]
    return [f"{NOT_OFFERED}{reason}" for reason in reasons if reason]


def _turned_away(
    arrivals: Mapping[str, int],
    judged: Collection[str],
    never_asked: Mapping[str, int],
    lost: int,
) -> str:
    due = arrivals.get("due", 0)
    many = {kind: arrivals.get(kind, 0) for kind in ("dropped", "late")}
    if (
        sum(number for kind, number in many.items() if kind not in judged)
        <= MAX_NOT_OFFERED_SHARE * due
    ):
        return ""
    text = f"of {due:,} arrivals due, {many['dropped']:,} were dropped and {many['late']:,} late"
    no_slot, turned_away = arrivals.get("no_slot", 0), sum(many.values())
    ended = arrivals.get("slots_gone", 0) or arrivals.get("slots_done", 0)
    why = "" if ended else " (its stories open none)"  # if slots ended, another reason reports it
    for kind, number in never_asked.items():
        slots = f"no slot of class {kind}" if kind else "no slot"
        text += f", {number:,} of them because {slots} ever asked for a guest{why}"
        no_slot, turned_away = no_slot - number, turned_away - number
    if lost:
        text += f", {lost:,} of them because the process that was to start them was gone"
        turned_away -= lost
    if (never_asked or lost) and turned_away <= MAX_NOT_OFFERED_SHARE * due:
        return text
    if never_asked or lost:
        text += f"; the other {turned_away:,}"
    if no_slot * 2 >= turned_away:
        return f"{text}, because no slot was free ({no_slot:,}): give the shape more slots"
    return f"{text} though slots were free: the generator itself, or its master, was late"


def _paused(arrivals: Mapping[str, int], judged: Collection[str]) -> str:
    due, paused = arrivals.get("due", 0), arrivals.get("paused", 0)
    if "paused" in judged or paused <= MAX_NOT_OFFERED_SHARE * due:
        return ""
    return f"of {due:,} arrivals due, {paused:,} fell into a pause of the run: no guest came"


def _stood_paused(start: Mapping[str, Any], intervals: Sequence[Interval]) -> str:
    """A closed workload has no due arrivals, so its pause is reported by its length (to one
    interval)."""
    if start.get("schedule"):
        return ""
    lengths: dict[str, dict[str, float]] = {}
    for one in intervals:
        phases = lengths.setdefault(one.worker, dict.fromkeys(COMING, 0.0))
        if one.phase in phases:
            phases[one.phase] += one.length_s
    paused_s = max((phases[Phase.PAUSED] for phases in lengths.values()), default=0.0)
    whole_s = max((sum(phases.values()) for phases in lengths.values()), default=0.0)
    if paused_s <= MAX_NOT_OFFERED_SHARE * whole_s:
        return ""
    return (
        f"the run was paused for {duration_text(round(paused_s))} of "
        f"{duration_text(round(whole_s))}: no guest came then"
    )


def _slots_gone(arrivals: Mapping[str, int], slots: Any) -> str:
    gone = arrivals.get("slots_gone", 0)
    if not gone:
        return ""
    of = f" of {slots:,}" if isinstance(slots, int) else ""
    return f"{gone:,}{of} slots ended for good before the run did"


def _cap(start: Mapping[str, Any], intervals: Sequence[Interval]) -> str:
    reached = [interval.ended_s for interval in intervals if interval.arrivals.get("at_cap")]
    if not reached:
        return ""
    began = min(interval.ended_s - interval.length_s for interval in intervals)
    cap = start.get("cap")
    of = f" of {cap:,} sessions" if isinstance(cap, int) else ""
    second = max(0, ceil(max(reached) - began) - 1)
    return f"the cap{of} was reached at second {second:,}; no guest came after that"


def _slots_kept_empty(start: Mapping[str, Any], arrivals: Mapping[str, int], ran_s: float) -> str:
    empty_s, slots = arrivals.get("held_ms", 0) / 1000, start.get("slots")
    if not isinstance(slots, int) or not ran_s or empty_s <= MAX_EMPTY_SHARE * slots * ran_s:
        return ""
    empty = min(empty_s / ran_s, slots)
    return (
        "the highest rate of the target (max_rate) or a master that did not answer held guests "
        f"back: on average {empty:.3g} of {slots:,} slots stood empty for it"
    )


def _cut(start: Mapping[str, Any], arrivals: Mapping[str, int], ran_s: float) -> str:
    if any(start.get(key) for key in DECIDED_BY):
        return ""
    planned = start.get("schedule") or {}
    run_time_s = (start.get("options") or {}).get("run_time_s")
    by = next((words for key, words in CUT_BY if start.get(key)), "")
    if planned.get("count") == 0:
        return ""  # the schedule drew no arrival by chance: all of it was offered
    if count := planned.get("count"):
        came = arrivals.get("due", 0)
        length_s = float(planned["duration_s"])
        if came >= (1 - MAX_NOT_OFFERED_SHARE) * count:
            return ""
        if not by and run_time_s is not None and run_time_s < length_s:
            by = f"by the run time of {duration_text(run_time_s)}"
        how = f"the schedule was cut {by}".rstrip()
        return (
            f"{how} after {duration_text(round(min(ran_s, length_s), 1))} of "
            f"{duration_text(length_s)}, when {came:,} of its {count:,} arrivals had come due"
        )
    if arrivals.get("at_cap"):
        return ""  # that is why it ended
    if arrivals.get("slots_done"):  # each row of a script was used once: nothing is left to do
        return ""
    if run_time_s is None or ran_s >= run_time_s - ENDED_EARLY_S:
        return ""
    # It may not have been ended early: the guests may have come late.
    how = f"the run was ended {by} after" if by else "guests could come for only"
    return f"{how} {duration_text(round(ran_s, 1))} of {duration_text(run_time_s)}"


def _ran_s(intervals: Iterable[Interval]) -> float:
    """How long guests could come, in seconds (to one interval): until the run began to end.

    An interval has the phase at its end.
    """
    first, last = float("inf"), float("-inf")
    coming: dict[str, bool] = {}
    for interval in intervals:
        first = min(first, interval.ended_s - interval.length_s)
        if coming.get(interval.worker, True):
            last = max(last, interval.ended_s)
        coming[interval.worker] = interval.phase in COMING
    return max(0.0, last - first)


GAP_SPARE_S = 5.0
GAP_FACTOR = 3
"""An interval may be this many times too long: a busy machine is no gap."""


def gaps(intervals: Iterable[Interval]) -> list[str]:
    """One sentence for each process whose intervals leave a gap, with the longest of them."""
    sentences = []
    by_worker = sorted(intervals, key=lambda one: (one.worker, one.ended_s))
    for worker, group in groupby(by_worker, key=lambda one: one.worker):
        longest_s = _longest_s(list(group))
        if longest_s:
            text = duration_text(round(longest_s))
            sentences.append(f"the record of process {worker} has a gap of {text}")
    return sentences


def _longest_s(intervals: Sequence[Interval]) -> float:
    """The longest gap of one process in seconds; 0 if there is none."""
    began_s = intervals[0].ended_s - intervals[0].length_s
    # Measured between the ends, so that a missing interval and a too long one are the same.
    steps = pairwise([began_s, *(one.ended_s for one in intervals)])
    too_long_s = (
        ended_s - before_s
        for before_s, ended_s in steps
        if ended_s - before_s > GAP_FACTOR * interval_s(before_s - began_s) + GAP_SPARE_S
    )
    return max(too_long_s, default=0.0)


LATE_MS = 100.0
"""If the event loop is later than this, the figures show the generator's delay and not only the
service's."""
MAX_LATE_SHARE = 0.01
"""A run is INVALID if its loop was later than :data:`LATE_MS` for a larger share of the time."""
FORGIVEN_S = 0.25
"""This much lateness in all is always accepted: in a run of a few seconds a single hiccup would
exceed the share."""
LONGEST_STALL_S = 5.0
"""A run is INVALID as well if its loop stood still for this long at a stretch."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late the loop of one process was: the share of the time in which it was later than
    :data:`LATE_MS`, the longest time at a stretch for which it stood still, and how long it was
    late so in all (seconds)."""

    process: str
    share: float
    longest_s: float
    late_s: float

    @property
    def too_late(self) -> bool:
        """Whether what was measured beside it may be the generator's own."""
        too_often = self.share > MAX_LATE_SHARE and self.late_s > FORGIVEN_S
        return too_often or self.longest_s >= LONGEST_STALL_S

    def text(self) -> str:
        """In a sentence."""
        if self.longest_s >= LONGEST_STALL_S:
            return f"{self.process} stood still for {self.longest_s:.1f} s at a stretch"
        return (
            f"{self.process} was later than {LATE_MS:.0f} ms in {self.share:.1%} of the time "
            f"(limit {MAX_LATE_SHARE:.0%})"
        )


def lateness(beats_of: Mapping[str, Histogram]) -> list[Lateness]:
    """Of each process by itself, from the beats of its loop; the worst first."""
    each = [
        Lateness(
            process,
            beats.count_above_ms(LATE_MS) / beats.count,
            (beats.max_ms or 0) / 1000,
            beats.count_above_ms(LATE_MS) * LAG_BEAT_S,
        )
        for process, beats in beats_of.items()
        if beats.count
    ]
    return sorted(each, key=lambda one: (-one.too_late, -one.share, -one.longest_s, one.process))


def lag_complaints(processes: list[Lateness]) -> list[str]:
    """Why a run is INVALID for it; none where every process kept its time."""
    bad = [one for one in processes if one.too_late]
    if not bad:
        return []
    more = f", and {len(bad) - 1} more processes" if len(bad) > 1 else ""
    return [f"the generator lagged: {bad[0].text()}{more}: use more processes or less load"]


def left_out(damaged: Sequence[str]) -> list[str]:
    """Sentences about lines that could not be read, each given as ``FILE:LINE: why``."""
    files: dict[str, list[str]] = {}
    for text in damaged:
        files.setdefault(text.partition(":")[0], []).append(text)
    return [
        f"{name}: {len(texts)} damaged line{'' if len(texts) == 1 else 's'} left out "
        f"(the first: {texts[0].partition(':')[2]})"
        for name, texts in sorted(files.items())
    ]


MIN_MIX_CHANCE = 1e-5
"""A mix with a lower probability is not the one that was asked for."""


def mix_complaints(block: Mapping[str, Any]) -> list[str]:
    """Why a run is INVALID for its mix; empty if the mix is within chance."""
    shares = {name: one["share_asked_for"] for name, one in block.items()}
    whole = sum(one["came"] for one in block.values())
    if len(block) < 2 or not whole or None in shares.values():
        return []
    off = [
        f"{name} {block[name]['came']:,} instead of {whole * share:,.0f}"
        for name, share in shares.items()
        if chance_of(block[name]["came"], whole, share) < MIN_MIX_CHANCE
    ]
    return [f"the mix asked for was not offered: of {whole:,} guests, {', '.join(off)}"] * bool(off)


def chance_of(count: int, whole: int, share: float) -> float:
    """The probability of a count at least as far off on the same side, in independent draws."""
    if not 0 < share < 1:
        return 1.0 if count == whole * share else 0.0
    if count >= whole * share:  # the same as that few of the others
        count, share = whole - count, 1 - share
    return min(1.0, 2 * at_most(count, whole, share))


LITTLE_TOLERANCE = 0.05
FEWEST_SESSIONS = 20
"""With fewer sessions, one that is cut short at the end weighs too much for the check."""


def check_little(intervals: Iterable[Interval], duration_s: float | None) -> dict[str, Any] | None:
    """Both sides of the law over the whole run, and their difference (a share).

    None if too few sessions ended, or if an older version wrote the run without these counts.
    """
    last: dict[str, Interval] = {}
    started = 0
    for interval in intervals:
        last[interval.worker] = interval
        started += interval.arrivals.get("started", 0)
    total = {
        name: sum(interval.sessions.get(name, 0) for interval in last.values())
        for name in ("occupancy_ms", "ended", "ended_ms")
    }
    if not duration_s or total["ended"] < FEWEST_SESSIONS or not total["ended_ms"]:
        return None
    stay_s = total["ended_ms"] / total["ended"] / 1000
    rate = started / duration_s
    occupancy = total["occupancy_ms"] / 1000 / duration_s
    return {
        "occupancy": occupancy,
        "arrivals_per_s": rate,
        "in_session_s": stay_s,
        "expected_occupancy": rate * stay_s,
        "off": abs(occupancy - rate * stay_s) / (rate * stay_s) if rate else 1.0,
    }


def broken(little: dict[str, Any] | None) -> str:
    """The sentence for a run whose figures break the law; empty if they do not."""
    if little is None or little["off"] <= LITTLE_TOLERANCE:
        return ""
    return (
        f"the account of guests does not hold: {little['occupancy']:.3g} in session on average, "
        f"but {little['arrivals_per_s']:.3g}/s * {little['in_session_s']:.3g} s = "
        f"{little['expected_occupancy']:.3g}: arrivals or sessions were miscounted"
    )


def write_shares(
    directory: Path, changes: Sequence[Mapping[str, Any]], gone: Mapping[str, int]
) -> None:
    """Write the file in one step. Raises OSError."""
    write_json(RunDirectory(directory).shares, {"changes": changes, "gone": gone})


def gone_workers(directory: Path) -> dict[str, int]:
    """The number of arrivals that each lost worker was to start. Raises ConfigError."""
    path = RunDirectory(directory).shares
    if not path.exists():
        return {}
    try:
        gone: dict[str, int] = orjson.loads(path.read_bytes())["gone"]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    return gone


def lost_arrivals(directory: Path, intervals: Sequence[Interval]) -> dict[str, int]:
    """What must be added to the counts ``due`` and ``dropped`` for lost workers.

    An arrival of theirs that no interval shows as started or dropped counts as never started.
    Raises ConfigError if the file can't be read.
    """
    gone = gone_workers(directory)
    if not gone:
        return {}
    due, done = Counter[str](), Counter[str]()
    for interval in intervals:
        arrivals = interval.arrivals
        due[interval.worker] += arrivals.get("due", 0)
        done[interval.worker] += arrivals.get("started", 0) + arrivals.get("dropped", 0)
    return {
        "due": sum(max(0, many - due[worker]) for worker, many in gone.items()),
        "dropped": sum(max(0, many - done[worker]) for worker, many in gone.items()),
    }


def unbalanced(record: Mapping[str, Any]) -> list[str]:
    """One sentence for each account that does not add up."""
    sentences = []
    questions, stories, guests = (record[name] for name in ("questions", "stories", "guests"))
    if questions["open"]:
        sentences.append(
            f"the account of questions does not add up: {questions['asked']:,} asked, "
            f"{questions['asked'] - questions['open']:,} ended"
        )
    for name, block, whole in (("stories", stories, "begun"), ("guests", guests, "arrived")):
        ended = sum(block[part] for part in GROUPS[name][1:])
        if ended != block[whole]:
            sentences.append(
                f"the account of {name} does not add up: {block[whole]:,} {whole}, {ended:,} ended"
            )
    return sentences


def not_judged(operations: Mapping[str, Any], objectives: Iterable[Objective]) -> list[str]:
    """Errors that no objective looks at, such as ``23 of 50 connects failed (refused 23)``."""
    looked_at = {
        objective.subject
        for objective in objectives
        if objective.figure == "errors" or objective.figure in tuple(Outcome)
    }
    sentences = []
    for name, operation in OPERATIONS.items():
        entry = operations.get(name)
        if entry is None or name in looked_at:
            continue
        failed = {word: many for word, many in entry["outcomes"].items() if word != Outcome.OK}
        many = sum(failed.values()) - entry.get("cut_early", 0)
        if many > 0:
            shown = ", ".join(f"{word} {number:,}" for word, number in failed.items())
            sentences.append(f"{many:,} of {entry['count']:,} {operation.many} failed ({shown})")
    return sentences


def story_error_reasons(block: list[dict[str, Any]]) -> list[str]:
    """A reason for each kind and place of error."""
    return [
        f"{_times(entry['count'])} a story of the locustfile ended by an error of its own: "
        f"{entry['what']} (see Locust's log)"
        for entry in block
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
