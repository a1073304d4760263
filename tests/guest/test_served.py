"""What becomes of guests and their stories, against the simulator."""

import contextlib
from pathlib import Path
from random import Random
from typing import Any

import gevent
import pytest
from guest_rig import Rig
from processes import Simulator
from script_texts import parse_script
from sessions import leave_open

from harness.clock import monotonic_ns
from harness.config.target import parse_target
from harness.errors import ConnectFailed, NotPossible, ReplyTimeout, ServiceError
from harness.guest.player import act
from harness.guest.questions import Listening, Questions
from harness.measure.model import Outcome
from harness.measure.recorder import (
    GUESTS_ARRIVED,
    GUESTS_ASKED_NOTHING,
    GUESTS_CUT,
    GUESTS_FAILED,
    GUESTS_SERVED,
    HEARD,
    LISTENED,
    QUESTIONS_AMBIGUOUS,
    STORIES_BEGUN,
    STORIES_BROKEN,
    STORIES_CUT,
    STORIES_FINISHED,
    Collected,
    Recorder,
    by_reason,
    cut_tag,
)
from harness.workload.data import NO_ROW

pytestmark = pytest.mark.process


def guests(taken: Collected) -> dict[str, int]:
    """By what became of them."""
    counts = taken.counts
    found = {"served": counts[GUESTS_SERVED], "cut": counts[GUESTS_CUT]}
    found |= by_reason(counts, GUESTS_FAILED)
    assert counts[GUESTS_ARRIVED] == sum(found.values())
    broken = by_reason(counts, STORIES_BROKEN)
    ended = counts[STORIES_FINISHED] + counts[STORIES_CUT] + sum(broken.values())
    assert counts[STORIES_BEGUN] == ended
    asked = sum(sum(taken.outcomes.get(one, {}).values()) for one in ("reply", "greeting"))
    assert counts["questions_asked"] == asked
    return {name: many for name, many in found.items() if many}


def test_a_session_that_the_service_does_not_call_new_is_counted_and_nothing_joins_it(
    rig: Any,
) -> None:
    (token,) = leave_open(rig.simulator, 1)
    with rig.guest(token=token, auto_join=True):
        pass
    taken = rig.taken()
    assert taken.counts["not_new"] == 1
    assert "join" not in taken.outcomes
    with rig.guest(auto_join=True):
        pass
    taken = rig.taken()
    assert taken.counts["not_new"] == 0
    assert taken.outcomes["join"] == {Outcome.OK: 1}


def test_a_guest_who_was_answered_and_cleared_is_served(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
        guest.say("bye", expect_reply=False)
    assert guests(rig.taken()) == {"served": 1}


def test_a_guest_who_asked_nothing_is_served_and_counted_as_such(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
    assert GUESTS_ASKED_NOTHING not in rig.taken().counts
    with rig.guest():
        pass
    with rig.guest() as guest:
        guest.join()
    with rig.guest(replies=False) as guest:  # where nobody is expected to answer
        guest.say("hello")
    taken = rig.taken()
    assert taken.counts[GUESTS_ASKED_NOTHING] == 2
    assert guests(taken) == {"served": 3}


def test_a_guest_whose_question_was_not_answered_is_not_served(rig: Any) -> None:
    rig.simulator.faults(no_reply=1)
    with rig.guest() as guest:
        guest.say("hello")
        guest.say("hello?")
    taken = rig.taken()
    assert taken.outcomes["reply"] == {Outcome.UNANSWERED: 2}
    assert guests(taken) == {"no_answer": 1}


def test_a_wait_in_vain_breaks_the_story_off_where_it_was(rig: Any) -> None:
    with pytest.raises(ReplyTimeout), rig.guest() as guest:
        guest.await_reply(within="0.1s")  # nothing was asked
    taken = rig.taken()
    (where,) = by_reason(taken.counts, STORIES_BROKEN)
    assert where.startswith("test_served.py, line ")
    assert where.endswith(": no reply in time")
    assert guests(taken) == {"broken_off": 1}


def test_a_wait_in_vain_is_a_miss_of_its_own_also_where_the_story_goes_on(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
        with contextlib.suppress(ReplyTimeout):
            guest.await_reply(containing="what never comes", within="0.1s")
    taken = rig.taken()
    assert taken.outcomes["reply"] == {Outcome.OK: 1}
    assert guests(taken) == {"no_answer": 1}


def test_an_answer_whose_end_was_waited_for_in_vain_is_a_miss(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        with contextlib.suppress(ReplyTimeout):
            guest.await_reply(turn=True, within="0.5s")  # half of the silence that ends a turn
    taken = rig.taken()
    assert taken.outcomes["reply"] == {Outcome.OK: 1}
    assert guests(taken) == {"no_answer": 1}


def test_an_error_answers_its_question(rig: Any) -> None:
    rig.simulator.faults(fail={"probability": 1, "at": "text"})
    with pytest.raises(ServiceError), rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
    taken = rig.taken()
    assert taken.outcomes["reply"] == {Outcome.SERVICE_ERROR: 1}
    assert guests(taken) == {"broken_off": 1}


def test_who_can_not_connect_has_opened_no_session(rig: Any) -> None:
    nowhere = parse_target(rig.simulator.url.replace("127.0.0.1", "127.0.0.2", 1))
    with pytest.raises(ConnectFailed), rig.guest(target=nowhere):
        pass
    taken = rig.taken()
    assert taken.outcomes["session_open"] == {Outcome.REFUSED: 1}
    assert guests(taken) == {"not_connected": 1}


def killed_after(rig: Any, seconds: float) -> Collected:
    """What was measured of a guest who is killed so long after its arrival."""

    def story() -> None:
        with rig.guest():
            pass

    greenlet = gevent.spawn(story)
    gevent.sleep(seconds)
    greenlet.kill()
    taken: Collected = rig.taken()
    return taken


def test_who_is_killed_while_it_connects_has_tried_to(rig: Any) -> None:
    rig.simulator.faults(slow_upgrade={"probability": 1, "seconds": 60})
    taken = killed_after(rig, 0.5)
    assert taken.outcomes["connect"] == {Outcome.CUT_SHORT: 1}
    assert taken.outcomes["session_open"] == {Outcome.CUT_SHORT: 1}
    for operation in ("connect", "session_open"):
        assert taken.histograms[cut_tag(operation)].count == 1
    assert guests(taken) == {"cut": 1}  # nobody knows how long it takes


def test_who_is_killed_while_it_connects_for_longer_than_any_did_is_not_served(rig: Any) -> None:
    with rig.guest():
        pass
    rig.taken()
    rig.simulator.faults(slow_upgrade={"probability": 1, "seconds": 60})
    taken = killed_after(rig, 2)
    assert taken.outcomes["connect"] == {Outcome.CUT_SHORT: 1}
    assert guests(taken) == {"not_connected": 1}


def test_who_is_killed_while_it_connects_no_longer_than_others_did_is_cut(rig: Any) -> None:
    rig.simulator.faults(slow_upgrade={"probability": 1, "seconds": 2})
    with rig.guest():
        pass
    rig.taken()
    taken = killed_after(rig, 0.5)
    assert guests(taken) == {"cut": 1}
    longest_ms = taken.histograms[cut_tag("session_open")].max_ms  # an opening takes a few
    assert longest_ms == 0.001  # the least that is recorded: its clock had not begun


def test_who_is_killed_while_it_opens_its_session_for_too_long_is_not_served(rig: Any) -> None:
    rig.simulator.faults(drop_frame={"nth": [1]})
    taken = killed_after(rig, 0.5)
    assert taken.outcomes["session_open"] == {Outcome.CUT_SHORT: 1}
    assert guests(taken) == {"cut": 1}
    rig.simulator.faults()
    with rig.guest():
        pass
    rig.taken()
    rig.simulator.faults(drop_frame={"nth": [1]})
    taken = killed_after(rig, 2)
    assert taken.outcomes["session_open"] == {Outcome.CUT_SHORT: 1}
    assert guests(taken) == {"not_configured": 1}


def test_who_is_killed_while_it_waits_for_a_health_check_for_too_long_is_not_served(
    rig: Any,
) -> None:
    def checking(seconds: float) -> Collected:
        def story() -> None:
            with rig.guest() as guest:
                guest.health_check(within="60s")

        greenlet = gevent.spawn(story)
        gevent.sleep(seconds)
        greenlet.kill()
        taken: Collected = rig.taken()
        return taken

    rig.simulator.faults(drop_frame={"nth": [2]})
    taken = checking(0.5)
    assert taken.outcomes["health_check"] == {Outcome.CUT_SHORT: 1}
    assert guests(taken) == {"cut": 1}  # nobody knows how long it takes
    rig.simulator.faults()
    assert guests(checking(0.5)) == {"served": 1}
    rig.simulator.faults(drop_frame={"nth": [2]})
    taken = checking(2)
    assert taken.outcomes["health_check"] == {Outcome.CUT_SHORT: 1}
    assert guests(taken) == {"no_answer": 1}


def cut_in_silence(rig: Any, *, after_s: float) -> None:
    """A guest who waits for an answer that never comes, when the run ends."""
    rig.simulator.faults(no_reply=1)

    def story() -> None:
        with rig.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="60s")

    greenlet = gevent.spawn(story)
    gevent.sleep(after_s)
    greenlet.kill()


def test_a_guest_who_is_killed_is_cut_and_so_is_its_question(rig: Any) -> None:
    cut_in_silence(rig, after_s=0.5)
    taken = rig.taken()
    assert taken.outcomes["reply"] == {Outcome.CUT_SHORT: 1}
    assert guests(taken) == {"cut": 1}


def test_a_guest_cut_while_it_waits_for_longer_than_any_answer_took_is_not_served(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
    cut_in_silence(rig, after_s=2)
    taken = rig.taken()
    assert taken.outcomes["reply"] == {Outcome.OK: 1, Outcome.CUT_SHORT: 1}
    assert taken.counts[STORIES_CUT] == 1
    assert guests(taken) == {"served": 1, "no_answer": 1}


def test_a_guest_cut_in_a_wait_only_a_little_longer_than_others_is_cut(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
    cut_in_silence(rig, after_s=0.5)
    assert guests(rig.taken()) == {"served": 1, "cut": 1}


def test_a_session_that_is_not_cleared_is_no_service(rig: Any) -> None:
    rig.simulator.faults(ignore_clear=1)
    with rig.guest():
        pass
    assert guests(rig.taken()) == {"not_cleared": 1}


def test_a_choice_that_is_not_offered_ends_that_story_and_says_where(rig: Any) -> None:
    script = parse_script(
        "scenarios:\n  A:\n    - say: hello\n    - waitForReplyContaining: hello\n"
        "    - choose: First\n",
        name="s",
    )
    with pytest.raises(NotPossible, match="First"), rig.guest() as guest:
        act(guest, script, "A", row=NO_ROW, rng=Random(1), folder=Path())
    where = by_reason(rig.taken().counts, STORIES_BROKEN)
    assert where == {"A, step 3: choose: the choice was not offered": 1}


def test_a_listening_guest_hears_the_answer_that_the_greeting_hid(tmp_path: Path) -> None:
    """A flow that greets on the first text: its greeting is taken for the answer."""
    flow = Simulator("--limits", "off", "--bot-greets", "text", "--bot-delay", "400ms")
    try:
        rig = Rig(flow, tmp_path)
        with rig.guest(listening=Listening()) as guest:
            guest.say("hello")
            guest.await_reply(within="5s")
        taken = rig.taken()
        assert (taken.counts[LISTENED], taken.counts[HEARD]) == (1, 1)
        with rig.guest(listening=Listening(), greets=True) as guest:
            began_ns = monotonic_ns()
            guest.say("hello")
            assert guest.await_reply(within="5s") == "You said: hello"  # and not the greeting
            took_ms = (monotonic_ns() - began_ns) / 1e6
        taken = rig.taken()
        assert (taken.counts[LISTENED], taken.counts[HEARD]) == (1, 0)
        assert taken.outcomes["greeting"] == taken.outcomes["reply"] == {Outcome.OK: 1}
        assert (taken.histograms["reply.service"].max_ms or 0) >= 399
        # The bot's 400 ms are no part of it, on a machine that stands still neither.
        assert 0 < taken.histograms["greeting.service"].max_ms < took_ms - 300
        rig.ledger.close()
    finally:
        flow.stop()


def test_the_first_guests_listen_and_then_one_in_twenty() -> None:
    listening = Listening()
    assert [listening.begins() for _ in range(20)] == [True] * 20
    assert sum(listening.begins() for _ in range(100)) == 5


def test_they_listen_for_as_long_as_an_answer_may_take() -> None:
    listening, recorder = Listening(), Recorder()
    questions = Questions(recorder, 1)
    listening.begins()
    assert listening.length_ns(recorder, questions) == 5_000_000_000
    listening.begins()
    assert listening.length_ns(recorder, questions) == 1_000_000_000
    recorder.add_ok("reply", 0, 0, 4_000_000_000, 4_000_000_000)
    assert listening.length_ns(recorder, questions) == 4_000_000_000
    recorder.add_ok("reply", 0, 0, 400_000_000_000, 400_000_000_000)
    assert listening.length_ns(recorder, questions) == 30_000_000_000


@pytest.mark.parametrize(("pattern", "sure"), [(".", False), ("You said", True)])
def test_a_wait_that_several_messages_fit_does_not_know_the_answer(
    tmp_path: Path, pattern: str, sure: bool
) -> None:
    """A greeting after 0 s and the answer after 100 ms: ``.`` is content with the greeting."""
    flow = Simulator("--limits", "off", "--bot-greets", "text", "--bot-delay", "100ms")
    try:
        rig = Rig(flow, tmp_path)
        with rig.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="5s", matching=pattern)
            guest.think("0.3s")
            guest.say("again")
            guest.await_reply(within="5s", matching=pattern)
        taken = rig.taken()
        assert taken.outcomes["reply"] == {Outcome.OK: 2}
        assert (taken.counts[QUESTIONS_AMBIGUOUS] == 0) is sure
    finally:
        flow.stop()


def test_an_abandoned_guest_is_counted_once(rig: Any) -> None:
    guest = rig.guest()
    guest.__enter__()
    guest.abandon()
    guest.abandon()
    guest.__exit__(None, None, None)
    counts = rig.taken().counts
    assert (counts["guests_cut"], counts["stories_cut"], counts["stories_finished"]) == (1, 1, 0)
    assert not rig.still_open()


def test_a_story_whose_own_time_is_over_was_not_cut_by_the_run(rig: Any) -> None:
    rig.simulator.faults(no_reply=1)
    with gevent.Timeout(0.3, False), rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
    rig.simulator.faults()
    taken = rig.taken()
    assert guests(taken) == {"broken_off": 1}
    assert taken.outcomes["reply"] == {Outcome.UNANSWERED: 1}
    (where,) = by_reason(taken.counts, STORIES_BROKEN)
    assert where.startswith("test_served.py, line ")
    assert where.endswith(": the locustfile's own time limit was over")


def test_a_story_that_the_locustfile_kills_was_not_cut_by_the_run(rig: Any) -> None:
    def story(run_kills: bool) -> None:
        with rig.guest(run_kills=lambda: run_kills) as guest:
            guest.say("hello")
            guest.await_reply(within="5s")

    rig.simulator.faults(no_reply=1)
    for run_kills, expected, ended in (
        (False, "broken_off", Outcome.UNANSWERED),
        (True, "cut", Outcome.CUT_SHORT),
    ):
        telling = gevent.spawn(story, run_kills)
        telling.join(0.3)
        telling.kill()
        taken = rig.taken()
        assert guests(taken) == {expected: 1}
        assert taken.outcomes["reply"] == {ended: 1}
    rig.simulator.faults()
