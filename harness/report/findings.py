"""The parts of a report beside the run's own figures.

How near the run came to the limits, and counts of what should not happen; the results of later
sweeps and audits, and figures of the Platform API; and differences between the record and the files
beside it, which mean that one of them was cut short or changed.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from harness.judge.reading import LEFT_AT_END, STILL_GOING, STILL_LEFT, ending_words
from harness.judge.record import QUANTILES
from harness.judge.series import Series
from harness.limits import CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE, REQUESTS_PER_CONNECTION_PER_MINUTE
from harness.measure import model as sample
from harness.measure.model import (
    COUNTERS,
    FRAMES_EXPECTED,
    OPERATIONS,
    Section,
    counters_of,
    ordered,
)
from harness.measure.recorder import service_tag
from harness.report.story import Row, details, safe_text
from harness.report.wording import (
    UNKNOWN,
    capital,
    count_text,
    in_plain,
    length_text,
    moment_text,
    ms_text,
    percent_text,
    sentence,
)
from harness.rundir.schema import RunRecord

MINUTE_S = 60.0
RATE_LIMITED = "rate_limited"


def limit_rows(record: RunRecord, series: Series | None) -> list[Row]:
    """Answers 429 by operation, the busiest minute of connections, and guests kept waiting."""
    refused = {
        name: figures.outcomes[RATE_LIMITED]
        for name, figures in record.operations.items()
        if figures.outcomes.get(RATE_LIMITED)
    }
    counts = record.forensics
    rows = []
    whole = max(sum(refused.values()), counts.get(RATE_LIMITED, 0))
    if record.operations:
        by = ", ".join(f"{name} {count_text(count)}" for name, count in refused.items())
        rows.append(Row("Requests refused with 429", count_text(whole), by, "refused"))
    peak = busiest_minute(series)
    if peak is not None:
        limit = CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE
        note = f"{percent_text(peak / limit)} of the {limit:,} that a deployment allows"
        rows.append(
            Row("New connections in the busiest minute", count_text(peak), note, "connections")
        )
    for name, label, limit_text in (
        ("paced_connects", "Connections that waited for that limit", ""),
        (
            "paced",
            "Requests that waited for their guest's limit",
            f"{REQUESTS_PER_CONNECTION_PER_MINUTE} a minute on each connection",
        ),
    ):
        if name in counts:
            rows.append(Row(label, count_text(counts[name]), limit_text, name))
    return rows


def busiest_minute(series: Series | None) -> int | None:
    """The most connects (however they ended) within a minute; None where none is known.

    With bins that do not divide a minute, or are wider than one, it is a rate for a minute.
    """
    rows = None if series is None else series.rows
    if rows is None:
        return None
    columns = [values for name, values in rows.operations.items() if name.startswith("connect.")]
    if not columns:
        return None
    counts = [sum(values[place] or 0.0 for values in columns) for place in range(len(rows))]
    bins = max(1, math.floor(MINUTE_S / rows.width_s))
    window = sum(counts[:bins])
    most = window
    for place in range(bins, len(counts)):
        window += counts[place] - counts[place - bins]
        most = max(most, window)
    span_s = min(bins, len(counts)) * rows.width_s
    return round(most * MINUTE_S / span_s) if span_s > MINUTE_S else round(most)


def unusual_rows(record: RunRecord) -> list[Row]:
    """Everything that was counted at least once."""
    meaning = {name: counter.meaning for name, counter in COUNTERS.items()}
    return [
        Row(in_plain(name), count_text(count), meaning.get(name, ""), name)
        for name, count in _in_order(record)
        if count
    ]


def never_counted(record: RunRecord) -> list[str]:
    """The names of the unusual events that never happened in this run."""
    return [in_plain(name) for name, count in _in_order(record) if not count]


def _in_order(record: RunRecord) -> list[tuple[str, int]]:
    counts = record.forensics
    known = counters_of(Section.FORENSICS)
    names = [*known, *sorted(counts.keys() - {*known})]
    return [(name, counts[name]) for name in names if name in counts and name != FRAMES_EXPECTED]


SWEEP: MappingProxyType[str, str] = MappingProxyType(
    {
        "when": "Done",
        "by": "With",
        "settled": "Sessions it proved ended",
        "left": "Sessions still without proof of an end",
        LEFT_AT_END: "Left behind at the end of the run",
        STILL_LEFT: "Still left",
    }
)
AUDIT: MappingProxyType[str, str] = MappingProxyType(
    {
        "when": "Done",
        "conversations": "Conversations in the ledger",
        "visible": "Conversations the service showed",
        "leftovers": "Open at the service, no proof of an end",
        "cleared_yet_open": "Open at the service in spite of the proof",
        "not_in_ledger": "Open, of this run, not in the ledger",
        "unknown": "Conversations whose state the service did not show",
        "left_out": "Open conversations listed without their details",
        "damaged": "Ledger files that may hide sessions",
        "refused": "What the service refused to show",
        "cleared": "Cleared by their guests",
        "wrap_up": "Guest gone, agent still in wrap-up",
        "others": "Open conversations of others",
        "ends": "Conversations whose end is known",
        "looks": "Times asked",
        "deadline_s": "Asked again for at most",
        "waited_for_rate_limits_s": "Waited for the Platform API's limits",
        "matched_by": "Matched to sessions",
        "observed": "Open now, of all guests",
    }
)
COUNTED: MappingProxyType[str, str] = MappingProxyType(
    {
        "oWaiting": "Waiting in a queue, before → after",
        "oInteracting": "With an agent, before → after",
        "oFlow": "In a flow, before → after",
    }
)
HIDDEN_WHEN_EMPTY = frozenset(
    {"observed", "matched_by", "waited_for_rate_limits_s", "endings", "left_out", "damaged"}
    | {"refused"}
)
VERDICT = "verdict"
"""The note that the verdict stays: a sentence of its own on the page."""
SHOWN = 3


def baseline_rows(block: Mapping[str, Any]) -> list[Row]:
    """A record's ``baseline``: what was open in the run's queues and flows, whoever's it was."""
    moments = {key: value for key, value in block.items() if isinstance(value, dict)}
    counts = {
        key: value["counts"]
        for key, value in moments.items()
        if isinstance(value.get("counts"), dict)
    }
    before, after = counts.get("before", {}), counts.get("after", {})
    rows = [
        Row(
            COUNTED.get(name, safe_text("", name)),
            f"{_plain(before.get(name))} → {_plain(after.get(name))}",
        )
        for name in {**before, **after}
    ]
    for key, value in moments.items():
        if "why" in value:
            not_counted = f"Not counted {safe_text('', key)} the run"
            rows.append(Row(not_counted, safe_text("", value["why"]), key=key))
    return rows


def remark(block: Mapping[str, Any]) -> str:
    """The sentence to print below; empty where there is none."""
    note = block.get(VERDICT)
    return sentence(note) if isinstance(note, str) and note else ""


def block_rows(block: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[Row]:
    """A record's ``sweep`` or ``audit``; ``labels``: :data:`SWEEP` or :data:`AUDIT`."""
    known = [key for key in labels if key in block]
    for key in [*known, *(key for key in block if key not in labels and key != VERDICT)]:
        value = block[key]
        if not value and key in HIDDEN_WHEN_EMPTY:
            continue
        if key == "endings" and isinstance(value, dict):
            for ending, count in value.items():
                label = safe_text("", ending_words(str(ending)))
                yield Row(capital(label), _plain(count), key=key)
        elif key in labels:
            yield Row(labels[key], *_figure(key, value), key)
        else:
            for label, text in details({key: value}):
                yield Row(capital(label), text, key=key)


def _figure(key: str, value: Any) -> tuple[str, str]:
    """A value as text, and a remark on it. The record may be malformed: no type is assumed."""
    if key == "when" and isinstance(value, str):
        return _moment(value), ""
    if key.endswith("_s") and isinstance(value, int | float):
        return length_text(float(value)), ""
    if key == "ends" and isinstance(value, dict):
        early = value.get("before_the_proof")
        note = f"{_plain(early)} seem to have ended before the proof: two clocks" if early else ""
        return f"{_plain(value.get('measured'))} of {_plain(value.get('cleared'))} cleared", note
    if isinstance(value, dict):
        return ", ".join(
            f"{_plain(count)} {safe_text('', name)}" for name, count in value.items()
        ), ""
    if isinstance(value, list):
        ids = [one.get("conversation_id") for one in value if isinstance(one, dict)]
        named = ", ".join(safe_text("", one) for one in ids[:SHOWN])
        more = f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else ""
        return f"{len(value):,}", f"{named}{more}"
    return _plain(value), ""


def _plain(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return safe_text("", value) if value is not None else UNKNOWN
    return count_text(value)


def _moment(text: str) -> str:
    try:
        return moment_text(datetime.fromisoformat(text))
    except ValueError:
        return safe_text("", text)


TIMED = tuple(sorted(sample.TIMED))
"""Outcomes whose times are in the histograms."""
CHECKED = {name: QUANTILES[name] for name in ("p50", "p95", "p99", "max")}
TIME_TOLERANCE = 0.005
"""The tolerance when two times are compared: both are known to three digits."""
MIN_DIFFERENCE_MS = 0.003
CAUSE = "one of them was changed or cut short"


def disagreements(record: RunRecord, series: Series | None) -> list[str]:
    """One sentence for each kind of difference between record and files; none if they agree."""
    if STILL_GOING in record.reasons:
        return []  # the files grow while they are read
    if series is None:
        return ["The interval files are missing, so nothing can be shown over time."]
    names = ordered(record.operations)
    sentences = []
    for what, differences in (
        ("how often these happened", [_counted(record, series, name) for name in names]),
        ("how many times were measured", [_measured(record, series, name) for name in names]),
        ("the service times themselves", [_times(record, series, name) for name in names]),
    ):
        known = [difference for difference in differences if difference]
        if known:
            more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
            sentences.append(
                f"The record and the other files of the run differ in {what}: "
                f"{', '.join(known[:SHOWN])}{more}; {CAUSE}."
            )
    return sentences


def _counted(record: RunRecord, series: Series, name: str) -> str:
    ours = record.operations[name].count
    in_intervals = sum(series.outcomes.get(name, {}).values())
    if ours is None or ours == in_intervals or (name in OPERATIONS and OPERATIONS[name].afterwards):
        return ""  # what is learnt after the run stands in no interval
    return f"{name} {count_text(ours)} against {count_text(in_intervals)}"


def _measured(record: RunRecord, series: Series, name: str) -> str:
    outcomes = record.operations[name].outcomes
    if not outcomes:
        return ""
    timed = sum(outcomes.get(outcome, 0) for outcome in TIMED)
    timed -= record.operations[name].ambiguous or 0
    total = series.totals.get(service_tag(name))
    in_histograms = 0 if total is None else total.count
    return (
        f"{name} {count_text(timed)} against {count_text(in_histograms)}"
        if timed != in_histograms
        else ""
    )


def _times(record: RunRecord, series: Series, name: str) -> str:
    total = series.totals.get(service_tag(name))
    if total is None or _measured(record, series, name):
        return ""  # said already
    times = record.operations[name].service_ms
    values = total.percentiles_ms(list(CHECKED.values()))
    for quantile, value in zip(CHECKED, values, strict=True):
        ours: float | None = getattr(times, quantile)
        if ours is None or value is None or times.lower_bounds or times.unsure:
            continue
        if abs(ours - value) > max(MIN_DIFFERENCE_MS, TIME_TOLERANCE * value):
            return f"{name} {quantile} {ms_text(ours)} against {ms_text(value)}"
    return ""
