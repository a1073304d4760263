"""What was counted beside the usual course of things, and how near a run came to the limits."""

import math

from harness.judge.series import Series, Values
from harness.protocol.names import (
    CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
)
from harness.report.figures import count_text, percent_text
from harness.report.story import Row
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


MEANINGS = {
    "cross_talk": "messages of another guest's session",
    "unasked_clear": "events that said a session was cleared though its guest had not asked for it",
    "after_clear": "messages after the proof of Clear",
    "duplicate": "messages that came twice",
    "out_of_order": "messages older, by the service's clock, than one that came before",
    "late_message": "answers to requests that had been given up",
    "unmatched_echo": "echoes that no guest of this process had caused",
    "bad_frame": "frames that could not be read",
    "unknown_frame": "frames of a kind that we do not know",
    "clear_is_off": "Clear was refused: it is switched off in this deployment's configuration",
    "typing_is_off": "typing was refused: it is switched off in this deployment's configuration",
    "rate_limited": "answers 429: a limit of the service was reached",
    "disconnected_by_service": "conversations that the other side ended",
    "logged_out": "guests whose customers were logged out (LogoutEvent)",
    "reconnects": "connections that were lost and made again",
    "going_away": "of these, ended by the service as idle or too old (close code 1001)",
    "renewed": "connections that their guest replaced at their maximum age",
    "resumed_anew": "sessions that the service had forgotten when their guest came back",
    "recovered": "messages fetched from the history after a reconnect",
    "paced": "requests that waited for the guest's own limit",
    "paced_connects": "connections that waited for the limit of connections",
    "end_resumes": "sessions resumed only to be ended",
    "out_of_range": "durations above two hours, kept at the top of the scale",
}
"""Count → what it means; the worst first."""


USUAL = "expected"
"""The count of messages that were as they should be."""


def unusual_rows(record: RunRecord) -> list[Row]:
    """Everything that was counted at least once."""
    return [
        Row(key=name, label=_label(name), figure=count_text(count), note=MEANINGS.get(name, ""))
        for name, count in _in_order(record)
        if count
    ]


def never_seen(record: RunRecord) -> list[str]:
    """What was looked for and did not happen."""
    return [_label(name) for name, count in _in_order(record) if not count]


def _in_order(record: RunRecord) -> list[tuple[str, int]]:
    counts = record.forensics
    names = [name for name in MEANINGS if name in counts]
    names += sorted(counts.keys() - MEANINGS.keys() - {USUAL})
    return [(name, counts[name]) for name in names]


def _label(name: str) -> str:
    return name.replace("_", " ")
