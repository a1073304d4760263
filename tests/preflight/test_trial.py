"""One guest's visit, and what it teaches: each planted at the simulator, and found."""

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from sessions import Simulated, terms_of

from harness.config.target import parse_target
from harness.guest.rest import exchange_sign_in
from harness.guest.settings import GuestSettings
from harness.ledger.reader import read_leftovers
from harness.preflight.checks import Status, check_visit, lessons
from harness.preflight.guard import Learned
from harness.preflight.trial import Patience, Trial, Turn, learn, try_one_guest

pytestmark = pytest.mark.process

SHORT = Patience(first_s=1.5, silence_s=0.5, turn_s=4.0)
BUBBLES = """
greeting = "Welcome"
[[answer]]
to = "."
say = ["One moment.", "Here it is."]
"""


def visit(world: Any, folder: Path, more: str = "", **how: Any) -> Trial:
    terms = terms_of(world.url, folder, more)
    return try_one_guest(terms, folder / "reports", patience=SHORT, **how)


def test_a_plain_flow(tmp_path: Path) -> None:
    with Simulated() as world:
        trial = visit(world, tmp_path)
        truth = world.simulator.truth()
    assert (truth["sessions"]["opened"], truth["sessions"]["cleared"]) == (1, 1)
    assert (truth["messages"]["texts"], truth["messages"]["replies"]) == (2, 2)
    assert check_visit(trial, replies=True).status is Status.OK
    found = learn(trial)
    assert (found["joined"], found["greets"], found["turn_messages"]) == (False, False, 1)
    assert found["turn_gap_s"] is None
    assert (found["id_form"], found["answered_by"]) == ("32 hexadecimal digits", "Bot")
    assert found["time_form"] == "ISO 8601, milliseconds, Z"
    assert 0 < found["clear_s"] < 5
    assert found["close_code"] == 1000
    assert trial.token not in repr(trial)


@pytest.mark.parametrize(
    ("script", "more", "greets", "greeting", "turn"),
    [
        (BUBBLES, "", False, 0, 2),
        (BUBBLES, "auto_join = true\n", True, 1, 2),
    ],
)
def test_greetings_and_turns(
    tmp_path: Path, script: str, more: str, greets: bool, greeting: int, turn: int
) -> None:
    (tmp_path / "bot.toml").write_text(script)
    with Simulated("--bot", "script", str(tmp_path / "bot.toml")) as world:
        found = learn(visit(world, tmp_path, more))
    assert (found["greets"], found["greeting_messages"], found["turn_messages"]) == (
        greets,
        greeting,
        turn,
    )


CHANGES_ITS_WORDS = """
greeting = "Welcome"
[[answer]]
to = "Hello"
say = ["One", "Two"]
hand_over = true
"""


def test_a_flow_that_says_something_else_each_time_leaves_it_open(tmp_path: Path) -> None:
    (tmp_path / "bot.toml").write_text(CHANGES_ITS_WORDS)
    options = ("--bot", "script", str(tmp_path / "bot.toml"), "--agents", "1")
    with Simulated(*options) as world:
        found = learn(visit(world, tmp_path))
    assert (found["greets"], found["greeting_messages"]) == (None, None)


def test_the_number_of_messages_alone_says_nothing_of_a_greeting(tmp_path: Path) -> None:
    """Now one message, now three: each of several seeds is told as it is, or not at all."""
    for seed in range(4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        bot = ("--bot", "lifelike", "--bot-delay", "20ms", "--bot-gap", "5ms")
        with Simulated(*bot, "--greeting-delay", "10ms", "--seed", str(seed)) as world:
            found = learn(visit(world, folder))
        assert found["greets"] in (True, None)
        assert found["greeting_messages"] in (1, None)
        assert 1 <= found["turn_messages"] <= 3


def test_times_are_those_that_were_planted(tmp_path: Path) -> None:
    with Simulated("--bot-delay", "300ms", "--fault", "delay_clear=1,seconds=0.4") as world:
        began_s = time.monotonic()
        found = learn(visit(world, tmp_path))
        # Besides two answers, a silence after each, and Clear.
        rest_s = time.monotonic() - began_s - 2 * (0.3 + SHORT.silence_s) - 0.4
    assert 0.29 < found["first_message_s"] <= found["last_message_s"] < 0.3 + rest_s
    assert 0.39 < found["clear_s"] < 0.4 + rest_s


def test_a_quick_one_says_one_text_and_leaves_with_the_first_answer(tmp_path: Path) -> None:
    with Simulated() as world:
        trial = visit(world, tmp_path, quick=True)
        assert world.simulator.truth()["messages"]["texts"] == 1
    assert trial.answered
    assert trial.ended
    assert "greets" not in learn(trial)


@pytest.mark.parametrize(("replies", "status"), [(None, "warn"), (False, "warn"), (True, "fail")])
def test_nobody_answers_at_night(tmp_path: Path, replies: bool | None, status: str) -> None:
    with Simulated("--bot", "off") as world:
        trial = visit(world, tmp_path)
    assert (trial.ended, trial.answered) == (True, False)
    assert check_visit(trial, replies=replies).status == status


def test_one_that_can_not_be_proved_ended_is_a_leftover(tmp_path: Path) -> None:
    with Simulated("--fault", "ignore_clear=1") as world:
        trial = visit(world, tmp_path)
        assert world.simulator.truth()["sessions"]["open"] == 1
    check = check_visit(trial, replies=None)
    assert check.status is Status.FAIL
    assert "harness sweep" in check.text
    assert len(list(read_leftovers(trial.directory))) == 1


def test_a_refused_text_is_told_in_the_services_words(tmp_path: Path) -> None:
    with Simulated("--deployment", "authentication=true") as world:
        trial = visit(world, tmp_path)
    check = check_visit(trial, replies=None)
    assert (trial.ended, check.status) == (True, Status.FAIL)
    assert "403: User is unauthorized" in check.text


def test_the_first_of_the_sign_ins_is_used(tmp_path: Path) -> None:
    with Simulated("--deployment", "authentication=true") as world:
        settings = GuestSettings(target=parse_target(world.url))
        jwts = [exchange_sign_in(settings, name, "https://shop.example") for name in ("a", "b")]
        (tmp_path / "jwts.txt").write_text("\n".join(jwts))
        trial = visit(world, tmp_path, f'sign_ins = "{tmp_path / "jwts.txt"}"\n', quick=True)
    assert (trial.ended, trial.answered, learn(trial)["signed_in"]) == (True, True, True)


@pytest.mark.parametrize(
    "body",
    [
        {"channel": "x", "originatingEntity": ["Bot"], "id": 7, "text": {"a": 1}},
        {"channel": ["x"], "originatingEntity": "\x1b[31mBot\u202e", "text": None},
        {"channel": {"time": 5}, "content": "x"},
    ],
)
def test_whatever_a_frame_holds_something_can_be_learnt_of_it(
    tmp_path: Path, body: dict[str, Any]
) -> None:
    trial = Trial(directory=tmp_path, token="t")
    frame = {"class": "StructuredMessage", "code": 200, "body": {"direction": "Outbound", **body}}
    for data in (b"x", b"[]", b"7", orjson.dumps(frame)):
        trial.on_frame(False, data, 1)
    trial.turns = [Turn(tuple(trial.frames), 0)] * 2
    learned = Learned(**learn(trial))
    assert learned.turn_messages == 1
    assert "\x1b" not in str([check.text for check in lessons(learned)]) + trial.reply


@pytest.mark.parametrize(("more", "status"), [("drop_frame=#2", Status.FAIL), ("", Status.WARN)])
def test_a_text_that_was_never_sent_back_is_no_passed_preflight(
    tmp_path: Path, more: str, status: Status
) -> None:
    faults = [part for fault in ("no_reply=1", more) if fault for part in ("--fault", fault)]
    with Simulated(*faults) as world:
        trial = visit(world, tmp_path, quick=True)
    check = check_visit(trial, replies=None)
    assert trial.ended
    assert check.status is status
    assert ("never sent its text back" in check.text) is bool(more)


def test_a_clear_that_was_refused_is_told_with_its_refusal(tmp_path: Path) -> None:
    with Simulated("--fault", "forbid_clear=1") as world:
        trial = visit(world, tmp_path, quick=True)
    check = check_visit(trial, replies=None)
    assert check.status is Status.FAIL
    assert "403" in check.text
    assert f"harness sweep {trial.directory}" in check.text


def test_a_connection_that_was_lost_on_the_way_is_told(tmp_path: Path) -> None:
    with Simulated("--fault", "cut=#1") as world:
        trial = visit(world, tmp_path)
    check = check_visit(trial, replies=None)
    assert (trial.ended, trial.reconnects, check.status) == (True, 1, Status.WARN)
    assert "its connection was lost and made again" in check.text
