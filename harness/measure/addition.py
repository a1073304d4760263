"""A histogram log beside those of a run's processes: of what became known only after the run."""

from collections.abc import Iterable
from pathlib import Path

from harness.measure.histogram import Histogram
from harness.measure.recorder import corrected_tag, service_tag
from harness.measure.snapshot import HISTOGRAMS, log_head, log_line


def write_addition(
    directory: Path, name: str, operation: str, samples: Iterable[tuple[int, int]]
) -> Histogram:
    """Write ``histograms-NAME.hlog`` anew, in one step, and return its sum.

    ``samples`` are (wall time in ns, duration in ns); each counts in its second. Nothing was
    scheduled, so the corrected latency is the service time. Raises OSError.
    """
    whole = Histogram()
    seconds: dict[int, Histogram] = {}
    for at_ns, duration_ns in samples:
        for histogram in (whole, seconds.setdefault(at_ns // 1_000_000_000, Histogram())):
            histogram.record_ns(duration_ns)
    started_s = min(seconds, default=0)
    lines = [log_head(started_s)]
    for at_s in sorted(seconds):
        lines += [
            log_line(tag, at_s - started_s, 1.0, seconds[at_s])
            for tag in (service_tag(operation), corrected_tag(operation))
        ]
    path = directory / HISTOGRAMS.format(worker=name)
    part = path.with_name(f".{path.name}.new")
    part.write_text("".join(lines))
    part.replace(path)
    return whole
