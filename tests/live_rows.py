"""One process's interval as it is handed in live: the row and the encoded histograms."""

from typing import Any

from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder

MS = 1_000_000


def interval(*service_ms: int, errors: int = 0, **sessions: int) -> tuple[Any, dict[str, str]]:
    recorder = Recorder()
    for value in service_ms:
        recorder.add(Sample("reply", 0, 0, value * MS, value * MS))
    for _ in range(errors):
        recorder.add(Sample("reply", 0, 0, 0, 0, Outcome.LOST))
    taken = recorder.take()
    row = {
        "sessions": sessions,
        "arrivals": {"due": len(service_ms)},
        "outcomes": taken.outcomes,
        "counts": {"duplicate": 1},
        "process": {"cpu": 0.5},
    }
    return row, {tag: histogram.encode() for tag, histogram in taken.histograms.items()}
