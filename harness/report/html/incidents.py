"""The moments of a run that a reader should look at, found in its intervals."""

from collections.abc import Iterator

from harness.measure.recorder import LAG_ARRIVAL, LAG_LOOP
from harness.report.figures import count_text, ms_text
from harness.rundir.intervals import Series, Values
from harness.rundir.schema import Incident

LAG_MS = 100.0
"""Generator lag at p99 from which on it is worth a mark."""
SILENT_BINS = 3
"""So many bins without a word before the end make a process lost."""
ENDED = "ended"
SAME_PAUSE_S = 5.0
"""The processes of a run hear of a pause at moments that lie no farther apart."""
COUNTED = {
    "cross_talk": "cross-talk: a message of another session",
    "unasked_clear": "SessionClearedEvent that nobody asked for",
    "after_clear": "message after the proof of Clear",
    "rate_limited": "answer 429",
    "reconnects": "lost connection made again",
}


def find_incidents(series: Series) -> list[Incident]:
    """The first of each kind of trouble, in order of time; empty for a run without any."""
    return sorted(_all(series), key=lambda incident: incident.t)


def _all(series: Series) -> Iterator[Incident]:
    for name, values in sorted(series.failures.items()):
        yield from _first(series, values, f"first operation that ended as {name}")
    dropped: Values = [
        None if value is None else value * series.width_s
        for value in series.rates.get("dropped", [])
    ]
    yield from _first(series, dropped, "first arrival dropped, for want of a free slot")
    yield from _first(series, series.sessions.get("leftover", []), "first leftover", total=True)
    for name, words in COUNTED.items():
        yield from _first(series, series.counts.get(name, []), f"first {words}")
    for tag, words in ((LAG_ARRIVAL, "to look at arrivals"), (LAG_LOOP, "for its timers")):
        yield from _worst_lag(series, tag, words)
    yield from _silent(series)
    yield from _pauses(series)


def _first(
    series: Series, values: Values, words: str, *, total: bool = False
) -> Iterator[Incident]:
    known = [(place, value) for place, value in enumerate(values) if value]
    if known:
        whole = known[-1][1] if total else sum(value for _, value in known)
        more = f" ({count_text(whole)} in all)" if whole >= 1.5 else ""
        yield Incident(t=series.starts_s[known[0][0]], text=f"{words}{more}")


def _worst_lag(series: Series, tag: str, words: str) -> Iterator[Incident]:
    values = series.bands_ms.get(tag, {}).get(99.0, [])
    known = [(value, place) for place, value in enumerate(values) if value is not None]
    if known and max(known)[0] > LAG_MS:
        value, place = max(known)
        text = f"generator late {words}: {ms_text(value)} at p99, the worst of the run"
        yield Incident(t=series.starts_s[place], text=text)


def _silent(series: Series) -> Iterator[Incident]:
    end = max((at_s for at_s, _ in series.last.values()), default=0.0)
    for worker, (at_s, phase) in series.last.items():
        if phase != ENDED and end - at_s > SILENT_BINS * series.width_s:
            yield Incident(t=at_s, text=f"last word of process {worker}, well before the end")


def _pauses(series: Series) -> Iterator[Incident]:
    before = 0.0
    for at_s in sorted(series.pauses):
        if at_s - before > SAME_PAUSE_S:
            yield Incident(t=at_s, text="paused by hand: no new guests")
        before = at_s
