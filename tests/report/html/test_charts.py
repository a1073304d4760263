"""The charts draw what the series holds: no invented values, and axes that can be read."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_run

from harness.judge.series import Series, read_series
from harness.measure.histogram import Histogram, decoded
from harness.report.html.charts import (
    BLUE,
    HIGH,
    MOST_POINTS,
    MOST_TICKS,
    MOST_TIME_TICKS,
    WIDE,
    Chart,
    Drawing,
    Scale,
    TimeCharts,
    band_texts,
    log_ticks,
    percentile_curve,
    percentiles,
    placed,
    round_ticks,
    time_ticks,
)

NUMBER = r"-?\d*\.?\d+"


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    found = read_series(make_run(tmp_path_factory.mktemp("r"), length_s=60, trouble=True))
    assert found is not None
    return found


def paths(chart: Chart, what: str) -> list[str]:
    """The outlines of the shapes of one kind."""
    return re.findall(rf'<path [^>]*{re.escape(what)}[^>]* d="([^"]*)"', chart.shapes)


def readings(chart: Chart) -> dict[str, list[str]]:
    rows = (row.split("|") for row in chart.readings.split("\n"))
    return {name: texts for name, *texts in rows}


def test_all_time_charts_share_one_axis(series: Series) -> None:
    charts = TimeCharts(series, [], [])
    rates = charts.lines([("due", series.rates["due"], BLUE)])
    bands = charts.bands("reply.service")
    assert rates.span_ms == bands.span_ms == charts.heat().span_ms
    assert rates.span_ms is not None
    assert rates.span_ms[0] == series.starts_s[0] * 1000
    assert rates.across == bands.across


def test_unknown_values_are_gaps(series: Series) -> None:
    values = [1.0, None, 3.0] + [None] * (len(series) - 3)
    chart = TimeCharts(series, [], []).lines([("x", values, "red")])
    [line] = paths(chart, 'stroke="red"')
    assert line.count("M") == 2
    assert readings(chart)["x"][:4] == ["1", "", "3", ""]


def test_bands_are_drawn_in_stretches(series: Series) -> None:
    bands = {quantile: [None] * len(series) for quantile in (50.0, 95.0, 99.0)}
    for place in (0, 1, 4, 5, 6):
        bands[50.0][place], bands[95.0][place], bands[99.0][place] = 10.0, 20.0, 30.0
    series.bands_ms["x.service"], series.samples["x.service"] = bands, [1] * len(series)
    chart = TimeCharts(series, [], []).bands("x.service")
    areas = paths(chart, f'fill="{BLUE}"')
    assert len(areas) == 4  # two bands in two stretches
    assert all(area.endswith("z") for area in areas)


def test_what_never_came_is_marked_as_a_lower_bound(series: Series) -> None:
    least = series.at_least("reply.service", 99.0)
    assert any(least)
    assert not all(least)
    texts = band_texts(series, "reply.service", 99.0)
    assert [text.startswith("> ") for text in texts] == least
    chart = TimeCharts(series, [], []).bands("reply.service")
    assert readings(chart)["p99"] == texts
    assert any("never came" in key.text for key in chart.legend)
    quiet = TimeCharts(series, [], []).bands("lag.loop")
    assert not any("never came" in key.text for key in quiet.legend)


def test_stacked_counts_add_up(series: Series) -> None:
    named = [(name, series.failures[name]) for name in sorted(series.failures)]
    chart = TimeCharts(series, [], []).stacked(named)
    told = readings(chart)
    for name, values in named:
        assert sum(int(text) for text in told[name] if text) == sum(value or 0 for value in values)
    top = max(sum(values[place] or 0 for _, values in named) for place in range(len(series)))
    heights = [
        float(found[1])
        for found in re.finditer(rf"M{NUMBER} ({NUMBER})h", "".join(paths(chart, "fill-opacity")))
    ]
    assert min(heights) == pytest.approx(HIGH * (1 - 1 / 1.06), abs=0.1)
    assert top >= 1


def test_the_heat_map_holds_every_reply(series: Series) -> None:
    chart = TimeCharts(series, [], []).heat()
    told = " ".join(readings(chart)["replies"])
    counted = sum(int(many) for many in re.findall(r"(\d+) took", told))
    cut = told.count("…")
    whole = series.totals["reply.service"].count
    assert counted == whole if not cut else counted <= whole
    assert paths(chart, 'fill-opacity="1"')
    assert chart.legend[0].text == "1"


def test_phases_and_incidents_stand_on_every_chart(series: Series) -> None:
    start = series.starts_s[0]
    charts = TimeCharts(series, [start], [start + 30])
    chart = charts.lines([("due", series.rates["due"], BLUE)])
    assert paths(chart, "phase") == [f"M0 0V{HIGH:.0f}"]
    [incident] = paths(chart, "incident")
    assert float(incident[1:].split()[0]) == pytest.approx(WIDE * 30 / len(series), abs=1)


def test_words_from_outside_are_no_markup_and_break_no_reading(series: Series) -> None:
    evil = "<img src=x|onerror=alert(1)>\nnext"
    chart = TimeCharts(series, [], []).stacked([(evil, [1.0] * len(series))])
    assert "<img" not in chart.shapes
    assert list(readings(chart)) == ["<img src=x/onerror=alert(1)> next"]


@given(
    st.floats(min_value=-1e3, max_value=1e3),
    st.floats(min_value=1e-3, max_value=1e7),
    st.booleans(),
)
def test_labels_are_few_inside_and_without_noise(low: float, length: float, whole: bool) -> None:
    ticks = round_ticks(low, low + length, "ms", whole=whole)
    slack = 1e-6 * length + 1e-9
    assert len(ticks) <= MOST_TICKS
    assert all(low - slack <= tick <= low + length + slack for tick, _ in ticks)
    for tick, text in ticks:
        figure = text.removesuffix(" ms").replace(",", "")
        assert len(figure.replace("-", "").replace(".", "").strip("0")) <= 12
        assert float(figure) == pytest.approx(tick, abs=slack)
        assert "." not in figure or not whole


def test_six_tenths_read_so() -> None:
    assert [text for _, text in round_ticks(0, 0.75, "ms", 5)] == [
        "0 ms", "0.2 ms", "0.4 ms", "0.6 ms",
    ]  # fmt: skip
    assert [text for _, text in round_ticks(0, 100, "", 5)] == ["0", "25", "50", "75", "100"]
    assert ("0.6 ms" in [text for _, text in log_ticks(0.5, 0.9)]) is True


@given(st.floats(min_value=1e-3, max_value=1e6), st.floats(min_value=1.44, max_value=1e8))
def test_log_labels_are_few_inside_and_short(lowest: float, factor: float) -> None:
    ticks = log_ticks(lowest, lowest * factor)
    assert all(lowest <= tick <= lowest * factor for tick, _ in ticks)
    assert 1 <= len(ticks) <= max(MOST_TICKS, math.log10(factor) + 1)
    assert all(len(text) <= 12 for _, text in ticks)


@given(st.floats(min_value=0, max_value=2e9), st.floats(min_value=4, max_value=40 * 86_400))
def test_times_of_day_are_few_and_inside(start: float, length: float) -> None:
    ticks = time_ticks(start, start + length)
    assert 1 <= len(ticks) <= MOST_TIME_TICKS + 1
    assert all(-1e-6 <= tick.at <= 1 + 1e-6 for tick in ticks)
    assert len({tick.at for tick in ticks}) == len(ticks)


def test_what_lies_outside_is_drawn_at_the_edge() -> None:
    drawing = Drawing(Scale(0, 10), Scale(0.1, 10, log=True))
    drawing.point(20, 0.01, 1, 1000, "good")
    numbers = [float(found) for found in re.findall(rf"[MV ]({NUMBER})", drawing.shapes)]
    assert all(0 <= number <= WIDE for number in numbers)
    assert placed([(1.0, "x")], drawing.y)[0].at == pytest.approx(0.5)


def service(*values_ms: int) -> Histogram:
    found = Histogram()
    for value in values_ms:
        found.record_many_ns([value * 10**6])
    return found


def test_the_percentile_curve_ends_at_the_highest_value_and_never_falls() -> None:
    quantiles, values = percentile_curve(decoded([service(*range(1, 2001)).encode()]))
    assert len(values) <= MOST_POINTS
    assert values == sorted(values)
    assert quantiles == sorted(quantiles)
    assert values[-1] == pytest.approx(2000, rel=1e-3)
    near_median = min(range(len(values)), key=lambda place: abs(quantiles[place] - 50))
    assert values[near_median] == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize("values_ms", [[5], [5] * 1000, [1, 10_000]])
def test_percentiles_of_few_or_equal_values_can_be_drawn(values_ms: list[int]) -> None:
    found = decoded([service(*values_ms).encode()])
    chart = percentiles(found, found)
    assert 1 <= len(chart.up) <= MOST_TICKS
    assert [key.text for key in chart.legend] == ["service", "corrected"]
    assert len(chart.places.split("|")) == len(readings(chart)["service"])


def test_a_curve_ends_where_the_rest_never_came() -> None:
    came = decoded([service(*range(1, 91)).encode()])
    quantiles, values = percentile_curve(came, 10)
    assert quantiles[-1] == pytest.approx(90)
    assert values[-1] == pytest.approx(90, rel=1e-2)
    chart = percentiles(came, None, (10, 0))
    assert paths(chart, "incident")
    assert [key.text for key in chart.legend] == ["service", "above it are those that never came"]
    assert not paths(percentiles(came, None), "incident")
