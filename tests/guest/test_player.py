"""Scripts played by a real guest against the simulator."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from guest_rig import Rig
from processes import Simulator
from script_texts import parse_script

from harness.errors import ReplyTimeout
from harness.guest.player import act
from harness.measure.model import Outcome
from harness.workload.data import NO_ROW, parse_table

pytestmark = pytest.mark.process

TABLE = parse_table("order,pattern\n4711,a.b\n", name="orders.csv")


def played(rig: Any, steps: str, folder: Path = Path()) -> dict[str, int]:
    """How often each operation ended well."""
    text = "within: 5s\nattributes: {tier: gold}\nscenarios:\n  A:\n" + steps
    script = parse_script(text, name="s", table=TABLE)
    rig.recorder.take()
    with rig.guest() as guest:
        act(guest, script, "A", row=TABLE.row(0), rng=Random(1), folder=folder)
    outcomes = rig.recorder.take().outcomes
    return {name: dict(found).get("ok", 0) for name, found in outcomes.items()}


def test_a_conversation_with_data_and_repeats(rig: Any) -> None:
    found = played(
        rig,
        "    - join\n"
        "    - waitForReplyMatching: '.'\n"
        "    - repeat: 3\n"
        "      steps:\n"
        "        - say: Where is {{order}}?\n"
        "        - waitForReplyMatching: '.'\n"
        "        - think: uniform(10ms, 20ms)\n"
        "    - typing: 10ms\n"
        "    - idle: 20ms\n",
    )
    kinds = ("join", "delivered", "greeting", "reply", "clear")
    assert [found[kind] for kind in kinds] == [1, 3, 1, 3, 1]
    assert rig.still_open() == set()


def test_a_drawn_text_is_waited_for_until_another_is_said(rig: Any) -> None:
    text = (
        "texts: {word: {size: short}}\nscenarios:\n  A:\n    - repeat: 6\n      steps:\n"
        "        - say: '{{word}} please'\n        - waitForReplyContaining: '{{word}} PLEASE'\n"
        "          within: 2s\n"
    )
    script, sets = parse_script(text, name="s"), {"word": ("apples", "pears", "plums")}
    with rig.guest() as guest:
        act(guest, script, "A", row=NO_ROW, rng=Random(3), folder=Path(), texts=sets)
        said = {m.text for m in guest.history() if m.direction == "Inbound"}
    assert rig.outcomes("reply") == {Outcome.OK: 6}
    assert said == {"apples please", "pears please", "plums please"}


def test_dropping_and_coming_back_with_and_without_being_told_to(rig: Any) -> None:
    found = played(
        rig,
        "    - say: One\n    - waitForReplyMatching: '.'\n    - drop\n    - reconnect\n"
        "    - say: Two\n    - waitForReplyMatching: '.'\n    - drop\n"
        "    - say: Three\n    - waitForReplyMatching: '.'\n",
    )
    assert (found["delivered"], found["reply"], found["resume"]) == (3, 3, 2)
    assert rig.still_open() == set()


DIALOGUE = """
fallback = "You said: {text}"
[[answer]]
to = "menu"
say = [
  "One moment.",
  {carousel = [{title = "Red", actions = [{type = "Postback", text = "Buy red", payload = "r"}]}]},
]
[[answer]]
to = "^r$"
say = {card = {title = "Bought:\\nred", actions = []}}
"""


def test_cards_are_replies_and_a_later_bubble_is_chosen_from(tmp_path: Path) -> None:
    (tmp_path / "bot.toml").write_text(DIALOGUE)
    simulator = Simulator("--limits", "off", "--bot", "script", str(tmp_path / "bot.toml"))
    rig = Rig(simulator, tmp_path)
    try:
        found = played(
            rig,
            "    - say: menu\n    - waitForReplyContaining: MOMENT\n    - idle: 200ms\n"
            "    - choose: Buy red\n    - waitForReplyMatching: ^RED$\n"
            "    - say: menu\n    - waitForReplyContaining: buy red\n    - choose: Buy red\n"
            "    - waitForReply\n",
        )
        assert (found["delivered"], found["reply"]) == (4, 4)
        assert rig.still_open() == set()
    finally:
        rig.ledger.close()
        simulator.stop()


def test_texts_of_the_foreign_tool_come_after_its_pause(rig: Any) -> None:
    steps = "scenarios:\n  A:\n    - say: One\n    - waitForReplyMatching: ^YOU\n    - say: Two\n"
    for config, pauses in (("", []), ("config: {deploymentId: x, region: y}\n", [2.0, 2.0])):
        script = parse_script(config + steps, name="s")
        with rig.guest() as guest:
            told = thoughts(guest)
            act(guest, script, "A", row=NO_ROW, rng=Random(1), folder=Path())
        assert told == pauses


def thoughts(guest: Any) -> list[float]:
    """How long the guest is told to think; it does not."""
    told: list[float] = []
    guest.think = told.append
    return told


def test_clear_ends_the_scenario(rig: Any) -> None:
    found = played(
        rig, "    - say: One\n    - waitForReplyMatching: '.'\n    - clear\n    - say: Two\n"
    )
    assert (found["delivered"], found["clear"]) == (1, 1)
    assert rig.still_open() == set()


def test_a_file_is_uploaded_and_said(rig: Any, tmp_path: Path) -> None:
    (tmp_path / "order.txt").write_text("one bicycle")
    found = played(rig, "    - say: Hello\n    - attach: order.txt\n    - idle: 50ms\n", tmp_path)
    assert (found["upload"], found["delivered"]) == (1, 2)


def test_a_reply_that_does_not_fit_times_out_and_the_session_is_cleared(rig: Any) -> None:
    # a column in a pattern is taken letter by letter: a.b does not match axb
    with pytest.raises(ReplyTimeout) as missed:
        played(
            rig, "    - say: axb\n    - waitForReplyMatching: '{{pattern}}'\n      within: 200ms\n"
        )
    assert missed.value.seen
    assert rig.still_open() == set()


def test_what_is_said_without_expecting_an_answer_is_no_question(rig: Any) -> None:
    found = played(
        rig, "    - say: hello\n    - waitForReply\n    - say: Bye\n      expectReply: false\n"
    )
    assert (found["delivered"], found["reply"]) == (2, 1)
