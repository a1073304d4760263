"""A run whose load was not the one that was asked for is told so, and why."""

from dataclasses import replace
from typing import Any

import pytest

from harness.judge.validity import NOT_OFFERED, not_offered
from harness.measure.snapshot import Interval


def interval(ended_s: float, phase: str = "running") -> Interval:
    return Interval(
        worker="w",
        ended_s=ended_s,
        length_s=1.0,
        phase=phase,
        sessions={},
        arrivals={},
        outcomes={},
        counts={},
        process={},
    )


ALL = {"schedule": {"count": 600, "duration_s": 60.0}, "options": {"run_time_s": 62}, "slots": 20}
CLOSED = {"schedule": None, "options": {"run_time_s": 60}, "slots": 20}


def reasons(
    start: dict[str, Any],
    arrivals: dict[str, int],
    *judged: str,
    ran_s: int = 60,
    never_asked: dict[str, int] | None = None,
) -> list[str]:
    intervals = [interval(second) for second in range(1, ran_s)]
    intervals += [interval(ran_s, "finishing"), interval(ran_s + 1, "clearing")]
    sentences = not_offered(start, intervals, arrivals, judged, never_asked=never_asked or {})
    assert all(sentence.startswith(NOT_OFFERED) for sentence in sentences)
    return [sentence.removeprefix(NOT_OFFERED) for sentence in sentences]


@pytest.mark.parametrize("start", [ALL, CLOSED])
def test_a_run_as_it_was_asked_for_has_nothing_to_tell(start: dict[str, Any]) -> None:
    assert reasons(start, {"due": 600, "dropped": 3, "late": 3}) == []


def test_dropped_and_late_arrivals_are_told_with_their_cause() -> None:
    (sentence,) = reasons(ALL, {"due": 600, "dropped": 160, "late": 30, "no_slot": 190})
    assert "160 were dropped and 30 late, because no slot was free (190)" in sentence
    (sentence,) = reasons(ALL, {"due": 600, "dropped": 0, "late": 30, "no_slot": 2})
    assert "the generator itself" in sentence


def test_slots_that_never_asked_for_a_guest_are_told_and_no_more_slots_are_asked_for() -> None:
    arrivals = {"due": 24, "dropped": 15, "late": 0, "no_slot": 15}
    (sentence,) = reasons(ALL | {"schedule": None}, arrivals, never_asked={"B": 15})
    assert "15 of them because no slot of class B ever asked for a guest" in sentence
    assert "give the shape more" not in sentence
    (sentence,) = reasons(ALL | {"schedule": None}, arrivals, never_asked={"B": 9})
    assert "9 of them because no slot of class B ever asked for a guest" in sentence
    assert "the other 6, because no slot was free (6): give the shape more slots" in sentence


def test_arrivals_of_a_lost_process_are_not_put_down_to_a_late_generator() -> None:
    intervals = [interval(second) for second in range(1, 63)]
    arrivals = {"due": 42, "dropped": 17, "late": 0, "no_slot": 0}
    (sentence,) = not_offered(ALL | {"schedule": None}, intervals, arrivals, (), lost=17)
    assert "17 of them because the process that was to start them was gone" in sentence
    assert "late though" not in sentence
    arrivals |= {"dropped": 20, "no_slot": 3}
    (sentence,) = not_offered(ALL | {"schedule": None}, intervals, arrivals, (), lost=17)
    assert "was gone; the other 3, because no slot was free (3)" in sentence


def test_an_objective_decides_only_about_what_it_names() -> None:
    arrivals = {"due": 600, "dropped": 160, "late": 3, "no_slot": 163}
    assert reasons(ALL, arrivals, "dropped") == []
    assert len(reasons(ALL, arrivals, "late")) == 1


def test_slots_that_are_gone_are_told() -> None:
    assert reasons(CLOSED, {"due": 600, "slots_gone": 3}) == [
        "3 of 20 slots ended for good before the run did"
    ]


@pytest.mark.parametrize(
    ("more", "by"),
    [
        ({"stopped_by_hand": True}, "the schedule was cut by hand after 7s of 1m"),
        ({"options": {"run_time_s": 7}}, "the schedule was cut by the run time of 7s after 7s"),
        ({"stopped_for_window": "x"}, "cut because the target's window was about to close"),
        ({}, "the schedule was cut after 7s of 1m, when 70 of its 600 arrivals had come due"),
    ],
)
def test_a_cut_schedule_says_by_whom_and_how_far_it_came(more: dict[str, Any], by: str) -> None:
    (sentence,) = reasons(ALL | more, {"due": 70}, ran_s=7)
    assert by in sentence


@pytest.mark.parametrize("more", [{"aborted": ["x"]}, {"stopped_by_search": True}])
def test_what_an_objective_or_a_search_ends_was_not_cut(more: dict[str, Any]) -> None:
    assert reasons(ALL | more, {"due": 70}, ran_s=7) == []
    assert reasons(CLOSED | more, {"due": 70}, ran_s=7) == []


def test_a_schedule_that_drew_no_arrival_was_offered_as_a_whole() -> None:
    nobody = ALL | {"schedule": {"count": 0, "duration_s": 4.0}, "options": {"run_time_s": 6}}
    assert reasons(nobody, {}, ran_s=3) == []


def test_the_cap_is_told_with_the_second_in_which_it_was_reached() -> None:
    full = replace(interval(5.2), arrivals={"at_cap": 1})
    sentences = not_offered(
        CLOSED | {"cap": 400}, [interval(1), full], {"due": 400, "at_cap": 1}, ()
    )
    assert sentences == [
        f"{NOT_OFFERED}the cap of 400 sessions was reached at second 5; no guest came after that"
    ]


def test_slots_that_the_highest_rate_kept_empty_are_told() -> None:
    assert reasons(CLOSED, {"due": 60, "held_ms": 50_000}) == []  # to fill them at the start
    (sentence,) = reasons(CLOSED, {"due": 60, "held_ms": 900_000})
    assert sentence == (
        "the highest rate of the target (max_rate) or a master that did not answer held guests "
        "back: on average 15 of 20 slots stood empty for it"
    )


def test_a_closed_run_that_ends_before_its_time_was_cut_unless_its_rows_were_used_up() -> None:
    (sentence,) = reasons(CLOSED | {"stopped_by_hand": True}, {"due": 70}, ran_s=7)
    assert sentence == "the run was ended by hand after 7s of 1m"
    (sentence,) = reasons(CLOSED, {"due": 70}, ran_s=7)
    assert sentence == "guests could come for only 7s of 1m"
    assert reasons(CLOSED, {"due": 70, "slots_done": 20}, ran_s=7) == []


def test_a_closed_run_whose_first_and_last_interval_are_not_whole_was_not_cut() -> None:
    assert reasons(CLOSED, {"due": 70}, ran_s=59) == []
    assert reasons(CLOSED, {"due": 70}, ran_s=58) == []
    assert reasons(CLOSED, {"due": 70}, ran_s=57) != []


def test_what_was_due_in_a_pause_was_not_offered_unless_an_objective_says_how_much_may_be() -> None:
    arrivals = {"due": 600, "started": 590, "paused": 10}
    (sentence,) = reasons(ALL, arrivals, ran_s=62)
    assert sentence == "of 600 arrivals due, 10 fell into a pause of the run: no guest came"
    assert reasons(ALL, arrivals, "paused", ran_s=62) == []
    assert reasons(ALL, arrivals | {"paused": 6}, ran_s=62) == []


def test_a_closed_run_that_was_paused_did_not_offer_its_load_meanwhile() -> None:
    def told(start: dict[str, Any], paused: int) -> list[str]:
        phases = ["paused" if 20 <= second < 20 + paused else "running" for second in range(240)]
        intervals = [interval(second + 1.0, phase) for second, phase in enumerate(phases)]
        other = [replace(one, worker="v") for one in intervals]
        start = start | {"options": {"run_time_s": 240}}
        return not_offered(start, [*intervals, *other], {"due": 900, "started": 900}, ())

    assert told(CLOSED, 2) == []
    assert told(CLOSED, 12) == [
        f"{NOT_OFFERED}the run was paused for 12s of 4m: no guest came then"
    ]
    open_one = ALL | {"schedule": {"count": 900, "duration_s": 240.0}}
    assert told(open_one, 12) == []  # of these it is known what came due in it
