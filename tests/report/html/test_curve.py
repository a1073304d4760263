"""The percentile curve is the distribution, thinned, and can be drawn for any sample."""

import math

import pytest

from harness.measure.histogram import Histogram, decoded
from harness.report.html import charts as curve
from harness.report.html.charts import MOST_LOG_TICKS


def test_the_percentile_curve_ends_at_the_highest_value_and_never_falls() -> None:
    service = Histogram()
    for value_ms in range(1, 2001):
        service.record_ns(value_ms * 10**6)
    [line] = curve.percentiles(decoded([service.encode()]), None).figure.renderers
    data = line.data_source.data
    assert len(data["ms"]) <= curve.MOST_POINTS
    assert data["ms"] == sorted(data["ms"])
    assert data["x"] == sorted(data["x"])
    assert data["ms"][-1] == pytest.approx(2000, rel=1e-3)
    near_median = min(range(len(data["q"])), key=lambda place: abs(data["q"][place] - 50))
    assert data["ms"][near_median] == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize("values_ms", [[5], [5] * 1000, [1, 10_000]])
def test_percentiles_of_few_or_equal_values_can_be_drawn(values_ms: list[int]) -> None:
    service = Histogram()
    for value in values_ms:
        service.record_ns(value * 10**6)
    found = decoded([service.encode()])
    plot = curve.percentiles(found, found).figure
    assert all(math.isfinite(value) for value in (plot.x_range.end, plot.y_range.start))
    assert 1 <= len(plot.yaxis[0].ticker.ticks) <= MOST_LOG_TICKS
