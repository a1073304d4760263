"""What counts as the reply, and what a message offers to choose from."""

from typing import Any

import pytest

from harness.errors import ConfigError
from harness.guest.inbox import Arrived
from harness.guest.questions import (
    Question,
    anything,
    condition,
    offering,
    offers,
    readable,
    shown,
)
from harness.measure.recorder import Recorder
from harness.measure.sample import Outcome
from harness.protocol.codec import _message
from harness.protocol.events import Message


def message(**body: Any) -> Message:
    return _message({}, {"direction": "Outbound", "type": "Text", **body})


def test_the_first_reply_after_the_question_is_its_answer() -> None:
    recorder = Recorder()
    question = Question(recorder)
    question.ask(5, 10)
    question.answer(Arrived(message(text="too early"), 9, 9))
    question.ask(15, 20)
    question.answer(Arrived(message(text="yes"), 30, 31))
    question.answer(Arrived(message(text="and more"), 40, 41))
    question.time_out()
    question.ask(50, 50)
    question.asked = None
    question.time_out()
    question.ask(60, 60)
    question.time_out()
    assert recorder.take().outcomes["reply"] == {Outcome.OK: 1, Outcome.TIMEOUT: 1}


def test_conditions() -> None:
    assert condition("order", None)(message(text="Your order is here"))
    assert condition("order", None)(message(text="Order"))
    assert not condition("order", None)(message(text="An offer"))
    assert not condition(None, "order")(message(text="Order"))
    assert condition(None, r"order \\d+$".replace("\\\\", "\\"))(message(text="order 17"))
    assert condition(None, None) is anything
    assert not anything(message(type="Event"))
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
    assert anything(cards)
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
        "nonsense",
    ]
    assert offers(message(content=content)) == {
        "Yes": ("y", "QuickReply", False),
        "No": ("No", "QuickReply", False),
        "Buy": ("buy-1", "Button", False),
        "T1": ("T1", "DatePicker", True),
    }
