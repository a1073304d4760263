"""Two runs compared: the change of each percentile with an interval, and a word for it.

The samples of a run are not independent: the service has good and bad minutes. So the uncertainty
of a percentile is taken from blocks of time (``harness.measure.statistics``). Where many figures
are looked at, some differ by chance; the intervals are widened (Bonferroni) so that the stated
error rate holds for **all figures together**: of a hundred pairs of equal runs, at most five give
any false word at 95 %.

What no mathematics on two runs can see is how much the service changes from run to run. Several
base runs show it; a known spread can be given as ``between_runs``.

As a gate this is a test of non-inferiority: a figure passes when the run may at most be worse by
less than what matters, not when no difference was seen.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, log, sqrt
from statistics import NormalDist

import numpy as np

from harness.errors import ConfigError, expect
from harness.measure.statistics import Blocks, Buckets, estimate_share, student_quantile

PERCENTILES = (50.0, 90.0, 95.0, 99.0)


class Word(StrEnum):
    """The kinds of change."""

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
    word: Word
    base: float | None = None
    new: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    worst: float | None = None
    """by how much it may be worse at most, as a share; of a figure that the gate looks at"""

    @property
    def figure(self) -> str:
        """``reply p95``."""
        return f"{self.name} p{self.percent:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How sure to be and what matters.

    ``confidence`` holds for all figures together. A change below ``negligible`` never gets a word.
    "No difference seen" needs an interval within plus or minus ``matters``; a wider one, in which a
    change that matters could hide, is "cannot tell". ``between_runs`` is the standard deviation of
    a percentile from run to run, as a share, where it is known. ``least`` is what a change amounts
    to at least, in the unit of the values: a smaller one is nothing, whatever share it is.
    """

    confidence: float = 0.95
    negligible: float = 0.01
    matters: float = 0.05
    between_runs: float = 0.0
    least: float = 0.0

    def __post_init__(self) -> None:
        expect(0.5 <= self.confidence < 1, "confidence", "0.5 up to below 1", self.confidence)
        if not 0 <= self.negligible < self.matters < 1:
            raise ConfigError("expected 0 <= negligible < matters < 1")
        expect(0 <= self.between_runs < 1, "between_runs", "0 up to below 1", self.between_runs)
        expect(0 <= self.least < inf, "least", "0 or more", self.least)


def compare_runs(
    base: Mapping[str, Sequence[Buckets]] | Sequence[Mapping[str, Sequence[Buckets]]],
    new: Mapping[str, Sequence[Buckets]],
    *,
    percentiles: Sequence[float] = PERCENTILES,
    rules: Rules | None = None,
    named: Collection[tuple[str, float]] = (),
) -> list[Change]:
    """All percentiles of all names. A value is one histogram per interval of time, in order.

    ``base`` is one run or several; ``named`` are the (name, percent) that the gate looks at. Names
    that one of the runs doesn't have come out as "cannot tell".
    """
    rules = rules or Rules()
    bases = [base] if isinstance(base, Mapping) else list(base)
    rng = np.random.default_rng(0)  # the same each time
    figures: list[tuple[str, float, _Pair | str]] = []
    for name in dict.fromkeys([name for run in (*bases, new) for name in run]):
        sides = [Blocks(run.get(name, ())) for run in bases], Blocks(new.get(name, ()))
        figures.extend((name, percent, _pair(*sides, percent, rng)) for percent in percentiles)
    pairs = [(name, pair) for name, _, pair in figures if isinstance(pair, _Pair)]
    spread = _Spread.of(pairs, len(bases), rules)
    looked_at = sum((name, percent) in named for name, percent, _ in figures)
    changes = []
    for name, percent, pair in figures:
        many = looked_at if (name, percent) in named else 0
        changes.append(_change(name, percent, pair, rules, spread, len(pairs), many))
    return changes


@dataclass(frozen=True, slots=True)
class _Pair:
    """A percentile in the base and in the new run.

    ``base`` is the geometric mean of the base runs, ``error`` that of the logarithm of the ratio
    within the runs, ``apart`` the variance of the base runs' logarithms and ``within`` what of it
    comes from each run's own samples.
    """

    base: float
    new: float
    error: float
    freedom: float
    apart: float
    within: float


@dataclass(frozen=True, slots=True)
class _Spread:
    """How much a percentile differs from run to run: a variance of logarithms and its freedom."""

    variance: float
    freedom: float
    runs: int

    def reach(self, pair: _Pair, miss: float, many: int) -> float:
        """How far the logarithm of a ratio reaches to a side that is missed so often at most, when
        ``many`` are looked at together.

        What makes runs differ may move all figures together: then so many base runs say no more of
        it than of one figure, and one mistake is all there is to make. The larger of both counts.
        """
        between = sqrt(self.variance * (1 + 1 / self.runs))
        widths = student_quantile(1 - miss / many, self.freedom)
        if self.freedom < inf:
            widths = max(widths, student_quantile(1 - miss, self.runs - 1))
        within = student_quantile(1 - miss / many, pair.freedom) * pair.error
        return sqrt(within**2 + (widths * between) ** 2)

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, _Pair]], bases: int, rules: Rules) -> "_Spread":
        """As several base runs show it, all percentiles together; or as the rules say.

        Percentiles of one operation rise and fall together, so each operation counts once.
        """
        if bases < 2 or not pairs or rules.between_runs:
            return cls(rules.between_runs**2, inf, bases)
        apart = np.array([pair.apart - pair.within for _, pair in pairs])
        freedom = (bases - 1) * len({name for name, _ in pairs})
        return cls(max(0.0, float(apart.mean())), freedom, bases)


def _pair(
    bases: Sequence[Blocks], new: Blocks, percent: float, rng: np.random.Generator
) -> _Pair | str:
    """The percentile in both, or why it can't be compared."""
    word = "the base" if len(bases) == 1 else "one of the base runs"
    for what, side in (*((word, base) for base in bases), ("the new run", new)):
        missing = side.missing(percent)
        if missing:
            return f"{what} {missing}"
    figures = np.array([side.percentile(percent) for side in (*bases, new)], dtype=float)
    logs = np.log(figures[:-1])
    own = [base.log_error(percent, rng) for base in bases]
    errors = [*(error / len(bases) for error in own), new.log_error(percent, rng)]
    freedoms = [*(base.freedom for base in bases), new.freedom]
    error = sqrt(sum(e * e for e in errors))
    # Welch-Satterthwaite
    freedom = error**4 / sum(e**4 / f for e, f in zip(errors, freedoms, strict=True))
    return _Pair(
        base=float(np.exp(logs.mean())),
        new=float(figures[-1]),
        error=error,
        freedom=freedom,
        apart=float(logs.var(ddof=1)) if len(bases) > 1 else 0.0,
        within=sum(error**2 for error in own) / len(bases),
    )


def _change(
    name: str,
    percent: float,
    pair: _Pair | str,
    rules: Rules,
    spread: _Spread,
    many: int,
    looked_at: int,
) -> Change:
    """``many`` figures get a word together, ``looked_at`` of them are the gate's (0: not this)."""
    if isinstance(pair, str):
        return Change(name=name, percent=percent, word=Word.UNKNOWN, note=pair)
    ratio = log(pair.new / pair.base)
    miss = 1 - rules.confidence
    reach = spread.reach(pair, miss / 2, many)
    low, high = exp(ratio - reach) - 1, exp(ratio + reach) - 1
    change = exp(ratio) - 1
    word, note = _word(change, low, high, rules, pair.base)
    worst = None
    if looked_at:
        worst = exp(ratio + spread.reach(pair, miss, looked_at)) - 1
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
        worst=worst,
    )


def _word(change: float, low: float, high: float, rules: Rules, base: float) -> tuple[Word, str]:
    least = rules.least / base
    matters = max(rules.matters, least)
    if -least < low and high < least:
        return Word.SAME, ""
    if low > 0 or high < 0:
        if abs(change) < least:
            return Word.SAME, "smaller than these figures are exact, taken as nothing"
        if abs(change) < rules.negligible:
            return Word.SAME, f"below {rules.negligible:.2g} of the base, taken as nothing"
        return (Word.SLOWER if change > 0 else Word.FASTER), ""
    if low > -matters and high < matters:
        return Word.SAME, ""
    return Word.UNKNOWN, "the interval is too wide: longer runs would tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareChange:
    """A share (of errors, of leftovers) in both runs; the change and its interval are differences.

    ``word`` is ``more``, ``fewer``, ``no difference seen`` or ``cannot tell``. ``worst`` is by how
    much it may be more at most, looked at alone.
    """

    word: str
    base: float | None = None
    new: float | None = None
    low: float | None = None
    high: float | None = None
    worst: float | None = None


ShareBlocks = Sequence[tuple[int, int]]
"""(bad, all) of stretches of time, in order; one stretch where no more is known."""


def compare_shares(
    base: ShareBlocks,
    new: ShareBlocks,
    *,
    confidence: float = 0.95,
    matters: float = 0.005,
    looked_at: int = 1,
) -> ShareChange:
    """Two shares, e.g. errors among attempts.

    The interval of the difference is made of the intervals of both sides (R. G. Newcombe's method
    10, 1998), which stays right where nothing went wrong at all. Each of these bears bad spells:
    errors that come in bursts say less than as many that come alone. A difference of ``matters``
    that could hide in the interval makes "cannot tell". ``looked_at`` shares and figures are a
    gate's together.
    """
    for side in (base, new):
        for bad, total in side:
            if not 0 <= bad <= total:
                raise ConfigError(f"share: expected 0 <= part <= whole, got {bad} of {total}")
    if not sum(total for _, total in base) or not sum(total for _, total in new):
        return ShareChange(word=str(Word.UNKNOWN))
    p1, p2, low, high = _difference(base, new, confidence)
    *_, worst = _difference(base, new, 1 - 2 * (1 - confidence) / looked_at)
    if low > 0:
        word = "more"
    elif high < 0:
        word = "fewer"
    else:
        within = low > -matters and high < matters
        word = str(Word.SAME if within else Word.UNKNOWN)
    return ShareChange(base=p1, new=p2, low=low, high=high, word=word, worst=worst)


def _difference(
    base: ShareBlocks, new: ShareBlocks, confidence: float
) -> tuple[float, float, float, float]:
    """Both shares, and the interval of their difference."""
    (p1, low1, high1), (p2, low2, high2) = (_limits(side, confidence) for side in (base, new))
    low = p2 - p1 - sqrt((p2 - low2) ** 2 + (high1 - p1) ** 2)
    high = p2 - p1 + sqrt((high2 - p2) ** 2 + (p1 - low1) ** 2)
    return p1, p2, low, high


def _limits(blocks: ShareBlocks, confidence: float) -> tuple[float, float, float]:
    """A share and its limits: E. B. Wilson's (1927), or wider where the blocks differ."""
    bad, whole = (sum(column) for column in zip(*blocks, strict=True))
    share, low, high = _wilson(bad, whole, NormalDist().inv_cdf(0.5 + confidence / 2))
    if reach := estimate_share(blocks, confidence=confidence).spells_reach:
        low, high = min(low, share - reach), max(high, share + reach)
    return share, max(0.0, low), min(1.0, high)


def _wilson(part: int, whole: int, z: float) -> tuple[float, float, float]:
    share = part / whole
    middle = share + z * z / (2 * whole)
    reach = z * sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    scale = 1 + z * z / whole
    return share, max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
