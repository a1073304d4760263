"""Two runs compared: the change of each percentile with an interval, and a word for it.

The samples of a run are not independent: the service has good and bad minutes. So the uncertainty
of a percentile is taken from blocks of time (``harness.analysis.blocks``). Where many figures are
looked at, some differ by chance; the intervals are widened (Bonferroni) so that the stated error
rate holds for **all figures together**: of a hundred pairs of equal runs, at most five give any
false word at 95 %.

What no mathematics on two runs can see is how much the service changes from day to day; a known
day-to-day spread can be given as ``between_runs``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, log, sqrt

import numpy as np
from scipy.stats import norm, t

from harness.analysis.blocks import Blocks, Buckets
from harness.errors import ConfigError

PERCENTILES = (50.0, 90.0, 95.0, 99.0)


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
    a percentile from run to run, as a share, where it is known. ``least`` is what a change amounts
    to at least, in the unit of the values: a smaller one is nothing, whatever share it is.
    """

    confidence: float = 0.95
    negligible: float = 0.01
    matters: float = 0.05
    between_runs: float = 0.0
    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"confidence: expected 0.5 up to below 1, got {self.confidence!r}")
        if not 0 <= self.negligible < self.matters < 1:
            raise ConfigError("expected 0 <= negligible < matters < 1")
        if not 0 <= self.between_runs < 1:
            raise ConfigError(f"between_runs: expected 0 up to below 1, got {self.between_runs!r}")
        if not 0 <= self.least < inf:
            raise ConfigError(f"least: expected 0 or more, got {self.least!r}")


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
        sides = Blocks(base.get(name, ())), Blocks(new.get(name, ()))
        found.extend((name, percent, _pair(*sides, percent, rng)) for percent in percentiles)
    many = sum(isinstance(pair, _Pair) for *_, pair in found)
    return [_change(name, percent, pair, rules, many) for name, percent, pair in found]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A percentile in both runs with the error of its logarithm and the degrees of freedom."""

    base: float
    new: float
    error: float
    freedom: float


def _pair(base: Blocks, new: Blocks, percent: float, rng: np.random.Generator) -> _Pair | str:
    """The percentile in both runs, or why it can't be compared."""
    for word, side in (("the base", base), ("the new run", new)):
        missing = side.missing(percent)
        if missing:
            return f"{word} {missing}"
    first, second = base.percentile(percent), new.percentile(percent)
    if first is None or second is None:  # what nothing is missing for is there
        return "nothing was measured"
    errors = (base.log_error(percent, rng), new.log_error(percent, rng))
    freedoms = (base.freedom, new.freedom)
    error = sqrt(sum(e * e for e in errors))
    # Welch-Satterthwaite
    freedom = error**4 / sum(e**4 / f for e, f in zip(errors, freedoms, strict=True))
    return _Pair(first, second, error, freedom)


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
    word, note = _word(change, low, high, rules, pair.base)
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
