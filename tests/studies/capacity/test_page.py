"""The page says the answer first, and escapes what comes from outside."""

from typing import Any

from harness.report.html import page as html
from harness.studies.capacity.answer import capacity_page


def render(answer: dict[str, Any]) -> str:
    return html.render(capacity_page(answer))


def answer(**changes: Any) -> dict[str, Any]:
    level = {
        "rate_per_s": 6.0,
        "judged": "under",
        "reason": "",
        "figures": {"reply p95 < 500ms": "310 ms (290 to 330)"},
        "occupancy": 24.0,
        "replies_per_s": 18.0,
        "session_s": 4.0,
        "run": "level-01/x",
    }
    over = {**level, "rate_per_s": 7.0, "judged": "over", "reason": "reply p95 <b>: 700 ms"}
    return {
        "by": "rate",
        "found": "knee",
        "answer": "360 to 420 guests/min (95 %)",
        "low": 360.0,
        "high": 420.0,
        "centre": 389.0,
        "broke_first": "reply p95 <b>: 700 ms",
        "headroom": 0.2,
        "wanted": 300.0,
        "assumes": [],
        "could_not_tell": [],
        "fits": {
            name: {"why_not": "too few levels"} for name in ("scalability", "queueing", "little")
        },
        "levels": [over, level],
        "minutes": 3.25,
        "directory": "reports/capacity-1",
        **changes,
    }


def test_the_answer_comes_first_and_markup_is_escaped() -> None:
    html = render(answer())
    assert "<h1>360 to 420 guests/min (95 %)</h1>" in html
    assert "reply p95 &lt;b&gt;: 700 ms" in html
    assert "<b>:" not in html
    assert "+20 %" in html
    assert html.index(">360<") < html.index(">420<")
    assert "http://" not in html
    assert "https://" not in html


def test_what_it_could_not_tell_stands_on_the_page() -> None:
    texts = {
        "answer": "so far between 1 and 2 guests/min",
        "assumes": ["nothing <i>"],
        "could_not_tell": ["whether <i>"],
    }
    html = render(answer(found="searching", headroom=None, **texts))
    assert "<h1>So far between 1 and 2 guests/min</h1>" in html
    assert "whether &lt;i&gt;" in html
    assert "nothing &lt;i&gt;" in html


def test_what_was_held_again_and_what_became_of_a_level_is_told() -> None:
    levels = [{**one, "again": True, "note": "got better"} for one in answer()["levels"]]
    html = render(answer(found="changed", levels=levels))
    assert "did not hold at the end" in html
    assert html.count(", held again") == html.count("(got better)") == 2


def test_the_curve_is_drawn_where_levels_have_figures() -> None:
    assert '<div class="box">' not in render(answer())
    levels = [
        {**level, "of_limit": shares}
        for level, shares in zip(
            answer()["levels"], ([1.2, 1.4, 1.6], [0.5, 0.6, 0.7]), strict=True
        )
    ]
    html = render(answer(levels=levels))
    assert html.count('class="dot"') == 2
    assert "the limit" in html
    assert "Most likely it is 389 a minute." in html
    assert "300 guests a minute" in html


def test_the_objective_is_told_in_plain_words() -> None:
    html = render(answer(broke_first="reply p95 < 500ms: 700 ms (600 to 800)"))
    assert "no longer holds: 95 of 100 replies in under 500ms (reply p95 &lt; 500ms)." in html


def test_a_search_by_occupancy_speaks_of_guests_at_once() -> None:
    level = {**answer()["levels"][1], "occupancy": 119.4, "arrivals_per_s": 21.0}
    levels = [
        {**level, "guests": 120.0, "of_limit": [0.5, 0.6, 0.7]},
        {**level, "guests": 130.0, "judged": "over", "of_limit": [1.2, 1.4, 1.6]},
    ]
    html = render(
        answer(
            by="occupancy",
            answer="120 to 130 guests at once (95 %)",
            low=120.0,
            high=130.0,
            centre=124.0,
            wanted=100.0,
            levels=levels,
        )
    )
    assert "<h1>120 to 130 guests at once (95 %)</h1>" in html
    assert "So many guests may be in session before" in html
    assert "Most likely it is 124." in html
    assert "100 guests at once" in html
    assert "new guests a minute at the highest level that was met</dt><dd>1,260" in html
    assert '<th role="rowheader" scope="row">120</th>' in html
    assert "a minute before" not in html
    assert "guests/min" not in html


def test_what_the_levels_say_together_stands_below() -> None:
    fits = {
        "scalability": {"why_not": "takes 6 different levels"},
        "queueing": {"says": "4 workers <b>", "doubts": ["only 3 levels"]},
        "little": {"says": "holds"},
    }
    html = render(answer(fits=fits))
    assert html.index("Every level") < html.index("What the levels say together")
    assert "4 workers &lt;b&gt;" in html
    assert "In doubt: only 3 levels." in html
    assert "takes 6 different levels" in html


def test_an_empty_search_is_shown_too() -> None:
    html = render(answer(found="searching", levels=[], headroom=None))
    assert "<h1>360 to 420 guests/min (95 %)</h1>" in html
