"""Does a figure drift over a run? A robust slope with an interval, and a verdict.

Slope: Theil-Sen, the median of the slopes of all pairs of points (P. K. Sen, 1968), which a few
wild minutes don't move. Interval: residuals resampled in blocks (H. R. Künsch, 1989), because one
minute resembles the next; never narrower than the autocorrelation implies. Diurnal load:
give the load beside the figure, then what the figure owes to the load is taken out before the slope
is, and the uncertainty of that is part of the interval.

A change that comes late and at once is no slope: beside it, one change of level is looked for
(:func:`best_change`). The stated confidence holds for all of it together. Shares of errors are
given with their trials: their line is a mean, not a median (most of rare events are nought), and no
surer than so many trials can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from harness.errors import ConfigError
from harness.measure.statistics import student_quantile
from harness.units import about_text, duration_text

Floats = NDArray[np.float64]

POINTS = 64
FEWEST_POINTS = 20
REPLICATES = 160
WARMUP_AT_MOST = 0.25
# What fills up and then stays, as memory does, may take longer: half the run.
FILLING_AT_MOST = 0.5
# What the median distance from the median is of a standard deviation, of normal noise.
MAD_TO_DEVIATION = 1.4826
CLIP_AT = 1.5
# What drawing in takes from the spread of ordinary (normal) residuals at that limit.
CLIPPING_COST = 1.133
# With autocorrelation the points are worth fewer independent ones; with fewer than this the verdict
# is undecided.
FEWEST_EFFECTIVE_POINTS = 8.0
# The bootstrap comes out a little narrow in the far tails; with this the share of flat runs outside
# a 99 % interval is one in a hundred (found by simulation over autocorrelations from 0 to 0.9).
BOOTSTRAP_SAFETY = 1.2
# The autocorrelation is taken to be this many standard errors above its estimate. With two, reports
# of twelve flat figures stay within their error rate up to an autocorrelation of 0.98 (simulated).
AUTOCORRELATION_ERRORS = 2.0
MAX_AUTOCORRELATION = 0.99
# Each figure is asked three things: its slope, one change of level, its last tenth.
TESTS_PER_FIGURE = 3
# The cut of the warm-up makes what is left look calmer than it is: a change of level has to be so
# much less likely than stated (found by simulation over autocorrelations up to 0.98).
STEP_SAFETY = 4.0
# A change of level is told in place of a slope where it leaves so much less unexplained.
STEP_FITS = 0.9
# Above this the load rose or fell together with time, and the two can't be told apart.
COLLINEAR = 0.95
SIMULATED_NOISE = 10_000
SHORTEST_AFTER = 3
"""Points after a change, at least: of 64, the last twentieth of a run."""
SHORTEST_BEFORE_SHARE = 0.1
LAST_SHARE = 0.1
AUTOCORRELATION_GRID = 0.05
"""The autocorrelation is rounded up to a multiple of this, so that simulations can be reused."""
NOISE_SEED = 20_261_128


class Drift(StrEnum):
    """The verdicts on a figure over a run."""

    FLAT = "flat"
    DRIFTING = "drifting"
    IMPROVING = "improving"
    """it drifts, and for the better"""
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A change of level at one moment: seconds as the times are, and the level on both sides."""

    at_s: float
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """``change`` is the figure's change over the span, as a share of ``level`` when ``relative``.

    ``step`` is there when the figure changed at one moment rather than all the time.
    ``level`` is the figure at the end of the span, freed of the load. ``longer_s`` is how much
    longer an undecided run would have to be, None where that can't be said. ``slope_per_h`` is in
    the figure's own unit.
    """

    verdict: Drift
    relative: bool
    span_s: float
    change: float | None = None
    low: float | None = None
    high: float | None = None
    slope_per_h: float | None = None
    slope_low_per_h: float | None = None
    slope_high_per_h: float | None = None
    level: float | None = None
    cut_s: float = 0.0
    """what was cut off at the start as warm-up"""
    longer_s: float | None = None
    note: str = ""
    step: Step | None = None

    @property
    def falls(self) -> bool:
        """Whether it went down: by its step, if there is one, or else by its slope."""
        if self.step is not None:
            return self.step.after < self.step.before
        return self.change is not None and self.change < 0

    @property
    def open_because(self) -> str:
        """Why it is undecided, or how much more would decide; empty where that is not known."""
        if self.note or self.longer_s is None:
            return self.note
        return f"about {about_text(self.longer_s)} more would decide"

    @property
    def ends(self) -> tuple[float, float] | None:
        """The fitted figure at the end of the warm-up and at the end of the run."""
        if self.level is None or self.slope_per_h is None:
            return None
        return self.level - self.slope_per_h * self.span_s / 3600, self.level

    def of_start(self, change: float) -> float:
        """A share of ``level``, as a share of where the line begins (if that is above zero)."""
        whole = self.change if self.relative and self.change is not None else 0.0
        return change / (1 - whole) if whole < 1 else change

    def limit_reached_in_s(self, limit: float) -> tuple[float, float] | None:
        """Earliest and latest time from the end of the span at which ``limit`` is reached.

        None unless the figure drifts towards it; infinite where the slow end never gets there.
        """
        slopes = (self.slope_low_per_h, self.slope_high_per_h)
        drifts = self.verdict is Drift.DRIFTING and self.step is None
        if not drifts or self.level is None or None in slopes:
            return None
        away = limit - self.level
        times = [away / s * 3600 if s and away / s > 0 else inf for s in slopes if s is not None]
        return None if min(times) == inf else (min(times), max(times))


def trend(
    at_s: Sequence[float],
    values: Sequence[float],
    *,
    load: Sequence[float] | None = None,
    trials: Sequence[float] | None = None,
    matters: float = 0.05,
    material: float | None = None,
    floor: float = 0.0,
    relative: bool = True,
    fills: bool = False,
    warmup_s: float | None = None,
    confidence: float = 0.98,
) -> Trend:
    """The trend of a figure measured at times ``at_s`` (seconds, rising).

    ``trials``: the figure is a share of so many each time.
    ``matters``: a change over the span as large as this counts; a share of the figure's level, or
    in its own unit with ``relative=False``. *Drifting* needs the interval to leave out zero and the
    change to be ``material`` at least (None: a fifth of ``matters``); *flat* needs the interval
    within plus or minus ``matters``; everything else is *undecided*. A change of less than
    ``floor``, in the figure's own unit, never matters. ``warmup_s`` is cut off the
    start; None finds it (MSER, K. P. White 1997, at most a quarter, or half where the figure
    ``fills`` up before it stays).
    """
    if matters <= 0 or not 0.5 <= confidence < 1:
        raise ConfigError("trend: expected matters above 0 and confidence 0.5 up to below 1")
    points = _checked(at_s, values, load, trials)
    times = points[0]
    least = matters / 5 if material is None else material
    if warmup_s is None:
        cut = _warmup(points, FILLING_AT_MOST if fills else WARMUP_AT_MOST)
    else:
        cut = int(np.searchsorted(times, times[0] + warmup_s)) if times.size else 0
    cut_s = float(times[min(cut, times.size - 1)] - times[0]) if times.size else 0.0
    points, times = points[:, cut:], times[cut:]
    each = 1 - (1 - confidence) / TESTS_PER_FIGURE
    span_s = float(times[-1] - times[0]) if times.size else 0.0

    unknown = Trend(verdict=Drift.UNDECIDED, relative=relative, span_s=span_s, cut_s=cut_s)
    if times.size < FEWEST_POINTS:
        note = f"{times.size} points after the warm-up, at least {FEWEST_POINTS} are needed"
        return replace(unknown, note=note)
    series = _Series(points, shares=trials is not None)
    if series.collinear:
        note = "the load rose or fell all the time, its effect can't be told from a drift"
        return replace(unknown, note=note)
    slope, intercept = series.line
    level = intercept + slope * float(series.time[-1])
    step = series.step((1 - each) / STEP_SAFETY, matters=least, floor=floor, relative=relative)
    # Where nothing can be said of a slope, a change of level is one all the same.
    jumped = None if step is None else replace(unknown, verdict=Drift.DRIFTING, step=step)
    scale = abs(level) if relative else 1.0
    if scale <= 0:
        return jumped or replace(unknown, note="a level of zero has no relative change")
    matters, least = max(matters, floor / scale), max(least, floor / scale)
    error, worth, freedom = series.slope_error(np.random.default_rng(0))  # the same each time
    if worth >= FEWEST_EFFECTIVE_POINTS:
        reach = student_quantile(0.5 + each / 2, freedom) * error
        slopes = (slope - reach, slope, slope + reach)
    elif (spread := float(np.ptp(series.freed))) < matters * scale:
        # So few can't tell a slope, but a figure that has hardly moved at all has none to tell.
        most = spread / span_s
        slopes = (-most, min(max(slope, -most), most), most)
    else:
        note = f"neighbouring points are correlated: all of them count as {worth:.1f} independent"
        return jumped or replace(unknown, note=note)
    low, change, high = (float(s) * span_s / scale for s in slopes)
    verdict = Drift.UNDECIDED
    if (low > 0 or high < 0) and abs(change) >= least:
        verdict = Drift.DRIFTING
    elif max(abs(low), abs(high)) < matters:
        verdict = Drift.FLAT
    if step is not None and verdict is Drift.DRIFTING and not series.better_as_step:
        step = None
    if step is not None:
        verdict = Drift.DRIFTING
    return replace(
        unknown,
        verdict=verdict,
        change=change,
        low=low,
        high=high,
        slope_per_h=slopes[1] * 3600,
        slope_low_per_h=slopes[0] * 3600,
        slope_high_per_h=slopes[2] * 3600,
        level=level,
        longer_s=_longer(verdict, abs(change), high - change, matters, least, span_s),
        step=step,
    )


def rate_interval(
    events: int, exposure: float, *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """(low, rate, high) of a count over an exposure: exact Poisson limits (F. Garwood, 1936)."""
    if events < 0 or not 0 < exposure < inf:
        raise ConfigError(f"rate: expected a count over an exposure, got {events} over {exposure}")
    tail = (1 - confidence) / 2
    low = float(gammaincinv(events, tail)) if events else 0.0
    high = float(gammaincinv(events + 1, 1 - tail))
    return low / exposure, events / exposure, high / exposure


def best_change(figures: Floats) -> tuple[int, float, float]:
    """First point after the best change of level, and the levels before and after it.

    The one that leaves the least absolute deviation from both medians (J. Bai, 1995), so a few wild
    minutes don't decide.
    """
    place = int(np.argmin(_deviations(figures[None, :])[0])) + _first(figures.size)
    return place, float(np.median(figures[:place])), float(np.median(figures[place:]))


def chance_of_change(figures: Floats, autocorrelation: float) -> float:
    """The probability that noise with this autocorrelation (0 to below 1) shows so clear a change.

    The statistic is by how much less deviation is left than from one median, largest over all
    moments (a supremum as in D. W. K. Andrews, 1993), or at the last tenth alone; the less likely
    one counts. Its distribution without a change comes from simulated noise with the same
    autocorrelation.
    """
    (best,), (last,) = _statistics(figures[None, :])
    near = min(
        MAX_AUTOCORRELATION,
        float(np.ceil(autocorrelation / AUTOCORRELATION_GRID) * AUTOCORRELATION_GRID),
    )
    searched, fixed = _noise(figures.size, near)
    return min(_chance(searched, best), _chance(fixed, last))


def _first(size: int) -> int:
    return max(SHORTEST_AFTER, round(size * SHORTEST_BEFORE_SHARE))


def _deviations(rows: Floats) -> Floats:
    """For each row and each place of a change, the absolute deviation from both medians."""
    size = rows.shape[1]
    deviations: Floats = np.column_stack(
        [
            _deviation(rows[:, :place]) + _deviation(rows[:, place:])
            for place in range(_first(size), size - SHORTEST_AFTER + 1)
        ]
    )
    return deviations


def _deviation(rows: Floats) -> Floats:
    """Each row's absolute deviation from its median: by how much its upper half is above its lower.

    So no median is found, which would cost four times as much.
    """
    half = rows.shape[1] // 2
    parted = np.partition(rows, half, axis=1)
    total: Floats = (parted[:, rows.shape[1] - half :] - parted[:, :half]).sum(axis=1)
    return total


def _statistics(rows: Floats) -> tuple[Floats, Floats]:
    """By how much less is left with a change: at the best place, and at the last tenth."""
    size = rows.shape[1]
    whole, parts = _deviation(rows), _deviations(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = (whole[:, None] - parts) / parts
    gains = np.where(whole[:, None] > 0, gains, 0.0)  # one level all the time
    last = size - max(SHORTEST_AFTER, round(size * LAST_SHARE))
    return gains.max(axis=1), gains[:, last - _first(size)]


@lru_cache(maxsize=64)
def _noise(size: int, autocorrelation: float) -> tuple[Floats, Floats]:
    """The statistics of noise without a change, sorted: searched for, and of the last tenth."""
    rng = np.random.default_rng(NOISE_SEED)
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    mixing = np.linalg.cholesky(autocorrelation**apart + 1e-12 * np.eye(size))
    searched, fixed = _statistics(rng.normal(size=(SIMULATED_NOISE, size)) @ mixing.T)
    return np.sort(searched), np.sort(fixed)


def _chance(noise: Floats, figure: float) -> float:
    """How often noise comes to the figure; never called impossible."""
    above = noise.size - int(np.searchsorted(noise, figure))
    return (above + 1) / (noise.size + 1)


class _Series:
    """At most POINTS points (medians of neighbours), with the load's effect ready to be removed.

    Of times, figures, loads and trials. With ``shares`` the points are shares of all the trials of
    the neighbours together.
    """

    def __init__(self, points: Floats, *, shares: bool = False) -> None:
        times, figures, loads, trials = points
        parts = np.array_split(np.arange(times.size), min(POINTS, times.size))
        self.time: Floats = np.array([times[part].mean() for part in parts])
        self.size = len(parts)
        self._trials: Floats | None = None
        if shares:
            self._trials = np.array([trials[part].sum() for part in parts])
            figure = [np.average(figures[part], weights=trials[part]) for part in parts]
        else:
            figure = [np.median(figures[part]) for part in parts]
        self._figure: Floats = np.array(figure)
        self.better_as_step = False
        """Whether one change of level fits better than a line; known after :meth:`step`."""
        self._first, self._second = np.triu_indices(self.size, k=1)
        self._gaps = self.time[self._second] - self.time[self._first]
        self._unit_time: Floats = (self.time - self.time.mean()) / self.time.std()
        columns = [np.ones(self.size), self._unit_time]
        self.collinear = False
        load = np.array([loads[part].mean() for part in parts])
        spread = float(load.std())
        if spread > 1e-9 * max(1.0, abs(float(load.mean()))):
            unit = (load - load.mean()) / spread
            # Straight and bent: times rise faster than in proportion when load is high.
            columns += [unit, unit**2 - (unit**2).mean()]
            self.collinear = abs(float(np.corrcoef(unit, self.time)[0, 1])) > COLLINEAR
        self._explained: Floats = np.column_stack(columns)
        """What a figure owes to: its level, the time, and the load where that changes."""
        self._used = len(columns)

    @cached_property
    def line(self) -> tuple[float, float]:
        """Slope per second and intercept of the figure freed of the load."""
        if self._trials is not None:
            slope, intercept = np.polyfit(self.time, self.freed, 1)
            return float(slope), float(intercept)
        slope = float(self._slopes(self.freed[None, :])[0])
        return slope, float(np.median(self.freed - slope * self.time))

    def step(self, chance: float, *, matters: float, floor: float, relative: bool) -> Step | None:
        """A change of level that mere noise shows at most so often, and that is large enough."""
        freed, (slope, intercept) = self.freed, self.line
        place, before, after = best_change(freed)
        rest = np.concatenate([freed[:place] - before, freed[place:] - after])
        # What wanders looks calmest where it was cut; its longer part alone shows it better.
        longer = rest[:place] if 2 * place > self.size else rest[place:]
        autocorrelation = max(self._autocorrelation(self._clipped(part)) for part in (rest, longer))
        scale = max(abs(before), abs(after)) if relative else 1.0
        large = abs(after - before) >= max(matters * scale, floor)
        if not large or chance_of_change(freed, autocorrelation) > chance:
            return None
        beside_line = float(np.abs(freed - intercept - slope * self.time).mean())
        self.better_as_step = float(np.abs(rest).mean()) < STEP_FITS * beside_line
        at_s = float(self.time[place - 1 : place + 1].mean())
        return Step(at_s=at_s, before=before, after=after)

    def slope_error(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Standard error of the slope, the independent points that the series is worth, freedom."""
        slope, intercept = self.line
        line = intercept + slope * self.time
        rest = self._clipped(self.freed - line)
        autocorrelation = self._autocorrelation(rest)
        worth = (self.size - self._used) * (1 - autocorrelation) / (1 + autocorrelation)
        # Long enough blocks for this autocorrelation (D. N. Politis, H. White, 2004, for AR(1)).
        wanted = (
            (2 * autocorrelation / (1 - autocorrelation**2)) ** (2 / 3) * self.size ** (1 / 3) * 1.5
        )
        block = int(min(max(2.0, wanted), self.size / 5))
        starts = rng.integers(0, self.size - block + 1, size=(REPLICATES, -(-self.size // block)))
        picks = (starts[:, :, None] + np.arange(block)).reshape(REPLICATES, -1)
        drawn = line + rest[picks[:, : self.size]] @ self._without_load()
        slopes = self._slopes(drawn)
        # Residuals are smaller than errors by what was fitted; blocks lose their own mean.
        lost = self.size / max(1.0, self.size - self._used - (block - 1))
        blocked = BOOTSTRAP_SAFETY * float(np.std(slopes, ddof=1)) * sqrt(lost)
        modelled, freedom = self._error_if_autocorrelated(rest, autocorrelation)
        return max(blocked, modelled, self._error_of_trials()), worth, freedom

    def _error_of_trials(self) -> float:
        """The least error that a slope of shares has, of so many trials; 0 of other figures."""
        if self._trials is None:
            return 0.0
        bad = float((self._figure * self._trials).sum())
        share = (bad + 0.5) / (float(self._trials.sum()) + 1)
        centred = self.time - self.time.mean()
        weights = centred / float(centred @ centred)
        return sqrt(float((weights**2 * share * (1 - share) / self._trials).sum()))

    def _error_if_autocorrelated(self, rest: Floats, autocorrelation: float) -> tuple[float, float]:
        """The slope's error and its degrees of freedom for AR(1) noise with this autocorrelation.

        The residuals of such noise are much smaller than the noise; both the scale and its degrees
        of freedom follow from their expected square (F. E. Satterthwaite, 1946).
        """
        solved = np.linalg.pinv(self._explained)
        noise = autocorrelation ** np.abs(
            np.subtract.outer(np.arange(self.size), np.arange(self.size))
        )
        left = noise - self._explained @ (solved @ noise)
        expected = float(np.trace(left))
        weights = solved[1]
        variance = float(rest @ rest) / expected * float(weights @ noise @ weights)
        freedom = expected**2 / float((left * left.T).sum())
        return sqrt(variance) / float(self.time.std()), freedom

    def _slopes(self, rows: Floats) -> Floats:
        """The slope of each row of figures."""
        if self._trials is not None:
            least_squares: Floats = np.polyfit(self.time, rows.T, 1)[0]
            return least_squares
        steep = (rows[:, self._second] - rows[:, self._first]) / self._gaps
        medians: Floats = np.median(steep, axis=1, overwrite_input=True)
        return medians

    def _without_load(self) -> Floats:
        """What takes the effect of the load out of rows of noise, by plain least squares."""
        hat = self._explained[:, 2:] @ np.linalg.pinv(self._explained)[2:]
        without: Floats = (np.eye(self.size) - hat).T
        return without

    @cached_property
    def freed(self) -> Floats:
        """The figure without what it owes to the load, found beside a straight line in time."""
        figure, explained = self._figure, self._explained
        loads = explained[:, 2:]
        if not loads.size:
            return figure
        weight = np.ones(self.size)
        for _ in range(5):  # reweighted, so that wild points don't shape the effect of the load
            root = np.sqrt(weight)
            effect = np.linalg.lstsq(explained * root[:, None], figure * root, rcond=None)[0]
            rest = figure - explained @ effect
            usual = MAD_TO_DEVIATION * float(np.median(np.abs(rest - np.median(rest)))) or 1.0
            weight = 1.0 / np.maximum(1.0, np.abs(rest) / (1.345 * usual))
        freed: Floats = figure - loads @ effect[2:]
        return freed

    def _clipped(self, rest: Floats) -> Floats:
        """Residuals clipped at ``CLIP_AT`` usual ones, which hardly moves a median slope.

        Left as they are, a bad minute would be resampled as if each stretch might have several. The
        line of shares is a mean, so theirs stay.
        """
        middle = float(np.median(rest))
        usual = MAD_TO_DEVIATION * float(np.median(np.abs(rest - middle)))
        if self._trials is not None or usual <= 0:
            return rest
        return CLIPPING_COST * np.clip(rest, middle - CLIP_AT * usual, middle + CLIP_AT * usual)

    def _autocorrelation(self, rest: Floats) -> float:
        """An upper estimate: ``AUTOCORRELATION_ERRORS`` standard errors above the measured one.

        Freed of what fitting takes from it (M. G. Kendall, 1954). Too little would make a flat run
        drift, too much only asks for a longer one.
        """
        centred = rest - rest.mean()
        power = float((centred**2).sum())
        autocorrelation = float((centred[1:] * centred[:-1]).sum()) / power if power > 0 else 0.0
        if autocorrelation <= 0:
            return 0.0
        autocorrelation = min(1.0, autocorrelation + (self._used + 4 * autocorrelation) / rest.size)
        return min(
            MAX_AUTOCORRELATION,
            autocorrelation
            + AUTOCORRELATION_ERRORS * sqrt((1 - autocorrelation**2) / rest.size + rest.size**-2),
        )


def _warmup(points: Floats, at_most: float) -> int:
    """How many points to cut off so that the mean of the rest is known best (MSER).

    Freed of the slope that the part has which is never cut: a drift is no warm-up, and would
    otherwise lose its beginning.
    """
    times, figures = points[:2]
    many = figures.size
    longest = int(many * at_most)
    if many - longest < 2:
        return 0
    slope, _ = _Series(np.vstack([points[:2, longest:], np.zeros((2, many - longest))])).line
    level = figures - slope * times
    tests = [float(level[cut:].var()) / (many - cut) for cut in range(longest + 1)]
    return int(np.argmin(tests))


def _longer(
    verdict: Drift, change: float, reach: float, matters: float, least: float, span_s: float
) -> float | None:
    """How much longer: the error of a change over the span shrinks with the root of the span."""
    if verdict is not Drift.UNDECIDED:
        return None
    # To be called flat the interval has to fit; to be called drifting it has to leave out zero.
    wanted = max(change if change >= least else 0.0, matters - change)
    if wanted <= 0:
        return None
    factor = (reach / wanted) ** 2 * 1.1
    return (factor - 1) * span_s if 1 < factor < 1000 else None


def _checked(
    at_s: Sequence[float],
    values: Sequence[float],
    load: Sequence[float] | None,
    trials: Sequence[float] | None,
) -> Floats:
    """Times, figures, loads and trials, where all of them are known."""
    many = len(at_s)
    rows = (
        at_s,
        values,
        [0.0] * many if load is None else load,
        [1.0] * many if trials is None else trials,
    )
    if any(len(row) != many for row in rows):
        raise ConfigError("trend: times, values, load and trials have different lengths")
    points: Floats = np.array(rows, dtype=float)
    points = points[:, np.isfinite(points[:3]).all(axis=0) & (points[3] > 0)]
    times = points[0]
    if (np.diff(times) <= 0).any():
        raise ConfigError(f"trend: times do not rise ({duration_text(float(times[0]))} on)")
    return points
