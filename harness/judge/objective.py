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
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from math import isfinite
from typing import Any

from harness.errors import ConfigError
from harness.foreign import parse_toml
from harness.measure.model import COUNTERS, GROUPS, OPERATIONS, outcomes_of
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


JUDGED_COUNTERS = tuple(one.name for one in COUNTERS.values() if one.judged and not one.grouped)
"""Those that an objective may name by themselves."""


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
    subject, kind, figure = _left(match["left"].split(), where)
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


def _left(words: list[str], where: str) -> tuple[str, Kind | None, str]:
    """Subject, kind and figure of what stands left of the comparison."""
    if not words or len(words) > 3:
        raise ConfigError(f"{where}: expected a form such as {_EXAMPLES}")
    subject, *rest = words
    if subject in GROUPS:
        words_of = ", ".join(GROUPS[subject])
        if len(rest) != 1 or rest[0] not in GROUPS[subject]:
            raise ConfigError(f"{where}: {subject} needs a figure: one of {words_of}")
        return subject, None, rest[0]
    if subject not in OPERATIONS and subject != GENERATOR_LAG:
        counter = SAME_COUNTER.get(subject, subject)
        if counter not in JUDGED_COUNTERS:
            raise ConfigError(f"{where}: {_unknown(subject)}")
        if rest:
            raise ConfigError(f"{where}: {subject} is a plain number, it has no {' '.join(rest)}")
        return counter, None, "value"
    there = LAG_FIGURES if subject == GENERATOR_LAG else _figures_of(subject)
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


def _figures_of(operation: str) -> tuple[str, ...]:
    """What can be asked of an operation beside its percentiles."""
    ends = outcomes_of(operation)
    return ("max", *(["errors"] if len(ends) > 1 else []), "count", *ends)


def _unknown(name: str) -> str:
    names = [*OPERATIONS, GENERATOR_LAG, *GROUPS, *JUDGED_COUNTERS]
    close = get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return (
        f"nothing is called {name!r}{hint}; operations: {', '.join(OPERATIONS)}, "
        f"{GENERATOR_LAG}; {', '.join(GROUPS)}; counters: {', '.join(JUDGED_COUNTERS)}"
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

_TABLE = re.compile(r"\s*\[\[\s*objective\s*\]\]")


def parse_objectives(text: str, *, name: str) -> tuple[Objective, ...]:
    """All objectives of a TOML text; ``name`` is what errors call it. At least one is needed."""
    data = parse_toml(text, name=name)
    for key in data:
        if key not in TOP_KEYS:
            line = _line_of_key(text, key)
            there = ", ".join(TOP_KEYS)
            raise ConfigError(f"{name}, line {line}: unknown key '{key}'; there are: {there}")
    objectives = [*_short(data, text, name), *_tables(data, text, name)]
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


def _short(data: Mapping[str, Any], text: str, name: str) -> list[Objective]:
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
        objectives.append(parse_objective(item, place=place))
    return objectives


def _tables(data: Mapping[str, Any], text: str, name: str) -> list[Objective]:
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
        times = {key: table[key] for key in ("grace", "delay", "window") if key in table}
        objective = parse_objective(table["expect"], abort_on_fail=abort, place=place, **times)
        objectives.append(objective)
    return objectives


def _line_of_key(text: str, key: str, *, after: int = 0) -> int:
    """The line (from 1) on which a key is set; that of ``after`` (from 0) when not found."""
    pattern = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[\].=]")
    for number, line in enumerate(text.splitlines()[after:], start=after + 1):
        if pattern.match(line):
            return number
    return after + 1
