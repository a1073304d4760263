"""What counts as the reply, and what a message offers to choose from."""

from random import Random
from typing import Any

import pytest

from harness.clock import monotonic_ns
from harness.errors import ConfigError
from harness.guest.questions import (
    Questions,
    condition,
    offering,
    offers,
    readable,
    shown,
)
from harness.measure.model import Outcome
from harness.measure.recorder import Recorder
from harness.protocol.codec import Message, _message


def message(**body: Any) -> Message:
    return _message({}, {"direction": "Outbound", "type": "Text", **body})


MS = 1_000_000
SECOND = 1_000_000_000


def asked_and(recorder: Recorder | None = None) -> tuple[Questions, Recorder]:
    recorder = recorder or Recorder()
    return Questions(recorder, SECOND), recorder


def ended(questions: Questions, recorder: Recorder) -> tuple[dict[Outcome, int], int, list[int]]:
    """Outcomes of the replies, how many are ambiguous, and the times of the others in ms."""
    questions.close(monotonic_ns(), Outcome.UNANSWERED)
    questions.end()
    taken = recorder.take()
    outcomes = dict(taken.outcomes.get("reply", {}))
    greetings = sum(taken.outcomes.get("greeting", {}).values())
    assert taken.counts["questions_asked"] == sum(outcomes.values()) + greetings
    times = taken.histograms.get("reply.service")
    late = taken.histograms.get("reply.censored")
    shown = [] if times is None else list(times.buckets_us())
    if late is not None and times is not None:
        shown = list(times.without(late).buckets_us())
    values = [round(value / 1000) for value, many in shown for _ in range(many)]
    return outcomes, taken.counts["replies_ambiguous"], values


def test_one_open_question_is_answered_exactly() -> None:
    questions, recorder = asked_and()
    for second in range(3):
        questions.ask("reply", second * SECOND, second * SECOND)
        questions.take_in(second * SECOND + 500 * MS, 0)
    assert ended(questions, recorder) == ({Outcome.OK: 3}, 0, [500, 500, 500])


def test_of_two_open_questions_the_oldest_is_answered_and_nothing_is_sure() -> None:
    questions, recorder = asked_and()
    questions.ask("reply", 0, 0)
    questions.ask("reply", SECOND, SECOND)
    questions.take_in(2 * SECOND, 0)
    assert ended(questions, recorder) == ({Outcome.OK: 1, Outcome.UNANSWERED: 1}, 1, [])


def test_a_greeting_that_may_come_makes_the_first_answer_ambiguous() -> None:
    questions, recorder = asked_and()
    questions.may_answer("greeting", 0, 0)
    questions.ask("reply", 500 * MS, 500 * MS)
    questions.take_in(1000 * MS, 0)
    questions.take_in(1500 * MS, 0)  # one of the two was the greeting
    questions.ask("reply", 2 * SECOND, 2 * SECOND)
    questions.take_in(3 * SECOND, 0)
    questions.close(0, Outcome.UNANSWERED)
    questions.end()
    taken = recorder.take()
    assert taken.outcomes["reply"] == {Outcome.OK: 2}
    assert taken.outcomes["greeting"] == {Outcome.OK: 1}
    assert (taken.counts["replies_ambiguous"], taken.counts["questions_ambiguous"]) == (1, 2)
    assert "greeting.service" not in taken.histograms
    assert taken.histograms["reply.service"].max_ms == pytest.approx(1000, rel=1e-3)


def test_a_greeting_that_is_known_to_come_comes_first() -> None:
    questions, recorder = asked_and()
    questions.ask("greeting", 0, 0)
    questions.ask("reply", 0, 0)
    questions.take_in(50 * MS, 0)
    questions.take_in(3000 * MS, 0)
    assert ended(questions, recorder) == ({Outcome.OK: 1}, 0, [3000])


def test_a_further_message_makes_the_answer_before_it_ambiguous() -> None:
    questions, recorder = asked_and()
    questions.ask("reply", 0, 0)
    questions.take_in(1000 * MS, 0)
    questions.take_in(1200 * MS, 0)
    questions.ask("reply", 1300 * MS, 1300 * MS)  # too soon: more may be on its way
    questions.take_in(1400 * MS, 0)
    questions.ask("reply", 9000 * MS, 9000 * MS)
    questions.take_in(9700 * MS, 0)
    assert ended(questions, recorder) == ({Outcome.OK: 3}, 2, [700])


def test_a_story_that_waits_for_the_turn_knows_the_reply_and_the_whole() -> None:
    questions, recorder = asked_and()
    question = questions.ask("reply", 0, 0)
    assert questions.wait_for(content=False, turn=True) is question
    questions.take_in(1000 * MS, 0)
    questions.take_in(2000 * MS, 0)
    questions.end_turn(question)
    questions.close(0, Outcome.UNANSWERED)
    questions.end()
    taken = recorder.take()
    assert taken.histograms["reply.service"].max_ms == pytest.approx(1000, rel=1e-3)
    assert taken.histograms["turn.service"].max_ms == pytest.approx(2000, rel=1e-3)


def test_a_late_answer_belongs_to_the_question_that_timed_out() -> None:
    questions, recorder = asked_and()
    questions.ask("reply", 0, 0)
    questions.end_wait(2 * SECOND)
    questions.take_in(3 * SECOND, 0)
    questions.ask("reply", 4 * SECOND, 4 * SECOND)
    questions.take_in(5 * SECOND, 0)
    assert ended(questions, recorder) == ({Outcome.TIMEOUT: 1, Outcome.OK: 1}, 0, [1000])


def test_what_may_be_a_late_answer_is_no_exact_one_to_the_next_question() -> None:
    questions, recorder = asked_and()
    questions.ask("reply", 0, 0)
    questions.end_wait(2 * SECOND)
    questions.ask("reply", 3 * SECOND, 3 * SECOND)
    questions.take_in(3050 * MS, 0)
    questions.take_in(6 * SECOND, 0)
    assert ended(questions, recorder) == ({Outcome.TIMEOUT: 1, Outcome.OK: 1}, 1, [])


def test_certain_words_are_an_exact_answer_to_the_newest_question() -> None:
    questions, recorder = asked_and()
    questions.ask("reply", 0, 0)
    questions.ask("reply", SECOND, SECOND)
    questions.wait_for(content=True, turn=False)
    thought = questions.take_in(3 * SECOND, 0)
    questions.answer_by_content(3 * SECOND, 0, thought)
    outcomes, ambiguous, values = ended(questions, recorder)
    assert (outcomes, ambiguous) == ({Outcome.OK: 1, Outcome.UNANSWERED: 1}, 0)
    assert values == [pytest.approx(2000, rel=1e-3)]


def test_a_message_without_the_words_is_no_answer() -> None:
    questions, recorder = asked_and()
    questions.ask("reply", 0, 0)
    questions.wait_for(content=True, turn=False)
    questions.take_in(SECOND, 0)
    questions.end_wait(2 * SECOND)
    assert ended(questions, recorder) == ({Outcome.TIMEOUT: 1}, 0, [])


def test_an_error_answers_its_own_question_and_what_expects_nothing_is_none() -> None:
    questions, recorder = asked_and()
    questions.ask("reply", 0, 1)
    questions.ask("reply", 0, 2)
    questions.fail(1, 3, 3, Outcome.RATE_LIMITED)
    questions.take_in(4 * MS, 0)
    questions.may_answer("reply", 5 * MS, 5 * MS)
    questions.take_in(6 * MS, 0)
    outcomes, ambiguous, _ = ended(questions, recorder)
    assert (outcomes, ambiguous) == ({Outcome.RATE_LIMITED: 1, Outcome.OK: 1}, 0)


def test_what_nothing_explains_is_heard_after_the_story() -> None:
    questions, recorder = asked_and()
    questions.ask("reply", 0, 0)
    questions.take_in(50 * MS, 0)
    questions.close(0, Outcome.UNANSWERED)
    questions.take_in(3 * SECOND, 0)
    assert questions.unexplained == 1
    assert ended(questions, recorder) == ({Outcome.OK: 1}, 1, [])


def test_a_message_that_came_before_the_question_answers_nothing_of_it() -> None:
    questions, recorder = asked_and()
    questions.ask("reply", 0, 0)
    questions.take_in(500 * MS, 0)
    questions.ask("reply", SECOND, SECOND)
    questions.take_in(900 * MS, 0)  # read late
    questions.take_in(1100 * MS, 0)  # perhaps a third of the kind
    assert ended(questions, recorder) == ({Outcome.OK: 2}, 1, [500])


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_each_question_ends_exactly_once(seed: int) -> None:
    rng = Random(seed)
    questions, recorder = asked_and()
    now = 0
    sent: list[int] = []
    for _ in range(200):
        now += rng.randrange(2 * SECOND)
        match rng.randrange(9):
            case 0 | 1 | 2:
                questions.ask(rng.choice(("reply", "greeting")), now, now)
                sent.append(now)
            case 3:
                questions.may_answer(rng.choice(("reply", "greeting")), now, now)
            case 4 | 5:
                thought = questions.take_in(now, now)
                if rng.random() < 0.3:
                    questions.answer_by_content(now, now, thought)
            case 6:
                questions.wait_for(content=rng.random() < 0.5, turn=rng.random() < 0.5)
            case 7:
                questions.end_wait(now, greeting=rng.random() < 0.3)
            case 8 if sent:
                questions.fail(rng.choice(sent), now, now, Outcome.SERVICE_ERROR)
    ended(questions, recorder)
    assert not questions.open
    assert not recorder.talking


def test_conditions() -> None:
    assert condition("order", None)(message(text="Your order is here"))
    assert condition("order", None)(message(text="Order"))
    assert not condition("order", None)(message(text="An offer"))
    assert not condition(None, "order")(message(text="Order"))
    assert condition(None, r"order \\d+$".replace("\\\\", "\\"))(message(text="order 17"))
    assert condition(None, None) is None
    with pytest.raises(ConfigError, match=r"matching='\('"):
        condition(None, "(")


CARDS = {
    "content": [
        {
            "contentType": "Carousel",
            "carousel": {
                "cards": [
                    {"title": "Red bicycle", "actions": [{"type": "Postback", "text": "Buy it"}]},
                    {"title": "Blue bicycle", "description": "Sold\nout", "actions": []},
                ]
            },
        }
    ]
}


def test_titles_and_choices_count_as_text() -> None:
    cards = message(**CARDS)
    assert readable(cards) == "Red bicycle\nBuy it\nBlue bicycle\nSold\nout"
    assert condition("blue BICYCLE", None)(cards)
    assert condition(None, "(?m)^Buy it$")(cards)
    assert not condition("green", None)(cards)
    assert shown(cards).startswith("'Red bicycle")
    assert condition("straße", None)(message(text="STRAßE"))
    assert not condition("strasse", None)(message(text="straße"))  # as ovotech's tool


def test_the_newest_message_that_offers_it_is_chosen_from() -> None:
    def one(text: str, payload: str) -> Message:
        quick = {"text": text, "payload": payload}
        return message(content=[{"contentType": "QuickReply", "quickReply": quick}])

    newest = (message(text="Well?"), one("Yes", "new"), one("Yes", "old"))
    assert offering(newest, "Yes") == (newest[1], {"Yes": ("new", "QuickReply", False)})
    assert offering((*newest, one("No", "n")), "Maybe") == (
        None,
        {"Yes": ("old", "QuickReply", False), "No": ("n", "QuickReply", False)},
    )


def test_what_was_seen_is_shown_short() -> None:
    assert shown(message(text="x" * 100)) == repr("x" * 59 + "…")


def test_offers_of_quick_replies_cards_carousels_and_date_pickers() -> None:
    card = {
        "title": "A",
        "actions": [
            {"type": "Postback", "text": "Buy", "payload": "buy-1"},
            {"type": "Link", "text": "Read", "url": "https://example.com"},
        ],
    }
    content = [
        {"contentType": "QuickReply", "quickReply": {"text": "Yes", "payload": "y"}},
        {"contentType": "QuickReply", "quickReply": {"text": "No"}},
        {"contentType": "Card", "card": card},
        {"contentType": "DatePicker", "datePicker": {"availableTimes": [{"dateTime": "T1"}]}},
        {"contentType": "Carousel", "carousel": {"cards": [{"actions": None}, 7]}},
        {"card": {"actions": 7}, "datePicker": {"availableTimes": 7}, "listPicker": []},
        {"listPicker": {"sections": [{"items": True}]}},
        "nonsense",
    ]
    assert offers(message(content=content)) == {
        "Yes": ("y", "QuickReply", False),
        "No": ("No", "QuickReply", False),
        "Buy": ("buy-1", "Button", False),
        "T1": ("T1", "DatePicker", True),
    }
