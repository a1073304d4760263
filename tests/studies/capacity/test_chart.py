"""The drawing shows every level in its place, and what lies outside at its edge."""

from harness.studies.capacity.page import BOTTOM, LEFT, RIGHT, TOP, Measured, knee_chart


def level(load: float, share: float, tone: str) -> Measured:
    return Measured(load=load, of_limit=(share * 0.8, share, share * 1.2), tone=tone)


def test_points_lie_where_they_must() -> None:
    levels = [level(1800, 40, "bad"), level(600, 0.4, "good"), level(1200, 1, "near")]
    chart = knee_chart(levels, low=1140, high=1260)
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


def test_a_large_load_is_written_out() -> None:
    chart = knee_chart([level(500, 0.5, "good"), level(16000, 2, "bad")], low=None, high=None)
    assert chart is not None
    assert [tick.text for tick in chart.across][-1] == "15,000"


def test_too_little_is_no_drawing() -> None:
    assert knee_chart([level(600, 0.5, "good")], low=None, high=None) is None


def test_an_open_answer_has_no_band() -> None:
    chart = knee_chart([level(6, 0.4, "good"), level(12, 0.05, "good")], low=None, high=None)
    assert chart is not None
    assert (chart.low_x, chart.high_x) == (None, None)
    assert max(point.y for point in chart.points) == BOTTOM
