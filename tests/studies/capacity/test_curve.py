"""The curve shows every level in its place, and what lies outside at its edge."""

import re

from harness.report.html.charts import HIGH, WIDE
from harness.studies.capacity.answer import knee_chart

POINT = re.compile(
    r'<g class="point (\w+)"><path class="whisker" d="M([\d.]+) ([\d.]+)V([\d.]+)"/>'
    r'<path class="dot" d="M([\d.]+) ([\d.]+)h0"/></g>'
)


def level(load: float, share: float, tone: str) -> tuple[float, tuple[float, ...], str]:
    return load, (share * 0.8, share, share * 1.2), tone


def test_points_lie_where_they_must() -> None:
    levels = [level(600, 0.4, "good"), level(1200, 1, "near"), level(1800, 40, "bad")]
    chart = knee_chart(levels, band=(1140, 1260))
    points = [(tone, *map(float, rest)) for tone, *rest in POINT.findall(chart.shapes)]
    assert [point[0] for point in points] == ["good", "near", "bad"]
    first, second, third = points
    assert 0 < first[4] < second[4] < third[4] < WIDE
    assert HIGH > first[5] > second[5] > third[5] == third[3] == 0
    for _, x, bottom, top, at, middle in points:
        assert x == at
        assert bottom >= middle >= top
    [limit] = re.findall(r'class="limit" d="M0 ([\d.]+)H', chart.shapes)
    assert float(limit) == second[5]
    [left, wide] = re.findall(r'class="answer"[^>]* d="M([\d.]+) [\d.]+h([\d.]+)', chart.shapes)[0]
    assert float(left) < second[4] < float(left) + float(wide)
    assert [tick.text for tick in chart.across] == ["0", "500", "1,000", "1,500"]


def test_a_large_load_is_written_out() -> None:
    chart = knee_chart([level(500, 0.5, "good"), level(16000, 2, "bad")], band=None)
    assert chart.across[-1].text == "15,000"


def test_an_open_answer_has_no_band() -> None:
    chart = knee_chart([level(6, 0.4, "good"), level(12, 0.05, "good")], band=None)
    assert "answer" not in chart.shapes
    assert max(float(point[5]) for point in POINT.findall(chart.shapes)) == HIGH
