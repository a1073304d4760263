"""Objectives from a TOML text, as ``--slo FILE`` takes them.

Either the short form, or one table per objective where a run should be stopped early::

    objectives = ["reply p95 < 5s", "leftovers == 0"]

    [[objective]]
    expect = "delivered errors < 1%"
    abort_on_fail = true
    grace = "2m"       # not judged for stopping while the run warms up
    delay = "30s"      # stop only when missed for so long in a row
    window = "1m"      # by what happened in so much of the past

Errors name the file, the line and the key.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from harness.errors import ConfigError
from harness.judge.objective import Known, Objective, parse_objective

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
            place = f"{name}, line {_line_of_key(text, key)}"
            raise ConfigError(f"{place}: unknown key '{key}'; there are: {', '.join(TOP_KEYS)}")
    found = [*_short(data, text, known, name), *_tables(data, text, known, name)]
    if not found:
        raise ConfigError(f'{name}: no objective in it; write objectives = ["reply p95 < 5s"]')
    seen: set[tuple[object, ...]] = set()
    for objective in found:
        same = (objective.subject, objective.figure, objective.percent, objective.kind)
        key_ = (*same, objective.op, objective.limit, objective.unit)
        if key_ in seen:
            raise ConfigError(f"{name}: {objective.text!r} is there twice")
        seen.add(key_)
    return tuple(found)


def _short(data: Mapping[str, Any], text: str, known: Known, name: str) -> list[Objective]:
    items = data.get("objectives", [])
    if not isinstance(items, list):
        place = f"{name}, line {_line_of_key(text, 'objectives')}"
        raise ConfigError(f"{place}: objectives: expected a list of texts")
    found = []
    at = _line_of_key(text, "objectives") - 1
    for number, item in enumerate(items, start=1):
        if not isinstance(item, str):
            place = f"{name}, line {at + 1}, objectives, item {number}"
            raise ConfigError(f"{place}: expected a text, got {item!r}")
        at = _find(text, item, after=at)
        place = f"{name}, line {at + 1}, objectives, item {number}"
        found.append(parse_objective(item, known, place=place))
    return found


def _tables(data: Mapping[str, Any], text: str, known: Known, name: str) -> list[Objective]:
    tables = data.get("objective", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        place = f"{name}, line {_line_of_key(text, 'objective')}"
        raise ConfigError(f"{place}: objective: expected tables written as [[objective]]")
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if _TABLE.match(line)]
    if len(starts) != len(tables):  # written inline; no better place is known
        starts = [_line_of_key(text, "objective") - 1] * len(tables)
    found = []
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
        found.append(
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
    return found


def _line_of_key(text: str, key: str, *, after: int = 0) -> int:
    """The line (from 1) on which a key is set; that of ``after`` (from 0) when not found."""
    pattern = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[\].=]")
    for number, line in enumerate(text.splitlines()[after:], start=after + 1):
        if pattern.match(line):
            return number
    return after + 1


def _find(text: str, item: str, *, after: int) -> int:
    """The line (from 0) at or after ``after`` that holds a text; ``after`` when none does."""
    for number, line in enumerate(text.splitlines()[after:], start=after):
        if item in line:
            return number
    return after
