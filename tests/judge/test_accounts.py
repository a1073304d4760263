"""The accounts of questions, stories and guests as a record holds them."""

from harness.judge.objective import parse_objective
from harness.judge.record import guests_block, objectives_of, questions_block, stories_block
from harness.judge.validity import not_judged, unbalanced
from harness.measure.recorder import (
    GUESTS_ARRIVED,
    GUESTS_CUT,
    GUESTS_FAILED,
    GUESTS_SERVED,
    HEARD,
    LISTENED,
    QUESTION_MESSAGES,
    QUESTIONS_AMBIGUOUS,
    QUESTIONS_ASKED,
    STORIES_BEGUN,
    STORIES_BROKEN,
    STORIES_FINISHED,
)

OUTCOMES = {
    "reply": {"ok": 80, "timeout": 5, "unanswered": 4, "cut_short": 3, "rate_limited": 2},
    "greeting": {"ok": 9, "lost": 1},
    "delivered": {"ok": 99},
}


def test_each_question_is_in_one_class() -> None:
    found = questions_block(OUTCOMES, {QUESTIONS_ASKED: 104, QUESTION_MESSAGES: 89})
    ways = ("answered", "timed_out", "unanswered", "cut_short", "failed", "lost")
    assert [found[way] for way in ways] == [89, 5, 4, 3, 2, 1]
    assert (found["open"], found["messages_per_question"]) == (0, 1.0)
    assert found["advice"] == found["doubtful_because"] == ""


def test_the_record_says_what_to_do_about_answers_that_do_not_match() -> None:
    found = questions_block(OUTCOMES, {QUESTION_MESSAGES: 178, QUESTIONS_AMBIGUOUS: 2})
    assert "2.00 messages" in found["advice"]
    assert "--greets" in found["advice"]
    in_turns = {"reply": {"ok": 80}, "turn": {"ok": 80}}
    assert questions_block(in_turns, {QUESTION_MESSAGES: 160})["advice"] == ""
    unsure = {QUESTION_MESSAGES: 160, QUESTIONS_AMBIGUOUS: 8}
    assert "a longer --turn-silence" in questions_block(in_turns, unsure)["advice"]
    assert "--turn-silence" not in questions_block(OUTCOMES, unsure)["advice"]
    found = questions_block(OUTCOMES, {LISTENED: 20, HEARD: 3})
    assert found["doubtful_because"].startswith("3 of 20 guests")


def test_guests_and_stories_by_what_became_of_them() -> None:
    counts = {
        GUESTS_ARRIVED: 10,
        GUESTS_SERVED: 6,
        f"{GUESTS_FAILED}not_connected": 1,
        f"{GUESTS_FAILED}broken_off": 2,
        GUESTS_CUT: 1,
        STORIES_BEGUN: 9,
        STORIES_FINISHED: 6,
        f"{STORIES_BROKEN}a.py, line 3: no reply in time": 2,
    }
    guests, stories = guests_block(counts), stories_block(counts)
    assert guests == {
        "arrived": 10,
        "served": 6,
        "failed": 3,
        "cut": 1,
        "asked_nothing": 0,
        "why": {"not_connected": 1, "broken_off": 2},
    }
    assert stories["where"] == [{"step": "a.py, line 3: no reply in time", "count": 2}]
    record = {"questions": questions_block({}, {}), "stories": stories, "guests": guests}
    assert unbalanced(record) == [
        "the account of stories does not add up: 9 begun, 8 ended",
    ]


def test_errors_that_no_objective_looks_at_are_told() -> None:
    operations = {
        "connect": {"count": 50, "outcomes": {"ok": 27, "refused": 23}},
        "delivered": {"count": 9, "outcomes": {"ok": 9}},
        "reply": {"count": 4, "outcomes": {"ok": 2, "timeout": 2}},
        "turn": {"count": 4, "outcomes": {"ok": 1, "unanswered": 3}},
        "resume": {"count": 5, "outcomes": {"ok": 4, "rate_limited": 1}},
        "join": {"count": 6, "outcomes": {"ok": 4, "forbidden": 2}},
        "health_check": {"count": 3, "outcomes": {"timeout": 2, "lost": 1}},
        "upload": {"count": 2, "outcomes": {"ok": 1, "cut_short": 1}, "cut_early": 1},
        "history": {"count": 2, "outcomes": {"ok": 1, "protocol": 1}},
    }
    objectives = [parse_objective(one) for one in ("reply errors < 1%", "connect p95 < 1s")]
    assert not_judged(operations, objectives) == [
        "23 of 50 connects failed (refused 23)",
        "2 of 6 joins failed (forbidden 2)",
        "3 of 4 whole answers failed (unanswered 3)",
        "1 of 5 resumptions of a session failed (rate_limited 1)",
        "3 of 3 health checks failed (timeout 2, lost 1)",
        "1 of 2 requests for the history failed (protocol 1)",
    ]


def test_an_objective_on_guests_takes_the_place_of_the_usual_one() -> None:
    assert objectives_of(["reply p95 < 5s"]) == (
        "leftovers == 0",
        "guests failed < 1%",
        "reply p95 < 5s",
    )
    assert objectives_of(["guests failed < 20%"]) == ("leftovers == 0", "guests failed < 20%")
