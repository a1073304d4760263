"""Each request ends exactly once and says how; what was given up is known when it comes late."""

from harness.guest.inbox import REMEMBERED, Pending
from harness.measure.model import Outcome
from harness.measure.recorder import Recorder


def test_the_oldest_of_an_operation_ends_well_and_the_others_wait() -> None:
    recorder = Recorder()
    pending = Pending(recorder)
    for number in range(3):
        pending[f"id-{number}"] = ("resume" if number == 2 else "clear", 0, number)
    pending.finish("clear", 10, 11)
    pending.finish("join", 10, 11)  # there is none
    assert list(pending) == ["id-1", "id-2"]
    assert recorder.take().outcomes == {"clear": {Outcome.OK: 1}}


def test_only_messages_older_than_the_limit_are_given_up() -> None:
    recorder = Recorder()
    pending = Pending(recorder)
    pending["clear"] = ("clear", 0, 0)
    pending["old"] = ("delivered", 0, 0)
    pending["new"] = ("delivered", 0, 1 << 62)
    pending.give_up_older_than(1.0)
    assert list(pending) == ["clear", "new"]
    assert (pending.was_given_up("old"), pending.was_given_up("new")) == (True, False)
    assert recorder.take().outcomes == {"delivered": {Outcome.TIMEOUT: 1}}


def test_what_measures_nothing_leaves_no_sample() -> None:
    recorder = Recorder()
    pending = Pending(recorder)
    pending["typing"] = ("", 0, 0)
    pending.give_up(Outcome.LOST)
    assert not pending
    assert recorder.take().outcomes == {}


def test_memory_of_what_was_given_up_is_bounded() -> None:
    pending = Pending(Recorder())
    for number in range(REMEMBERED * 3):
        pending[str(number)] = ("delivered", 0, 0)
        pending.give_up(Outcome.TIMEOUT)
    remembered = sum(pending.was_given_up(str(number)) for number in range(REMEMBERED * 3))
    assert 0 < remembered <= REMEMBERED
