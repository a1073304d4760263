"""The drawing of a figure: everything inside, holes left open, small changes drawn small."""

import re

import numpy as np
import pytest

from harness.report.html.charts import HIGH, WIDE, Chart
from harness.studies.drift.assess import Finding, Side, Watched, assess
from harness.studies.drift.page import drift_chart

AT = np.linspace(10**9, 10**9 + 7200, 120)


def finding(values: np.ndarray, at: np.ndarray = AT, **how: object) -> Finding:
    item = Watched(
        name="reply p50", side=Side.SERVICE, at_s=tuple(at), values=tuple(values), unit="ms", **how
    )  # type: ignore[arg-type]
    return assess([item], warmup_s=600).findings[0]


def noise(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, AT.size)


def lines(chart: Chart, name: str) -> list[list[tuple[float, float]]]:
    paths = re.findall(rf'<path class="{name}" d="M([^"]*)"', chart.shapes)
    pairs = (re.findall(r"(-?[\d.]+) (-?[\d.]+)", line) for line in paths)
    return [[(float(x), float(y)) for x, y in line] for line in pairs]


def test_all_lies_inside_and_the_slope_rises_with_the_figure() -> None:
    values = 200 * (1 + 0.2 * (AT - AT[0]) / 7200) + noise()
    values[50] = 10_000  # a spike is drawn at the edge
    chart = drift_chart(finding(values, limit=230.0))
    [drawn] = lines(chart, "course")
    assert len(drawn) == 120
    assert all(0 <= x <= WIDE and 0 <= y <= HIGH for x, y in drawn)
    assert min(y for _, y in drawn) == 0
    [[(x1, y1), (x2, y2)]] = lines(chart, "fit")
    assert (x1, x2) == (pytest.approx(WIDE / 12, abs=3), WIDE)
    assert y1 - y2 > 35
    [limit] = re.findall(r'class="limit" d="M0 ([\d.]+)H', chart.shapes)
    assert y2 < float(limit) < y1
    [fan] = lines(chart, "fan")
    assert len(fan) == 4
    assert [tick.text for tick in chart.across] == ["start", "2h"]
    assert all(tick.text.endswith(" ms") for tick in chart.up)
    assert "warm" in chart.shapes


def test_a_change_that_does_not_matter_looks_flat() -> None:
    chart = drift_chart(finding(200 * (1 + 0.01 * (AT - AT[0]) / 7200) + 0.1 * noise()))
    [[(_, y1), (_, y2)]] = lines(chart, "fit")
    assert abs(y1 - y2) < HIGH / 10
    assert "limit" not in chart.shapes


def test_a_hole_is_left_open() -> None:
    kept = np.r_[0:40, 70:120]
    chart = drift_chart(finding(200 + noise()[kept], AT[kept]))
    assert [len(line) for line in lines(chart, "course")] == [40, 50]


def test_where_nothing_can_be_told_only_the_course_is_drawn() -> None:
    hill = 200 * np.sin(np.pi * (AT - AT[0]) / 7200)  # no straight line, and no noise
    chart = drift_chart(finding(np.maximum(hill, 0)))
    assert (lines(chart, "fit"), lines(chart, "fan")) == ([], [])
    assert chart.up[0].text == "0 ms"  # what never is below zero


def test_a_figure_that_is_always_zero_can_be_drawn() -> None:
    item = Watched(
        name="x", side=Side.HARNESS, at_s=tuple(AT), values=(0.0,) * 120, relative=False, matters=5
    )
    chart = drift_chart(assess([item]).findings[0])
    assert chart.up[0].text == "0"
    assert {y for line in lines(chart, "course") for _, y in line} == {HIGH}
