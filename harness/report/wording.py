"""Figures and objectives as text, the same in every kind of report.

What is not known is a dash, never a zero. An objective is told in plain words (``reply p95 < 5s`` →
``95 of 100 replies in under 5s``), beside its written form wherever there is room for both.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from harness.errors import ConfigError
from harness.judge.gate import WITHIN_CHANCE, chance_text, interval_text
from harness.judge.objective import GENERATOR_LAG, Kind, Objective, Op, Unit, parse_objective
from harness.measure.model import COUNTERS, GROUPS, OPERATIONS
from harness.rundir.schema import Objective as Judged
from harness.units import duration_text, size_text

UNKNOWN = "—"


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def in_plain(name: str) -> str:
    """A name of the record as people write it."""
    return name.replace("_", " ")


def sentence(text: str) -> str:
    """The text as a sentence: a capital at the beginning and a full stop at the end, unless it ends
    with another mark."""
    text = capital(text.strip())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def count_text(value: float | None) -> str:
    """12345 → ``12,345``."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def ms_text(value_ms: float | None) -> str:
    """Milliseconds with three digits in the unit that fits: ``0.82 ms``, ``1.23 s``."""
    if value_ms is None:
        return UNKNOWN
    if value_ms < 999.5:
        return f"{_three_digits(value_ms)} ms"
    if value_ms < 60_000:
        return f"{_three_digits(value_ms / 1000)} s"
    return duration_text(value_ms / 1000)


def number_text(value: float | None) -> str:
    """A bare number with at most three decimals."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}".rstrip("0").rstrip(".")


def with_unit(value: float | None, unit: str | None) -> str:
    """An objective's figure: ``1.2 s``, ``0.3 %``, ``0``; units are ms, s, share, count or none."""
    if value is None:
        return UNKNOWN
    if unit == "share":
        return percent_text(value)
    if unit == "count":
        return number_text(value)
    if unit in ("s", "ms", "us"):
        return ms_text(value * {"s": 1e3, "ms": 1.0, "us": 1e-3}[unit])
    return f"{number_text(value)} {unit}" if unit else number_text(value)


def percent_text(share: float | None) -> str:
    """0.0123 → ``1.2 %``; what is not zero, or not all, never reads ``0 %`` or ``100 %``."""
    if share is None:
        return UNKNOWN
    percent = share * 100
    if 0 < abs(percent) < 0.01:
        return "< 0.01 %" if percent > 0 else "> -0.01 %"
    if 99.99 < percent < 100:
        return "> 99.99 %"
    digits = 0 if abs(percent) >= 100 else 1 if 1 <= abs(percent) < 99.95 else 2
    return f"{percent:.{digits}f} %" if percent else "0 %"


def share_text(part: float | None, whole: float | None) -> str:
    """A part of a whole in percent; unknown if the whole is zero."""
    return percent_text(part / whole) if part is not None and whole else UNKNOWN


def core_text(share: float | None) -> str:
    """CPU use in percent of one core; a process with threads may exceed 100: 1.2 → ``120 %``."""
    return UNKNOWN if share is None else f"{share * 100:,.0f} %"


def length_text(value_s: float | None) -> str:
    """A duration in words of the command line: ``1h5m``."""
    return UNKNOWN if value_s is None else duration_text(value_s)


def clock_text(at_s: float) -> str:
    """The time of day in UTC."""
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%H:%M:%S")


def moment_text(at: datetime | None) -> str:
    """Date and time in UTC."""
    return UNKNOWN if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _three_digits(value: float) -> str:
    if 0 < value < 0.00995:
        return f"{value:.3f}"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def disk_text(disk: Mapping[str, int | bool | None]) -> str:
    """What a run was expected to write, and the room for it: ``9.8 MB expected; 79 GB were free``.

    In bytes, under ``total`` and ``free``.
    """
    total, free = disk.get("total"), disk.get("free")
    room = "" if free is None else f"; {size_text(free)} were free"
    return f"{UNKNOWN if total is None else size_text(total)} expected{room}"


LIMITS = {
    Op.LESS: ("in under", "fewer than", "by less than"),
    Op.AT_MOST: ("within", "at most", "by at most"),
    Op.MORE: ("in more than", "more than", "in more than"),
    Op.AT_LEAST: ("in at least", "at least", "in at least"),
    Op.EQUAL: ("in exactly", "exactly", "in exactly"),
}
"""The words before a limit: for a time, for an amount, and for the generator's lag."""


WORDS = {"PASS": "met", "FAIL": "missed", "NO_DATA": "no data", "INVALID": "not valid"}
PERCENTILE = re.compile(r"\bp\d+(\.\d+)?\b")


def objective_figure(objective: Judged) -> str:
    """What was measured for an objective."""
    unit = objective.unit
    figure = ("> " if objective.lower_bound else "") + with_unit(objective.figure, unit)
    between = interval_text(objective.low, objective.high, lambda one: with_unit(one, unit))
    return f"{figure} ({between})" if between else figure


def objective_word(objective: Judged) -> str:
    """``met``, ``met, but within chance``, ``missed``, ``no data`` or ``not valid``."""
    if objective.within_chance and objective.verdict == "PASS":
        return WITHIN_CHANCE
    return WORDS[objective.verdict]


def missed_text(objective: Judged) -> str:
    """An objective in words, with what was measured instead."""
    words = in_words(objective.text)
    if objective.figure is None:
        return words or objective.text
    if not words:
        return f"{objective.text} (was {objective_figure(objective)})"
    percentile = PERCENTILE.search(objective.text)
    was = f"{percentile[0]} was" if percentile else "was"
    if objective.unit == "count":
        was = "there was" if objective.figure == 1 else "there were"
    note = f"; {objective.note}" if objective.lower_bound and objective.note else ""
    return f"{words} ({was} {objective_figure(objective)}{note})"


def objective_words(objective: Judged) -> str:
    """An objective in words as a sentence of its own; empty where there are none."""
    return capital(in_words(objective.text))


def objective_margin(objective: Judged) -> str:
    """How far the figure stayed from the limit, in words."""
    share = objective.margin
    if share is None or objective.verdict == "NO_DATA":  # what can't be decided spares nothing
        return objective.note or UNKNOWN
    far = abs(share)
    if far > 1:  # a percentage in thousands says nothing
        spare = f"{1 + far:,.{0 if far > 9 else 1}f} times the limit"
    elif share < 0:
        spare = f"{percent_text(far)} beyond the limit"
    else:
        spare = f"{percent_text(far)} to spare"
    if objective.within_chance and objective.verdict == "PASS":
        return f"{spare}; {chance_text(objective.more_samples)}"
    return spare


def in_words(text: str) -> str:
    """The sentence's middle part, in small letters; empty for an objective we can't read."""
    try:
        objective = parse_objective(text)
    except ConfigError:
        return ""
    if objective.subject == GENERATOR_LAG:
        often = "" if objective.percent is None else f", {_share(objective.percent)} times"
        late = f"{LIMITS[objective.op][2]} {objective.limit_text}"
        return f"the load generator itself late {late}{often}"
    if objective.figure == "value":
        return _amount(objective, _counted(objective.subject))
    if objective.subject in GROUPS:
        return _amount(objective, _counted(f"{objective.subject} {objective.figure}"))
    many = OPERATIONS[objective.subject].many
    if objective.unit is Unit.MS:
        whose = (
            f"all {many}" if objective.percent is None else f"{_share(objective.percent)} {many}"
        )
        since = ", counted from when they were due" if objective.kind is Kind.CORRECTED else ""
        return f"{whose} {LIMITS[objective.op][0]} {objective.limit_text}{since}"
    if objective.figure == "count":
        return _amount(objective, many)
    if objective.figure == "errors":
        return _amount(objective, f"failed {many}")
    return _amount(objective, f"{many} that ended in {in_plain(objective.figure)}")


def _share(percent: float) -> str:
    """50 → ``half of the``, 99.9 → ``999 of 1,000``."""
    if percent == 50:
        return "half of the"
    whole = 100
    while percent * whole / 100 != round(percent * whole / 100) and whole < 100_000:
        whole *= 10
    return f"{round(percent * whole / 100):,} of {whole:,}"


def _amount(objective: Objective, what: str) -> str:
    none = objective.limit == 0 and objective.op in (Op.EQUAL, Op.AT_MOST)
    if none or (objective.op is Op.LESS and objective.limit == 1 and objective.unit is Unit.COUNT):
        return f"no {what}"
    if objective.unit is Unit.SHARE:
        word = "less than" if objective.op is Op.LESS else LIMITS[objective.op][1]
        return f"{what}: {word} {objective.limit_text}"
    return f"{LIMITS[objective.op][1]} {objective.limit_text} {what}"


def _counted(name: str) -> str:
    return COUNTERS[name].many if name in COUNTERS else in_plain(name)
