"""The charts draw what the series holds: no invented values, no text from outside."""

import math

import numpy as np
import pytest
from bokeh.models import HoverTool, Quad, Step, VArea
from synthetic import make_run

from harness.judge.series import Series, read_series
from harness.report.html import charts
from harness.report.html.charts import BLUE, Plot


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    found = read_series(make_run(tmp_path_factory.mktemp("r"), length_s=60, trouble=True))
    assert found is not None
    return found


def glyphs(plot: Plot, kind: type) -> list:
    return [item for item in plot.figure.renderers if isinstance(item.glyph, kind)]


def test_all_time_charts_share_one_axis(series: Series) -> None:
    plots = charts.TimePlots(series, [], [])
    rates = plots.lines([("due", series.rates["due"], BLUE)])
    bands = plots.bands(series.bands_ms["reply.service"], series.samples["reply.service"])
    assert rates.figure.x_range is bands.figure.x_range is plots.heat().figure.x_range
    assert rates.figure.x_range.start == series.starts_s[0] * 1000


def test_unknown_values_are_gaps(series: Series) -> None:
    values = [1.0, None, 3.0] + [None] * (len(series) - 3)
    [step] = glyphs(charts.TimePlots(series, [], []).lines([("x", values, "red")]), Step)
    drawn = step.data_source.data["v0"]
    assert (drawn[0], drawn[2]) == (1, 3)
    assert math.isnan(drawn[1])


def test_bands_are_drawn_in_stretches_and_stay_in_order(series: Series) -> None:
    bands = {quantile: [None] * len(series) for quantile in (50.0, 95.0, 99.0)}
    for place in (0, 1, 4, 5, 6):
        bands[50.0][place], bands[95.0][place], bands[99.0][place] = 10.0, 20.0, 30.0
    areas = glyphs(charts.TimePlots(series, [], []).bands(bands, [1] * len(series)), VArea)
    assert len(areas) == 4  # two bands in two stretches
    for area in areas:
        data = area.data_source.data
        assert np.all(np.asarray(data["y1"]) < np.asarray(data["y2"]))


def test_stacked_counts_add_up(series: Series) -> None:
    named = [(name, series.failures[name]) for name in sorted(series.failures)]
    drawn = glyphs(charts.TimePlots(series, [], []).stacked(named), Quad)
    total = sum(float(np.sum(item.data_source.data["count"])) for item in drawn)
    assert total == sum(value or 0 for _, values in named for value in values)


def test_the_heat_map_holds_every_reply(series: Series) -> None:
    [cells] = glyphs(charts.TimePlots(series, [], []).heat(), Quad)
    data = cells.data_source.data
    assert sum(data["count"]) == series.totals["reply.service"].count
    assert max(data["alpha"]) == pytest.approx(1)
    assert min(data["alpha"]) > 0.1


def test_phases_and_incidents_stand_on_every_chart(series: Series) -> None:
    start = series.starts_s[0]
    plots = charts.TimePlots(series, [start], [start + 30])
    figure = plots.lines([("due", series.rates["due"], BLUE)]).figure
    places = [item.location for item in figure.center if hasattr(item, "location")]
    assert places == [start * 1000, (start + 30) * 1000]


def test_names_in_tooltips_can_mean_nothing(series: Series) -> None:
    evil = "<img src=x onerror=alert(1)>@{t}$name"
    plot = charts.TimePlots(series, [], []).stacked([(evil, [1.0] * len(series))])
    [hover] = plot.figure.select(HoverTool)
    label = hover.tooltips[1][0]
    assert not set(label) & set("<>@${}()=")
