"""How near a run came to the service's documented limits, and what the service said to it."""

import math

from harness.protocol.names import (
    CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
)
from harness.report.figures import count_text, percent_text
from harness.report.story import Row
from harness.rundir.intervals import Series, Values
from harness.rundir.schema import RunRecord

MINUTE_S = 60.0
REFUSED = "rate_limited"


def limit_rows(record: RunRecord, series: Series | None) -> list[Row]:
    """Answers 429 by operation, the busiest minute of connections, and guests kept waiting."""
    refused = {
        name: found.outcomes[REFUSED]
        for name, found in record.operations.items()
        if found.outcomes.get(REFUSED)
    }
    counts = record.forensics
    rows = []
    whole = max(sum(refused.values()), counts.get(REFUSED, 0))
    if record.operations:
        by = ", ".join(f"{name} {count_text(count)}" for name, count in refused.items())
        rows.append(Row(key="refused", label="Answers 429", figure=count_text(whole), note=by))
    peak = busiest_minute(series)
    if peak is not None:
        limit = CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE
        note = f"{percent_text(peak / limit)} of the {limit:,} that a deployment allows"
        label = "New connections in the busiest minute"
        rows.append(Row(key="connections", label=label, figure=count_text(peak), note=note))
    for name, label, limit_text in (
        ("paced_connects", "Connections that waited for that limit", ""),
        (
            "paced",
            "Requests that waited for their guest's limit",
            f"{REQUESTS_PER_CONNECTION_PER_MINUTE} a minute on each connection",
        ),
    ):
        if name in counts:
            figure = count_text(counts[name])
            rows.append(Row(key=name, label=label, figure=figure, note=limit_text))
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
    counts = _summed(columns, len(rows))
    bins = max(1, math.floor(MINUTE_S / rows.width_s))
    window = sum(counts[:bins])
    most = window
    for place in range(bins, len(counts)):
        window += counts[place] - counts[place - bins]
        most = max(most, window)
    span_s = min(bins, len(counts)) * rows.width_s
    return round(most * MINUTE_S / span_s) if span_s > MINUTE_S else round(most)


def _summed(columns: list[Values], length: int) -> list[float]:
    return [sum(values[place] or 0.0 for values in columns) for place in range(length)]
