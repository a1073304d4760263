"""Axes stay readable at any range, and names in charts mean nothing."""

import math

import pytest
from bokeh.models import LogAxis
from hypothesis import given
from hypothesis import strategies as st

from harness.report.html.charts import MOST_LOG_TICKS, plain, tick_log, value_ticks


@given(st.floats(min_value=1e-3, max_value=1e6), st.floats(min_value=1.44, max_value=1e8))
def test_log_ticks_are_few_and_inside(lowest: float, factor: float) -> None:
    axis = LogAxis()
    tick_log(axis, lowest, lowest * factor)
    ticks = axis.ticker.ticks
    assert all(lowest <= tick <= lowest * factor for tick in ticks)
    assert 1 <= len(ticks) <= max(MOST_LOG_TICKS, math.log10(factor) + 1)


@pytest.mark.parametrize("name", ["<b>x</b>", "@{evil}", "$index", "a" * 200, "{{x}}"])
def test_names_lose_what_means_something_in_a_tooltip(name: str) -> None:
    assert not set(plain(name)) & set("<>@${}&\"'/")
    assert len(plain(name)) <= 40


def test_no_axis_needs_code_made_from_text() -> None:
    kinds = {type(value_ticks(unit)).__name__ for unit in ("ms", "s", "%", "", "/s")}
    assert kinds == {"PrintfTickFormatter", "NumeralTickFormatter"}
