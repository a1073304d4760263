"""Objectives as people write them, and as values.

::

    reply p95 < 5s                    a percentile of the service time
    reply corrected p99.9 <= 20s      of the corrected latency (from when the guest was due)
    reply max < 1m                    the slowest
    delivered errors < 1%             share of everything that did not end well
    delivered timeout == 0            one outcome, as a number or a share
    reply count > 100                 how often it happened
    generator_lag p99 < 50ms          how late the harness's own event loop was, by time
    leftovers == 0                    a counter of the run
    leftovers < 0.1%                  a counter as a share of the sessions opened
    guests failed < 1%                guests who were not served, as a number or a share
    stories broken_off < 1%           stories that broke off
    questions unanswered == 0         questions by how they ended

A bare percentile, without ``service`` or ``corrected``, means **service time**: what the service
took, free of the generator's own lateness.

In a TOML file (``--slo FILE``) they stand in a list, or in tables where one may stop the run::

    objectives = ["reply p95 < 5s", "leftovers == 0"]

    [[objective]]
    expect = "delivered errors < 1%"
    abort_on_fail = true
    grace = "2m"       # not judged for stopping while the run warms up
    delay = "30s"      # stop only when missed for so long in a row
    window = "1m"      # by what happened in so much of the past

Errors name the file, the line and the key.

How sure a share or a percentile is that was seen in so many samples: exact, and light to load.

Bounds are one-sided at :data:`CONFIDENCE`: with 0 errors of 100 the true share is below 3.0 %, or a
case of one in twenty has come up. Those of a share are exact (C. J. Clopper, E. S. Pearson, 1934).
A percentile lies below a limit exactly if the share of slower samples is small enough, so its
bounds are those of a share too: two order statistics (H. A. David, H. N. Nagaraja, Order
Statistics, 2003, section 7.1). All of this takes samples for independent; where good and bad spells
follow each other the true bounds are wider.
"""

import operator
import re
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from math import ceil, exp, isfinite, lgamma, log, log1p
from types import MappingProxyType
from typing import Any

from harness.errors import ConfigError
from harness.measure.model import COUNTERS, GROUPS, OPERATIONS, Outcome, outcomes_of
from harness.units import duration_text, seconds

GENERATOR_LAG = "generator_lag"
WINDOW_S = 60.0
"""So much of the past decides whether a run is stopped early, unless the objective says else."""
LAG_FIGURES = ("p50", "p99", "max")
# Words for the same counter: people say the plural, the record the singular.
SAME_COUNTER = {"leftovers": "leftover"}

_LINE = re.compile(r"(?P<left>[^<>=!]+)(?P<op><=|>=|==|<|>)(?P<limit>[^<>=!]+)")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:[._]\d{1,3})?)")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)")
_EXAMPLES = "'reply p95 < 5s', 'delivered errors < 1%' or 'leftovers == 0'"


class Op(StrEnum):
    """How figure and limit compare."""

    LESS = "<"
    AT_MOST = "<="
    EQUAL = "=="
    AT_LEAST = ">="
    MORE = ">"

    def holds(self, figure: float, limit: float) -> bool:
        """Does ``figure OP limit`` hold?"""
        return _HOLDS[self](figure, limit)


_HOLDS: Mapping[Op, Callable[[float, float], bool]] = {
    Op.LESS: operator.lt,
    Op.AT_MOST: operator.le,
    Op.EQUAL: operator.eq,
    Op.AT_LEAST: operator.ge,
    Op.MORE: operator.gt,
}


class Kind(StrEnum):
    """Which of the two times of an operation."""

    SERVICE = "service"
    CORRECTED = "corrected"


class Unit(StrEnum):
    """What the limit is counted in."""

    MS = "ms"
    SHARE = "share"
    COUNT = "count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The names an objective may use. Counters are those of the run record's sections."""

    operations: Collection[str]
    counters: Collection[str]
    outcomes: Collection[str]
    groups: Mapping[str, Collection[str]] = field(default_factory=lambda: MappingProxyType({}))
    """what is counted by what became of it: its name and these words"""
    outcomes_of: Mapping[str, Collection[str]] = field(default_factory=lambda: MappingProxyType({}))
    """the outcomes of an operation, where it can't end in all of them"""

    def figures_of(self, operation: str) -> tuple[str, ...]:
        """What can be asked of an operation beside its percentiles."""
        ends = self.outcomes_of.get(operation, self.outcomes)
        always_well = len(self.outcomes_of.get(operation, ("", ""))) == 1
        return ("max", *([] if always_well else ["errors"]), "count", *ends)


KNOWN = Known(
    operations=tuple(OPERATIONS),
    counters=tuple(one.name for one in COUNTERS.values() if one.judged and not one.grouped),
    outcomes=tuple(Outcome),
    outcomes_of={name: outcomes_of(name) for name in OPERATIONS},
    groups=GROUPS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One objective.

    ``subject`` is an operation, ``generator_lag``, a counter (then ``figure`` is ``value``), or a
    group such as ``guests`` (then ``figure`` is what became of them).
    ``figure`` is ``p`` (with ``percent`` set, 0 to 100), ``max``, ``errors``, ``count``, ``value``
    or an outcome. ``limit`` is in milliseconds, a share (1 % is 0.01) or a count, as ``unit`` says.
    With ``abort_on_fail`` the run is stopped when the objective has been missed for ``delay_s`` in
    a row, by what the last ``window_s`` say of it (a plain count: by all since ``grace_s``); the
    first ``grace_s`` of the run (the warm-up) don't count for that.
    """

    text: str
    subject: str
    figure: str
    op: Op
    limit: float
    unit: Unit
    kind: Kind | None = None
    percent: float | None = None
    abort_on_fail: bool = False
    delay_s: float = 0.0
    grace_s: float = 0.0
    window_s: float = WINDOW_S
    by_default: bool = False
    """nobody has asked for it: a run too small for it passes all the same"""

    @property
    def limit_text(self) -> str:
        """The limit as people write it."""
        return amount_text(self.limit, self.unit)


def amount_text(value: float, unit: Unit) -> str:
    """``2500`` ms → ``2.5s``; a share as per cent; a count as it is."""
    if unit is Unit.MS:
        sign = "-" if value < 0 else ""
        return sign + duration_text(abs(value) / 1000)
    if unit is Unit.SHARE:
        return f"{value * 100:.4g}%"
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def parse_objective(
    text: str,
    known: Known,
    *,
    abort_on_fail: bool = False,
    delay: str | float = 0,
    grace: str | float = 0,
    window: str | float | None = None,
    place: str = "objective",
) -> Objective:
    """An objective from its written form; ConfigError names ``place``, what is wrong, and names."""
    match = _LINE.fullmatch(text.strip()) if isinstance(text, str) else None
    where = f"{place}: {text!r}"
    if match is None:
        raise ConfigError(f"{where}: expected a form such as {_EXAMPLES}")
    subject, kind, figure = _left(match["left"].split(), known, where)
    percent = _percent(figure, where)
    unit, limit = _limit(match["limit"].strip(), figure, where)
    op = Op(match["op"])
    _check_sense(op, limit, unit, where)
    timed = unit is Unit.MS and subject != GENERATOR_LAG
    if kind is not None and not timed:
        raise ConfigError(f"{where}: '{kind}' goes with a percentile or max only")
    delay_s = seconds(delay, f"{where}: delay")
    grace_s = seconds(grace, f"{where}: grace")
    window_s = WINDOW_S if window is None else seconds(window, f"{where}: window")
    if (delay_s or grace_s or window is not None) and not abort_on_fail:
        raise ConfigError(f"{where}: delay, grace and window need abort_on_fail")
    if window_s < 1:
        raise ConfigError(f"{where}: window: expected one second or more")
    return Objective(
        text=" ".join(text.split()),
        subject=subject,
        figure="p" if percent is not None else figure,
        percent=percent,
        kind=(kind or Kind.SERVICE) if timed else None,
        op=op,
        limit=limit,
        unit=unit,
        abort_on_fail=abort_on_fail,
        delay_s=delay_s,
        grace_s=grace_s,
        window_s=window_s,
    )


def _left(words: list[str], known: Known, where: str) -> tuple[str, Kind | None, str]:
    """Subject, kind and figure of what stands left of the comparison."""
    if not words or len(words) > 3:
        raise ConfigError(f"{where}: expected a form such as {_EXAMPLES}")
    subject, *rest = words
    if subject in known.groups:
        words_of = ", ".join(known.groups[subject])
        if len(rest) != 1 or rest[0] not in known.groups[subject]:
            raise ConfigError(f"{where}: {subject} needs a figure: one of {words_of}")
        return subject, None, rest[0]
    if subject not in known.operations and subject != GENERATOR_LAG:
        counter = SAME_COUNTER.get(subject, subject)
        if counter not in known.counters:
            raise ConfigError(f"{where}: {_unknown(subject, known)}")
        if rest:
            raise ConfigError(f"{where}: {subject} is a plain number, it has no {' '.join(rest)}")
        return counter, None, "value"
    there = LAG_FIGURES if subject == GENERATOR_LAG else known.figures_of(subject)
    any_percentile = subject != GENERATOR_LAG
    figures = f"{'p50, p95, p99.9 (any percentile), ' * any_percentile}{', '.join(there)}"
    if not rest:
        raise ConfigError(f"{where}: {subject} needs a figure: {figures}")
    if len(rest) == 2 and rest[0] not in list(Kind):
        raise ConfigError(f"{where}: {rest[0]!r}: expected 'service' or 'corrected'")
    kind = Kind(rest[0]) if len(rest) == 2 else None
    figure = rest[-1]
    if figure not in there and not (any_percentile and _PERCENTILE.fullmatch(figure)):
        raise ConfigError(f"{where}: {subject} has no {figure!r}; there are {figures}")
    return subject, kind, figure


def _unknown(name: str, known: Known) -> str:
    names = [*known.operations, GENERATOR_LAG, *known.groups, *known.counters]
    close = get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return (
        f"nothing is called {name!r}{hint}; operations: {', '.join(known.operations)}, "
        f"{GENERATOR_LAG}; {', '.join(known.groups)}; counters: {', '.join(known.counters)}"
    )


def _percent(figure: str, where: str) -> float | None:
    match = _PERCENTILE.fullmatch(figure)
    if match is None:
        return None
    percent = float(match[1].replace("_", "."))
    if percent <= 0:
        raise ConfigError(f"{where}: {figure}: expected a percentile above 0 and below 100")
    return percent


def _limit(text: str, figure: str, where: str) -> tuple[Unit, float]:
    if figure == "max" or _PERCENTILE.fullmatch(figure):
        if _NUMBER.fullmatch(text):
            raise ConfigError(f"{where}: {text}: expected a time with its unit, such as 5s or 50ms")
        limit_ms = seconds(text, f"{where}: limit") * 1000
        if not isfinite(limit_ms) or limit_ms <= 0:
            raise ConfigError(f"{where}: limit: expected a time above zero")
        return Unit.MS, limit_ms
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ConfigError(f"{where}: {text!r}: expected a number such as 0, or a share such as 1%")
    value, is_share = float(match[1]), match[2] == "%"
    if is_share and figure == "count":
        raise ConfigError(f"{where}: a count is a plain number, not a share")
    if is_share and value > 100:
        raise ConfigError(f"{where}: {text}: expected a share of 100% or less")
    if not is_share and value != int(value):
        hint = f"did you mean {text}%?"
        raise ConfigError(f"{where}: {text}: expected a whole number or a share; {hint}")
    return (Unit.SHARE, value / 100) if is_share else (Unit.COUNT, value)


def _check_sense(op: Op, limit: float, unit: Unit, where: str) -> None:
    if op is Op.EQUAL and unit is Unit.MS:
        raise ConfigError(f"{where}: a time is never exactly equal; use < or >")
    if op is Op.LESS and limit == 0:
        raise ConfigError(f"{where}: nothing can be below 0; use == 0")
    if op is Op.AT_LEAST and limit == 0:
        raise ConfigError(f"{where}: everything is at least 0, this would always hold")


TOP_KEYS = ("objectives", "objective")
TABLE_KEYS = ("expect", "abort_on_fail", "grace", "delay", "window")

_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_TABLE = re.compile(r"\s*\[\[\s*objective\s*\]\]")


def parse_objectives(text: str, known: Known, *, name: str) -> tuple[Objective, ...]:
    """All objectives of a TOML text; ``name`` is what errors call it. At least one is needed."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = _AT_LINE.search(message)
        line = at[1] if at and at[1] else len(text.splitlines())
        place = f"{name}, line {line}"
        raise ConfigError(f"{place}: not TOML: {_AT_LINE.sub('', message)}") from None
    for key in data:
        if key not in TOP_KEYS:
            line = _line_of_key(text, key)
            there = ", ".join(TOP_KEYS)
            raise ConfigError(f"{name}, line {line}: unknown key '{key}'; there are: {there}")
    objectives = [*_short(data, text, known, name), *_tables(data, text, known, name)]
    if not objectives:
        raise ConfigError(f'{name}: no objective in it; write objectives = ["reply p95 < 5s"]')
    seen: set[tuple[object, ...]] = set()
    for objective in objectives:
        same = (objective.subject, objective.figure, objective.percent, objective.kind)
        key_ = (*same, objective.op, objective.limit, objective.unit)
        if key_ in seen:
            raise ConfigError(f"{name}: {objective.text!r} is there twice")
        seen.add(key_)
    return tuple(objectives)


def _short(data: Mapping[str, Any], text: str, known: Known, name: str) -> list[Objective]:
    items = data.get("objectives", [])
    line = _line_of_key(text, "objectives")
    if not isinstance(items, list):
        raise ConfigError(f"{name}, line {line}: objectives: expected a list of texts")
    objectives = []
    for number, item in enumerate(items, start=1):
        if isinstance(item, str):
            later = enumerate(text.splitlines()[line - 1 :], start=line)
            line = next((at for at, written in later if item in written), line)
        place = f"{name}, line {line}, objectives, item {number}"
        if not isinstance(item, str):
            raise ConfigError(f"{place}: expected a text, got {item!r}")
        objectives.append(parse_objective(item, known, place=place))
    return objectives


def _tables(data: Mapping[str, Any], text: str, known: Known, name: str) -> list[Objective]:
    tables = data.get("objective", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        place = f"{name}, line {_line_of_key(text, 'objective')}"
        raise ConfigError(f"{place}: objective: expected tables written as [[objective]]")
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if _TABLE.match(line)]
    if len(starts) != len(tables):  # written inline; no better place is known
        starts = [_line_of_key(text, "objective") - 1] * len(tables)
    objectives = []
    for start, table in zip(starts, tables, strict=True):
        for key in table:
            if key not in TABLE_KEYS:
                place = f"{name}, line {_line_of_key(text, key, after=start)}"
                known_keys = ", ".join(TABLE_KEYS)
                raise ConfigError(f"{place}: unknown key '{key}'; there are: {known_keys}")
        place = f"{name}, line {_line_of_key(text, 'expect', after=start)}, expect"
        if not isinstance(table.get("expect"), str):
            raise ConfigError(f'{name}, line {start + 1}: [[objective]] needs expect = "…"')
        abort = table.get("abort_on_fail", False)
        if not isinstance(abort, bool):
            line = _line_of_key(text, "abort_on_fail", after=start)
            raise ConfigError(f"{name}, line {line}, abort_on_fail: expected true or false")
        objectives.append(
            parse_objective(
                table["expect"],
                known,
                abort_on_fail=abort,
                delay=table.get("delay", 0),
                grace=table.get("grace", 0),
                window=table.get("window"),
                place=place,
            )
        )
    return objectives


def _line_of_key(text: str, key: str, *, after: int = 0) -> int:
    """The line (from 1) on which a key is set; that of ``after`` (from 0) when not found."""
    pattern = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[\].=]")
    for number, line in enumerate(text.splitlines()[after:], start=after + 1):
        if pattern.match(line):
            return number
    return after + 1


CONFIDENCE = 0.95
FEWEST_OF_A_SHARE = 10
"""Samples under which a share says nothing."""
MOST_SAMPLES = 10**9
"""Who needs more than this many can't be told how many."""


def samples_needed(percent: float) -> int:
    """Samples below which a percentile would only be the slowest of them (p95: 20)."""
    return ceil(round(100 / (100 - percent), 6))


def share_bounds(hits: int, whole: int) -> tuple[float, float]:
    """Below and above which the true share of ``hits`` among ``whole`` is not, each at the
    confidence."""
    low = 0.0 if hits <= 0 else _root(lambda p: at_most(hits - 1, whole, p) - CONFIDENCE)
    high = 1.0 if hits >= whole else _root(lambda p: at_most(hits, whole, p) - (1 - CONFIDENCE))
    return low, high


def rank_bounds(percent: float, whole: int) -> tuple[int | None, int | None]:
    """Ranks (1 is the lowest) of the samples between which the true percentile lies.

    None where there are too few samples to bound it on that side.
    """
    share = percent / 100
    low = _first(lambda rank: 1 - at_most(rank - 1, whole, share) < CONFIDENCE, 1, whole + 1) - 1
    high = _first(lambda rank: at_most(rank - 1, whole, share) >= CONFIDENCE, 1, whole + 1)
    return low or None, high if high <= whole else None


def more_to_be_below(hits: int, whole: int, limit: float) -> int | None:
    """How many more samples would show a share to be below ``limit``, if it stays what it is.

    None where it is not below it, or too near to tell.
    """
    return _more(hits, whole, lambda h, n: share_bounds(h, n)[1] < limit, hits < limit * whole)


def more_to_be_above(hits: int, whole: int, limit: float) -> int | None:
    """The same for a share above ``limit``."""
    return _more(hits, whole, lambda h, n: share_bounds(h, n)[0] > limit, hits > limit * whole)


def at_most(hits: int, whole: int, share: float) -> float:
    """The probability of at most so many hits in ``whole`` independent samples."""
    if hits < 0:
        return 0.0
    if hits >= whole or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    return _beta(whole - hits, hits + 1, 1 - share)


def _more(hits: int, whole: int, sure: Callable[[int, int], bool], possible: bool) -> int | None:
    if not possible or not whole:
        return None

    def enough(many: int) -> bool:
        return sure(round(hits / whole * many), many)

    most = whole
    while not enough(most):
        most *= 2
        if most > MOST_SAMPLES:
            return None
    return max(0, _first(enough, whole, most) - whole)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The first number from ``low`` on for which it holds (and does from there on), or ``high``."""
    return low + bisect_left(range(low, high), True, key=holds)


def _root(falling: Callable[[float], float]) -> float:
    """Where a falling function of a share crosses zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (W. H. Press et al.,
    Numerical Recipes, 2007, section 6.4, evaluated as by W. J. Lentz, 1976)."""
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x > (a + 1) / (a + b + 2):
        return 1 - front * _fraction(b, a, 1 - x) / b
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d or tiny)
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / ((1 + even * d) or tiny), (1 + even / c) or tiny
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / ((1 + odd * d) or tiny), (1 + odd / c) or tiny
        step = d * c
        value *= step
        if abs(step - 1) < 1e-14:
            break
    return value
