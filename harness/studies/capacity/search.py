"""The search for the highest load that still meets the objectives: which level to try next.

The state is the list of levels tried, nothing else, so a search is resumed by handing that list in
again. First the load is raised by a factor until a level is *over*; then the gap is halved. As soon
as a level's figure lies near its limit, levels around it are read together until it is certain
enough where the curve crosses (``harness.studies.capacity.models``). Without readings, a level
that is *close* (the objective's interval encloses its limit) marks the knee itself: the gaps on
both sides of it are narrowed. A level at which the generator was the limit is *inconclusive*: the
search stays below it and never calls it the service's limit.

What a capacity search raises: new guests per unit of time, or guests present at once.

Inside, rates are guests per second and occupancies guests; people read guests a minute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, floor, hypot, inf, isfinite, sqrt
from typing import Any

from harness.errors import ConfigError, expect
from harness.studies.capacity.holding import Judged
from harness.studies.capacity.models import (
    CURVATURE_SHARE,
    FEWEST_READINGS,
    Crossing,
    Reading,
    chance_of,
    find_crossing,
    is_near,
)
from harness.units import figure_text, rate_per_s

SERVICE_JUDGEMENTS = (Judged.UNDER, Judged.CLOSE, Judged.OVER)
"""Judgements that say something about the service (not about the generator or too few guests)."""
ANSWER_CONFIDENCE = 0.95
"""The confidence that the limit lies between the two ends of a finished search's answer."""
REPEAT_ERRORS = 2.2
"""A level that is held again counts as changed if it differs by this many standard errors."""
MAX_WIDTH_FACTOR = 2.0
"""The interval of a finished search may be this many times as wide as the resolution."""
MAX_ERROR_RATIO = 2.0
"""A level is not held again if its distance from the limit has an error this many times larger than
that of the best known level."""
MIN_FIT_CHANCE = 0.05
"""Readings disagree if chance alone puts them this far from their common line less often than this.
"""
MIN_SCATTER_CHANCE = 0.02
"""The same for the parts of each level and their mean."""
CHANGED = "a level that was held again at the end did not show what it had shown before"
DISAGREEMENT = "the levels around the limit disagree by more than their intervals"
SETTLED_LATER = "a level that was missed got better when it was held longer: give a longer --settle"
WANDERED = (
    "the levels around the limit wandered while they were held by more than chance: "
    "the service is now faster, now slower, so hold longer (--hold, --longest)"
)
UNSTEADY = "a level still changed when its time was over: give a longer --settle or --longest"
TOO_FEW = "too few guests came: hold longer (--hold, --longest), or begin higher (--start)"
SAME_RATE = 1e-9
NEARBY = 0.15
"""Levels within this share of the likeliest crossing count as near it."""
PROBE_OFFSETS = (0.8, 0.4, 1.2)
"""How far from the likeliest crossing the next levels are tried, in multiples of the resolution."""
WIDE_PROBE_OFFSETS = (0.8, 1.2, 1.6)
"""The same while the slope of the curve is still uncertain."""


class AnswerKind(StrEnum):
    """What kind of answer it is."""

    SEARCHING = "searching"
    KNEE = "knee"
    CHANGED = "changed"
    """The service was not the same all the time: a range, with no confidence."""
    AT_LEAST = "at least"
    AT_MOST = "at most"
    GENERATOR = "the generator is the limit"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedLevel:
    """A level that was run; ``reason`` is what decided (the objective that broke first).

    ``reading`` is the distance from its limit of the objective that is nearest to breaking.
    ``again``: the same load was held before, and this level is to confirm the result.
    ``unsteady``: it was still changing at its end. ``wandered``: how far its parts lie from their
    mean, in squared standard errors, and the degrees of freedom.
    """

    rate: float
    judged: Judged
    minutes: float = 0.0
    reason: str = ""
    reading: Reading | None = None
    again: bool = False
    unsteady: bool = False
    wandered: tuple[float, int] = (0.0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """The range of the search and its resolution. Loads are guests per second or guests at once.

    The search ends when the interval's ends differ by ``resolution`` (a share) or after
    ``max_levels`` levels. No load is outside ``lowest`` to ``highest``. ``whole``: loads are whole
    numbers, so no load lies between two consecutive ones.
    """

    start: float
    highest: float
    lowest: float = 0.0
    factor: float = 2.0
    resolution: float = 0.08
    max_levels: int = 24
    whole: bool = False
    again: bool = False
    """hold early levels again at the end, to see whether the service is still the same"""

    def __post_init__(self) -> None:
        rates = (self.start, self.highest, self.lowest, self.factor, self.resolution)
        if not all(isfinite(value) for value in rates):
            raise ConfigError("capacity: expected finite numbers")
        if not 0 <= self.lowest <= self.start <= self.highest or self.start <= 0:
            loads = f"{self.lowest:g}, {self.start:g}, {self.highest:g}"
            raise ConfigError(
                f"capacity: expected lowest <= start <= highest and start above zero, got {loads}"
            )
        if self.factor <= 1 or not 0 < self.resolution < 1 or self.max_levels < 1:
            raise ConfigError(
                "capacity: expected a factor above 1, a resolution between 0 and 1, and levels"
            )
        if self.whole and any(load % 1 for load in (self.start, self.highest, self.lowest)):
            raise ConfigError("capacity: expected whole numbers of guests")

    def below(self, load: float) -> float:
        """The highest load there is that is not above this one."""
        return max(1.0, float(floor(load))) if self.whole and load < inf else load

    def above(self, load: float) -> float:
        """The lowest load there is that is not below this one."""
        return float(ceil(load)) if self.whole and load < inf else load

    def between(self, low: float, high: float) -> float:
        """The middle of two loads that are apart."""
        middle = sqrt(low * high)
        return float(round(middle)) if self.whole else middle

    def distinct(self, low: float, high: float, share: float) -> bool:
        """Whether two loads differ by more than a share, and a load exists between them."""
        return high / low > (1 + share) * (1 + SAME_RATE) and not (self.whole and high - low <= 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The knee lies between ``low`` (met) and ``high`` (missed, or infinite).

    ``centre`` is the likeliest place: the middle of the levels that were too close to call, or of
    the interval; None where the interval has no two ends.
    """

    kind: AnswerKind
    low: float
    high: float
    centre: float | None
    broke_first: str
    levels: int
    minutes: float
    too_few: bool = False
    """whether levels had too few guests, and none was met"""
    doubts: tuple[str, ...] = ()
    """why no confidence can be stated"""

    @property
    def confidence(self) -> float | None:
        """With which the limit lies between the two ends; None where nothing can be claimed."""
        return ANSWER_CONFIDENCE if self.kind is AnswerKind.KNEE else None

    def headroom(self, wanted: float) -> float:
        """How far the proven load lies above a wanted one, as a share; negative when below."""
        expect(wanted > 0, "capacity: wanted", "a rate above zero", wanted)
        return self.low / wanted - 1

    def text(self, unit: str, scale: float = 1.0) -> str:
        """For a person: ``382 to 394 guests/min``; ``scale`` is by what the unit is larger."""
        low, high = figure_text(self.low * scale), figure_text(self.high * scale)
        match self.kind:
            case AnswerKind.KNEE:
                return f"{low} to {high} {unit} ({ANSWER_CONFIDENCE * 100:g} %)"
            case AnswerKind.CHANGED if self.high == inf:
                return f"at least {low} {unit} for a while: the service changed during the search"
            case AnswerKind.CHANGED if not self.low:
                return f"below {high} {unit}: the service changed during the search"
            case AnswerKind.CHANGED:
                return f"between {low} and {high} {unit}: the service changed during the search"
            case AnswerKind.AT_LEAST:
                return f"at least {low} {unit}: the highest load allowed was still met"
            case AnswerKind.AT_MOST if self.too_few:
                return f"below {high} {unit}: at the loads below it {TOO_FEW}"
            case AnswerKind.AT_MOST:
                return f"below {high} {unit}: the lowest load tried was already over"
            case AnswerKind.GENERATOR:
                return (
                    f"at least {low} {unit}: beyond that the generator is the limit, "
                    "the service's own was not found"
                )
            case AnswerKind.SEARCHING:
                return f"so far between {low} and {high} {unit}"
            case AnswerKind.UNCLEAR if self.too_few:
                return f"not found: {TOO_FEW}"
            case AnswerKind.UNCLEAR if not self.low:
                return "not found: no level was clearly met"
            case AnswerKind.UNCLEAR if self.high == inf:
                return f"at least {low} {unit}, not searched further"
            case AnswerKind.UNCLEAR:
                return f"between {low} and {high} {unit}, not narrowed further"


def next_rate(plan: SearchPlan, tried: Sequence[TriedLevel]) -> float | None:
    """The load to try next, or None when the search is over."""
    rate = _next_new(plan, _first_time(tried))
    return rate if rate is not None or not plan.again else _next_again(tried)


def is_again(plan: SearchPlan, tried: Sequence[TriedLevel]) -> bool:
    """Whether the next level is an early one, held again to see whether it shows the same."""
    return _next_new(plan, _first_time(tried)) is None


def _first_time(tried: Sequence[TriedLevel]) -> list[TriedLevel]:
    return [level for level in tried if not level.again]


def _next_again(tried: Sequence[TriedLevel]) -> float | None:
    """An early level below the limit and one above it, those that tell most; None when done."""
    again = {level.rate for level in tried if level.again}
    first = [level for level in _first_time(tried) if level.judged in SERVICE_JUDGEMENTS]
    near = [
        (one.rate, one.reading) for one in first if one.reading is not None and is_near(one.reading)
    ]
    below = [(rate, reading) for rate, reading in near if reading.value < 0]
    above = [(rate, reading) for rate, reading in near if reading.value >= 0]
    wanted = [_earliest_of_best(side) for side in (below, above) if side]
    if not below:
        wanted += [max((one.rate for one in first if one.judged is Judged.UNDER), default=0.0)]
    if not above:
        wanted += [min((one.rate for one in first if one.judged is Judged.OVER), default=0.0)]
    return next((rate for rate in wanted if rate and rate not in again), None)


def _earliest_of_best(near: Sequence[tuple[float, Reading]]) -> float:
    """The earliest of the levels that are known about as well as the best."""
    doubt = [(rate, reading.error + abs(reading.value) * CURVATURE_SHARE) for rate, reading in near]
    best = min(error for _, error in doubt)
    return next(rate for rate, error in doubt if error <= MAX_ERROR_RATIO * best)


def _doubts(
    tried: Sequence[TriedLevel], crossing: Crossing | None, *, lost: bool
) -> tuple[str, ...]:
    """What speaks against a service that was the same all the time.

    ``lost``: there are readings around the limit, but no line goes through them.
    """
    doubts = []
    for level in tried:
        for first in _first_time(tried) if level.again else ():
            if first.rate == level.rate and _differ(first, level):
                better = first.judged is Judged.OVER and level.judged is not Judged.OVER
                clear = first.reading is None or not is_near(first.reading)
                doubts.append(SETTLED_LATER if better and clear else CHANGED)
    if lost or (crossing is not None and crossing.chance < MIN_FIT_CHANCE):
        doubts.append(DISAGREEMENT)
    if any(level.unsteady for level in tried if level.judged in SERVICE_JUDGEMENTS):
        doubts.append(UNSTEADY)
    if chance_of(*_scatter(tried)) < MIN_SCATTER_CHANCE:
        doubts.append(WANDERED)
    return tuple(dict.fromkeys(doubts))


def _scatter(tried: Sequence[TriedLevel]) -> tuple[float, int]:
    """What speaks against a steady service, by all levels around the limit together."""
    near = [level.wandered for level in tried if level.reading and is_near(level.reading)]
    return sum(off for off, _ in near), sum(freedom for _, freedom in near)


def _differ(first: TriedLevel, again: TriedLevel) -> bool:
    if {first.judged, again.judged} == {Judged.UNDER, Judged.OVER}:
        return True
    one, other = first.reading, again.reading
    if one is None or other is None:
        return False
    return abs(one.value - other.value) > REPEAT_ERRORS * hypot(one.error, other.error)


def _next_new(plan: SearchPlan, tried: Sequence[TriedLevel]) -> float | None:
    view = _View(plan, tried)
    if len(tried) >= plan.max_levels:
        return None
    if not tried:
        return plan.start
    again = view.inconclusive_once()
    if again is not None:
        return again
    if view.readable:
        return _next_near_crossing(plan, view)
    if view.too_few and not view.close:
        # More guests come at a higher load; at a lower one there would be fewer still.
        up = min(plan.above(view.too_few[-1] * plan.factor), plan.highest)
        return up if view.too_few[-1] < up < view.ceiling else None
    if view.low == 0:
        if view.ceiling <= plan.lowest * (1 + SAME_RATE):
            return None
        down = plan.below(view.first_not_under / plan.factor)
        return max(down, plan.lowest) if down > plan.start / plan.factor**12 else None
    if view.ceiling == inf and not view.close:
        # After a level that was close the knee is near, so step carefully.
        step = 1 + plan.resolution if view.met_close else plan.factor
        return None if view.low >= plan.highest else min(plan.above(view.low * step), plan.highest)
    return _next_in_bracket(plan, view)


def answer(plan: SearchPlan, tried: Sequence[TriedLevel]) -> Answer:
    """What follows from the levels tried so far."""
    view = _View(plan, tried)
    going = next_rate(plan, tried) is not None
    high = view.over if view.over < inf else view.generator
    if going:
        kind = AnswerKind.SEARCHING
    elif view.low == 0:
        kind = AnswerKind.AT_MOST if view.over < inf else AnswerKind.UNCLEAR
    elif view.over == inf and view.generator < inf:
        kind = AnswerKind.GENERATOR
    elif view.over == inf:
        met_all = not view.close and view.low >= plan.highest * (1 - SAME_RATE)
        kind = AnswerKind.AT_LEAST if met_all else AnswerKind.UNCLEAR
    else:  # the number of levels may have ended it before it was narrow enough
        kind = AnswerKind.KNEE if _next_in_bracket(plan, view) is None else AnswerKind.UNCLEAR
    middle = view.close or [view.low, high]
    low, centre = view.low, sqrt(middle[0] * middle[-1]) if view.low > 0 and high < inf else None
    crossing = view.crossing
    if crossing is not None:
        low, centre, high = crossing.low, crossing.centre, crossing.high
        if not going:
            # What is held again makes it surer, and its interval more careful.
            limit = MAX_WIDTH_FACTOR if view.careful else 1.0
            kind = AnswerKind.UNCLEAR if _wide(plan, crossing, limit) else AnswerKind.KNEE
        if plan.whole:  # outwards: the interval stays as sure as it was
            low, high = float(floor(low)), plan.above(high)
    doubts = (
        ()
        if going
        else _doubts(tried, crossing, lost=view.near >= FEWEST_READINGS and not crossing)
    )
    if doubts and kind in (AnswerKind.KNEE, AnswerKind.AT_LEAST, AnswerKind.UNCLEAR) and low > 0:
        kind, centre = AnswerKind.CHANGED, None
        low = min(filter(None, (low, view.low)))
        high = inf if SETTLED_LATER in doubts else max(high, view.over) if view.over < inf else high
    over = view.over
    if CHANGED in doubts and kind is AnswerKind.AT_MOST:  # the lowest that was over was also met
        over = high = min(t.rate for t in tried if t.judged is Judged.OVER)
        kind = AnswerKind.CHANGED
    reasons = [t.reason for t in tried if t.judged is Judged.OVER and t.rate == over]
    reasons += [t.reason for t in tried if t.judged is Judged.CLOSE]
    return Answer(
        kind=kind,
        low=low,
        high=high,
        centre=centre,
        broke_first=next(filter(None, reasons), ""),
        levels=len(tried),
        minutes=sum(t.minutes for t in tried),
        too_few=bool(view.too_few),
        doubts=doubts,
    )


class _View:
    """The levels tried, rate by rate; several runs of one rate are put together."""

    def __init__(self, plan: SearchPlan, tried: Sequence[TriedLevel]) -> None:
        runs: dict[float, list[Judged]] = {}
        met = min((one.rate for one in tried if one.judged is Judged.UNDER), default=inf)
        few: set[float] = set()
        for level in tried:
            if not (isfinite(level.rate) and level.rate > 0):
                raise ConfigError(f"capacity: a level with rate {level.rate!r}")
            if level.judged is not Judged.TOO_FEW:
                runs.setdefault(level.rate, []).append(level.judged)
            elif level.rate > met:  # a lower one was told apart: so this one is hard to tell
                runs.setdefault(level.rate, []).append(Judged.CLOSE)
            else:
                few.add(level.rate)
        self.too_few = sorted(few) if met == inf else []
        self.careful = any(level.again for level in tried)
        self._runs = runs
        self._scatter = _scatter(tried)
        judgements = {rate: _together(repeated) for rate, repeated in runs.items()}
        under = [rate for rate, judged in judgements.items() if judged is Judged.UNDER]
        over = [rate for rate, judged in judgements.items() if judged is Judged.OVER]
        ours = [rate for rate, judged in judgements.items() if judged is Judged.INCONCLUSIVE]
        # Where a lower level was over and a higher one under, chance spoke; both ends give way.
        self.low = max((r for r in under if r < min(over, default=inf)), default=0.0)
        self.over = min((r for r in over if r > max(under, default=0.0)), default=inf)
        self.generator = min((r for r in ours if r > self.low), default=inf)
        between = [rate for rate in judgements if self.low < rate < self.over]
        self.close = sorted(set(between).difference(ours))
        last = min(self.over, self.close[-1] if self.close else inf)
        self.readings = [
            (level.rate, level.reading)
            for level in tried
            if level.reading is not None
            and level.judged is not Judged.INCONCLUSIVE
            and self.low / (1 + NEARBY) <= level.rate
            and level.rate <= min(self.over, last * (1 + NEARBY)) * (1 + NEARBY / 2)
        ]
        """of the levels between those that are clear, and a little beyond"""
        self.met_close = Judged.CLOSE in judgements.values()
        self.first_not_under = min(
            (r for r, judged in judgements.items() if judged is not Judged.UNDER),
            default=plan.start,
        )

    @property
    def crossing(self) -> Crossing | None:
        """Where the readings cross the limit, unless the generator gives up before that."""
        off, freedom = self._scatter
        wandered = max(1.0, off / freedom) if freedom else 1.0
        crossing = find_crossing(self.readings, careful=self.careful, wandered=wandered)
        return crossing if crossing is not None and crossing.centre < self.generator else None

    @property
    def near(self) -> int:
        """How many readings tell about the limit."""
        return sum(is_near(reading) for _, reading in self.readings)

    @property
    def readable(self) -> bool:
        """Whether there is a reading near the limit, and a level that was not fine."""
        return bool(self.close or self.over < inf) and self.near > 0

    @property
    def ceiling(self) -> float:
        """The lowest load that is known not to be fine."""
        return min(self.over, self.generator, *(self.close[:1] or [inf]))

    def inconclusive_once(self) -> float | None:
        """A level at which the generator was the limit once is tried a second time."""
        once = (rate for rate, runs in self._runs.items() if runs == [Judged.INCONCLUSIVE])
        return next((rate for rate in once if self.low < rate < self.over), None)


def _together(judgements: Sequence[Judged]) -> Judged:
    """Several runs of one rate: inconclusive ones count only when alone, contradiction is close."""
    clear = {judged for judged in judgements if judged is not Judged.INCONCLUSIVE}
    if not clear:
        return Judged.INCONCLUSIVE
    return clear.pop() if len(clear) == 1 else Judged.CLOSE


def _next_near_crossing(plan: SearchPlan, view: _View) -> float | None:
    """The next level to read around the likeliest crossing, None when it is certain enough."""
    crossing = view.crossing
    if crossing is not None and not _wide(plan, crossing):
        return None
    top = min(view.over, view.generator)
    if not view.close and view.low > 0:
        if not plan.distinct(view.low, top, plan.resolution):
            return None
        if top / view.low > (1 + plan.resolution) ** 3:
            return plan.between(view.low, top)
    if crossing is not None:
        guess, steps = crossing.centre, PROBE_OFFSETS
    elif view.close:
        guess, steps = sqrt(view.close[0] * view.close[-1]), WIDE_PROBE_OFFSETS
    else:
        guess, steps = sqrt(max(view.low, top / 4) * top), WIDE_PROBE_OFFSETS
    below = sum(guess / (1 + NEARBY) < rate < guess for rate, _ in view.readings)
    above = sum(guess <= rate < guess * (1 + NEARBY) for rate, _ in view.readings)
    # A line is best known where its points lie apart, its zero where they lie around it.
    step = 1 + plan.resolution * steps[min(below, above) % len(steps)]
    wanted = plan.below(guess / step) if below <= above else plan.above(guess * step)
    part = 1 + plan.resolution / 2
    highest = min(plan.highest, plan.below(view.generator / part), plan.above(view.over * part))
    return max(min(wanted, highest), plan.lowest, plan.above(view.low / (1 + plan.resolution)))


def _wide(plan: SearchPlan, crossing: Crossing, times: float = 1.0) -> bool:
    """Whether the crossing is not yet known to the wanted resolution."""
    if crossing.width <= plan.resolution * times:
        return False
    return not plan.whole or ceil(crossing.high) - floor(crossing.low) > 1


def _next_in_bracket(plan: SearchPlan, view: _View) -> float | None:
    """The next level inside the bracket, None when it is narrow enough."""
    top = min(view.over, view.generator)
    if view.close:
        # The knee is here: its ends lie next to what was close, no need to halve the way there.
        half = plan.resolution / 2
        first, last = view.close[0], view.close[-1]
        if plan.distinct(view.low, first, half):
            return max(_clamped(plan, first / (1 + half), view.low, first), plan.lowest)
        if plan.distinct(last, top, half) and last < plan.highest:
            return min(_clamped(plan, last * (1 + half), last, top), plan.highest)
        return None
    if not plan.distinct(view.low, top, plan.resolution):
        return None
    return plan.between(view.low, top)


def _clamped(plan: SearchPlan, load: float, low: float, high: float) -> float:
    """A load near ``load`` that lies between two that are apart, and is neither."""
    return min(max(float(round(load)), low + 1), high - 1) if plan.whole else load


MOST_GUESTS = 1_000_000
MOST_PER_S = 10_000


class Quantity(StrEnum):
    """The quantity of a search. An open workload has a rate, a closed one an occupancy."""

    RATE = "rate"
    OCCUPANCY = "occupancy"

    @property
    def unit(self) -> str:
        """Short, behind a figure."""
        return "guests/min" if self is Quantity.RATE else "guests at once"

    @property
    def words(self) -> str:
        """In a sentence, behind a figure."""
        return "guests a minute" if self is Quantity.RATE else "guests at once"

    @property
    def key(self) -> str:
        """Under which a level on disk has its load."""
        return "rate_per_s" if self is Quantity.RATE else "guests"

    def shown(self, load: float) -> float:
        """A load in the unit that people read."""
        return load * 60 if self is Quantity.RATE else load

    def load_of(self, level: Mapping[str, Any]) -> float:
        """The load that a level on disk was to carry."""
        return float(level[self.key])

    def parse(self, text: str, option: str) -> float:
        """A load from what was written. ConfigError names the option and says what it takes."""
        bare, got = text.strip().isdecimal(), repr(text)
        if self is Quantity.OCCUPANCY:
            if not bare:
                wanted = "with --by occupancy expected a whole number of guests at once such as 200"
                raise ConfigError(f"{option}: {wanted}, got {got}")
            guests = float(text)
            allowed = f"1 to {MOST_GUESTS:,} guests at once"
            expect(1 <= guests <= MOST_GUESTS, option, allowed, got)
            return guests
        hint = f"{got} (guests at once go with --by occupancy)"
        expect(not bare, option, "a rate such as 10/s or 600/min", hint)
        load = rate_per_s(text, option)
        allowed = f"a rate above zero and up to {MOST_PER_S:,}/s"
        expect(0 < load <= MOST_PER_S, option, allowed, got)
        return load
