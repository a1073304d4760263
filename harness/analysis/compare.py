"""Two runs compared: the change of each percentile with an interval, and a word for it.

The samples of a run are not independent: the service has good and bad minutes. So each run is cut
into blocks of time, and the uncertainty of a percentile is taken from resampling whole blocks
(block bootstrap; H. R. Künsch, 1989). Where many figures are looked at, some differ by chance; the
intervals are widened (Bonferroni) so that the stated error rate holds for **all figures together**:
of a hundred pairs of equal runs, at most five give any false word at 95 %.

What no mathematics on two runs can see is how much the service changes from day to day; a known
day-to-day spread can be given as ``between_runs``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from harness.errors import ConfigError

Buckets = Iterable[tuple[float, int]]
PERCENTILES = (50.0, 90.0, 95.0, 99.0)
BLOCKS = 30
FEWEST_BLOCKS = 8
REPLICATES = 400
# So many values have to lie above a percentile for its bootstrap to mean anything.
TAIL_VALUES = 10
# A histogram's own resolution; no percentile is known better.
RESOLUTION = 0.0005


class Word(StrEnum):
    """What can be said about a change."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference seen"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One percentile in both runs. ``change``, ``low``, ``high`` are shares: 0.05 is 5 % slower.

    ``low`` and ``high`` are None where no interval can be given; ``note`` says why.
    """

    name: str
    percent: float
    base: float | None
    new: float | None
    change: float | None
    low: float | None
    high: float | None
    word: Word
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How sure to be and what matters.

    ``confidence`` holds for all figures together. A change below ``negligible`` never gets a word.
    "No difference seen" needs an interval within plus or minus ``matters``; a wider one, in which a
    change that matters could hide, is "cannot tell". ``between_runs`` is the standard deviation of
    a percentile from run to run, as a share, where it is known.
    """

    confidence: float = 0.95
    negligible: float = 0.01
    matters: float = 0.05
    between_runs: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"confidence: expected 0.5 up to below 1, got {self.confidence!r}")
        if not 0 <= self.negligible < self.matters < 1:
            raise ConfigError("expected 0 <= negligible < matters < 1")
        if not 0 <= self.between_runs < 1:
            raise ConfigError(f"between_runs: expected 0 up to below 1, got {self.between_runs!r}")


def compare_runs(
    base: Mapping[str, Sequence[Buckets]],
    new: Mapping[str, Sequence[Buckets]],
    *,
    percentiles: Sequence[float] = PERCENTILES,
    rules: Rules | None = None,
    seed: int = 0,
) -> list[Change]:
    """All percentiles of all names. A value is one histogram per interval of time, in order.

    Names in only one of the runs come out as "cannot tell".
    """
    rules = rules or Rules()
    rng = np.random.default_rng(seed)
    found: list[tuple[str, float, _Pair | str]] = []
    for name in dict.fromkeys([*base, *new]):
        grid = _Grid(base.get(name, ()), new.get(name, ()))
        found.extend((name, percent, grid.pair(percent, rng)) for percent in percentiles)
    many = sum(isinstance(pair, _Pair) for *_, pair in found)
    return [_change(name, percent, pair, rules, many) for name, percent, pair in found]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A percentile in both runs with the error of its logarithm and the degrees of freedom."""

    base: float
    new: float
    error: float
    freedom: float


class _Grid:
    """Both runs' blocks as counts over common values."""

    def __init__(self, base: Sequence[Buckets], new: Sequence[Buckets]) -> None:
        sides = [[dict(_valid(buckets)) for buckets in side] for side in (base, new)]
        values = sorted({value for side in sides for block in side for value in block})
        self._values = np.array(values, dtype=float)
        place = {value: i for i, value in enumerate(values)}
        self._sides = [self._blocks(side, place) for side in sides]

    def _blocks(
        self, intervals: Sequence[Mapping[float, int]], place: Mapping[float, int]
    ) -> NDArray[np.int64]:
        """Counts, one row per block; intervals without values are no blocks of their own."""
        rows = np.zeros((len(intervals), len(place)), dtype=np.int64)
        for row, interval in zip(rows, intervals, strict=True):
            for value, count in interval.items():
                row[place[value]] = count
        rows = np.compress(rows.sum(axis=1) > 0, rows, axis=0)
        if len(rows) <= BLOCKS:
            return rows
        edges = np.linspace(0, len(rows), BLOCKS + 1).astype(int)[:-1]
        merged: NDArray[np.int64] = np.add.reduceat(rows, edges, axis=0)
        return merged

    def pair(self, percent: float, rng: np.random.Generator) -> _Pair | str:
        """The percentile in both runs, or why it can't be compared."""
        needed = int(np.ceil(TAIL_VALUES / min(percent / 100, 1 - percent / 100)))
        figures, errors, freedoms = [], [], []
        for word, rows in zip(("the base", "the new run"), self._sides, strict=True):
            count = int(rows.sum())
            if count < needed:
                return f"{word} has {count} values; p{percent:g} takes {needed}"
            if len(rows) < FEWEST_BLOCKS:
                return f"{word} has {len(rows)} intervals with values; it takes {FEWEST_BLOCKS}"
            figures.append(float(self._percentile(rows.sum(axis=0)[None, :], percent)[0]))
            errors.append(self._error(rows, percent, rng))
            freedoms.append(len(rows) - 1)
        if min(figures) <= 0:
            return "a percentile of zero has no relative change"
        error = sqrt(sum(e * e for e in errors) + RESOLUTION**2)
        # Welch-Satterthwaite
        freedom = error**4 / max(
            sum(e**4 / f for e, f in zip(errors, freedoms, strict=True)), 1e-300
        )
        return _Pair(figures[0], figures[1], error, max(min(freedoms), min(freedom, 1e6)))

    def _percentile(self, counts: NDArray[np.int64], percent: float) -> NDArray[np.float64]:
        ends = np.cumsum(counts, axis=1)
        ranks = np.maximum(1, np.ceil(ends[:, -1] * (percent / 100) - 1e-9))
        found: NDArray[np.float64] = self._values[(ends >= ranks[:, None]).argmax(axis=1)]
        return found

    def _error(self, rows: NDArray[np.int64], percent: float, rng: np.random.Generator) -> float:
        """Standard error of the logarithm of a percentile."""
        many = len(rows)
        weights = rng.multinomial(many, np.full(many, 1 / many), size=REPLICATES)
        drawn = np.log(np.maximum(self._percentile(weights @ rows, percent), 1e-300))
        error = float(drawn.std(ddof=1)) * sqrt(many / (many - 1))
        # Blocks that still resemble their neighbours say less than independent ones would.
        level = np.log(np.maximum(self._percentile(rows, 50.0), 1e-300))
        level = level - level.mean()
        power = float((level * level).sum())
        alike = float((level[1:] * level[:-1]).sum()) / power if power > 0 else 0.0
        alike = min(max(alike, 0.0), 0.8)
        return error * sqrt((1 + alike) / (1 - alike))


def _change(name: str, percent: float, pair: _Pair | str, rules: Rules, many: int) -> Change:
    if isinstance(pair, str):
        return Change(
            name=name,
            percent=percent,
            base=None,
            new=None,
            change=None,
            low=None,
            high=None,
            word=Word.UNKNOWN,
            note=pair,
        )
    ratio = log(pair.new / pair.base)
    error = sqrt(pair.error**2 + 2 * rules.between_runs**2)
    reach = float(t.ppf(1 - (1 - rules.confidence) / 2 / many, pair.freedom)) * error
    low, high = exp(ratio - reach) - 1, exp(ratio + reach) - 1
    change = exp(ratio) - 1
    word, note = _word(change, low, high, rules)
    return Change(
        name=name,
        percent=percent,
        base=pair.base,
        new=pair.new,
        change=change,
        low=low,
        high=high,
        word=word,
        note=note,
    )


def _word(change: float, low: float, high: float, rules: Rules) -> tuple[Word, str]:
    if low > 0 or high < 0:
        if abs(change) < rules.negligible:
            return Word.SAME, f"below {rules.negligible:.2g} of the base, taken as nothing"
        return (Word.SLOWER if change > 0 else Word.FASTER), ""
    if low > -rules.matters and high < rules.matters:
        return Word.SAME, ""
    return Word.UNKNOWN, "the interval is too wide: longer runs would tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareChange:
    """A share (of errors, of leftovers) in both runs; the change and its interval are differences.

    ``word`` is ``more``, ``fewer``, ``no difference seen`` or ``cannot tell``.
    """

    base: float | None
    new: float | None
    low: float | None
    high: float | None
    word: str


def compare_shares(
    base: tuple[int, int],
    new: tuple[int, int],
    *,
    confidence: float = 0.95,
    matters: float = 0.005,
) -> ShareChange:
    """Two shares given as (how many, of how many), e.g. (errors, attempts).

    Interval by R. G. Newcombe's method 10 (1998), which stays right where nothing went wrong at
    all. A difference of ``matters`` that could hide in the interval makes "cannot tell".
    """
    for bad, total in (base, new):
        if not 0 <= bad <= total:
            raise ConfigError(f"share: expected 0 <= part <= whole, got {bad} of {total}")
    if not base[1] or not new[1]:
        return ShareChange(base=None, new=None, low=None, high=None, word=str(Word.UNKNOWN))
    z = float(norm.ppf(0.5 + confidence / 2))
    (p1, low1, high1), (p2, low2, high2) = (_wilson(*side, z) for side in (base, new))
    low = p2 - p1 - sqrt((p2 - low2) ** 2 + (high1 - p1) ** 2)
    high = p2 - p1 + sqrt((high2 - p2) ** 2 + (p1 - low1) ** 2)
    if low > 0:
        word = "more"
    elif high < 0:
        word = "fewer"
    else:
        within = low > -matters and high < matters
        word = str(Word.SAME if within else Word.UNKNOWN)
    return ShareChange(base=p1, new=p2, low=low, high=high, word=word)


def _wilson(part: int, whole: int, z: float) -> tuple[float, float, float]:
    share = part / whole
    middle = share + z * z / (2 * whole)
    reach = z * sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    scale = 1 + z * z / whole
    return share, max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def _valid(buckets: Buckets) -> Iterable[tuple[float, int]]:
    for value, count in buckets:
        if count < 0 or not np.isfinite(value):
            raise ConfigError(f"histogram: a bucket of {count} values at {value}")
        if count:
            yield value, count
