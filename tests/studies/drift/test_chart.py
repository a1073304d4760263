"""The drawing of a figure: everything inside, holes left open, small changes drawn small."""

import numpy as np
import pytest

from harness.studies.drift.assess import Finding, Side, Watched, assess
from harness.studies.drift.page import BOTTOM, LEFT, RIGHT, TOP, drift_chart

AT = np.linspace(10**9, 10**9 + 7200, 120)


def finding(values: np.ndarray, at: np.ndarray = AT, **how: object) -> Finding:
    item = Watched(
        name="reply p50", side=Side.SERVICE, at_s=tuple(at), values=tuple(values), unit="ms", **how
    )  # type: ignore[arg-type]
    return assess([item], warmup_s=600).findings[0]


def noise(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, AT.size)


def points(line: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]


def test_all_lies_inside_and_the_slope_rises_with_the_figure() -> None:
    values = 200 * (1 + 0.2 * (AT - AT[0]) / 7200) + noise()
    values[50] = 10_000  # a spike is drawn at the edge
    chart = drift_chart(finding(values, limit=230.0))
    (line,) = chart.lines
    drawn = points(line)
    assert len(drawn) == 120
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in drawn)
    assert min(y for _, y in drawn) == TOP
    assert chart.cut_x == pytest.approx(LEFT + (RIGHT - LEFT) / 12, abs=1)
    assert chart.fit is not None
    x1, y1, x2, y2 = chart.fit
    assert (x1, x2) == (chart.cut_x, RIGHT)
    assert y1 - y2 > 40
    assert chart.limit_y is not None
    assert y2 < chart.limit_y < y1
    assert chart.fan is not None
    assert len(points(chart.fan)) == 4
    assert chart.end_text == "2h"
    assert chart.top_text.endswith(" ms")


def test_a_change_that_does_not_matter_looks_flat() -> None:
    chart = drift_chart(finding(200 * (1 + 0.01 * (AT - AT[0]) / 7200) + 0.1 * noise()))
    assert chart.fit is not None
    assert abs(chart.fit[1] - chart.fit[3]) < (BOTTOM - TOP) / 10
    assert chart.limit_y is None


def test_a_hole_is_left_open() -> None:
    kept = np.r_[0:40, 70:120]
    chart = drift_chart(finding(200 + noise()[kept], AT[kept]))
    assert [len(points(line)) for line in chart.lines] == [40, 50]


def test_where_nothing_can_be_told_only_the_course_is_drawn() -> None:
    hill = 200 * np.sin(np.pi * (AT - AT[0]) / 7200)  # no straight line, and no noise
    chart = drift_chart(finding(np.maximum(hill, 0)))
    assert (chart.fit, chart.fan) == (None, None)
    assert float(chart.bottom_text.split()[0]) == 0  # what never is below zero


def test_a_figure_that_is_always_zero_can_be_drawn() -> None:
    item = Watched(
        name="x", side=Side.HARNESS, at_s=tuple(AT), values=(0.0,) * 120, relative=False, matters=5
    )
    chart = drift_chart(assess([item]).findings[0])
    assert chart.bottom_text == "0"
    assert all(y == BOTTOM for _, y in points(chart.lines[0]))
