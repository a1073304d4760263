"""The drawing shows every level in its place, and what lies outside at its edge."""

from typing import Any

from harness.report.knee_chart import BOTTOM, LEFT, RIGHT, TOP, knee_chart

TONES = {"under": "good", "close": "near", "over": "bad"}


def level(rate: float, share: float | None, judged: str) -> dict[str, Any]:
    shares = None if share is None else [share * 0.8, share, share * 1.2]
    return {"rate_per_s": rate, "judged": judged, "of_limit": shares}


def test_points_lie_where_they_must() -> None:
    levels = [level(30, 40, "over"), level(10, 0.4, "under"), level(20, 1, "close")]
    chart = knee_chart(levels, TONES, low_per_s=19, high_per_s=21)
    assert chart is not None
    assert [point.tone for point in chart.points] == ["good", "near", "bad"]
    first, second, third = chart.points
    assert LEFT < first.x < second.x < third.x < RIGHT
    assert first.y > second.y == chart.limit_y > third.y == third.top == TOP
    assert first.top < first.y < first.bottom < BOTTOM
    assert chart.low_x is not None
    assert chart.high_x is not None
    assert chart.low_x < second.x < chart.high_x
    assert [tick.text for tick in chart.across] == ["0", "500", "1,000", "1,500"]


def test_too_little_is_no_drawing() -> None:
    one = [level(10, 0.5, "under"), level(20, None, "over")]
    assert knee_chart(one, TONES, low_per_s=None, high_per_s=None) is None


def test_an_open_answer_has_no_band() -> None:
    levels = [level(0.1, 0.4, "under"), level(0.2, 0.05, "under")]
    chart = knee_chart(levels, TONES, low_per_s=None, high_per_s=None)
    assert chart is not None
    assert (chart.low_x, chart.high_x) == (None, None)
    assert max(point.y for point in chart.points) == BOTTOM
