"""Samples become outcomes and histograms, interval by interval."""

from harness.measure.model import Outcome, Question, Sample, Wait
from harness.measure.recorder import (
    ARRIVAL_LATENESS,
    LAG_ARRIVAL,
    LAG_LOOP,
    PLACES,
    SESSION_CUT,
    SESSION_LENGTH,
    WARM_UP,
    Recorder,
)
from harness.measure.snapshot import ambiguous

MS = 1_000_000


def test_an_answered_sample_gives_service_corrected_and_lag() -> None:
    recorder = Recorder()
    recorder.add(Sample("delivered", 0, 100 * MS, 150 * MS, 151 * MS))
    taken = recorder.take()
    assert abs((taken.histograms["delivered.service"].max_ms or 0) - 50) < 0.05
    assert abs((taken.histograms["delivered.corrected"].max_ms or 0) - 150) < 0.2
    assert abs((taken.histograms[LAG_ARRIVAL].max_ms or 0) - 1) < 0.01
    assert taken.outcomes["delivered"] == {Outcome.OK: 1}


def test_an_answer_that_was_stamped_before_its_request_has_the_time_at_which_it_was_seen() -> None:
    recorder = Recorder()
    recorder.add(Sample("delivered", 90 * MS, 100 * MS, 40 * MS, 150 * MS))
    taken = recorder.take()
    assert abs((taken.histograms["delivered.service"].max_ms or 0) - 50) < 0.05
    assert abs((taken.histograms["delivered.corrected"].max_ms or 0) - 60) < 0.06


def test_a_timeout_counts_with_the_time_that_was_waited_and_a_refusal_with_none() -> None:
    recorder = Recorder()
    recorder.add(Sample("reply", 0, 0, 20_000 * MS, 20_000 * MS, Outcome.TIMEOUT))
    recorder.add(Sample("reply", 0, 0, 1 * MS, 1 * MS, Outcome.REFUSED))
    taken = recorder.take()
    assert taken.histograms["reply.service"].count == 1
    assert LAG_ARRIVAL not in taken.histograms
    assert taken.outcomes["reply"] == {Outcome.TIMEOUT: 1, Outcome.REFUSED: 1}


def test_each_interval_starts_empty() -> None:
    recorder = Recorder()
    recorder.count("late")
    recorder.add_duration(LAG_LOOP, 5)
    recorder.add_phase("tcp", 3 * MS)
    first, second = recorder.take(), recorder.take()
    assert (first.counts["late"], first.histograms[LAG_LOOP].count) == (1, 1)
    assert first.histograms["tcp.service"].count == 1
    assert (second.histograms, second.outcomes, second.counts) == ({}, {}, {})


def test_the_counts_that_rise_with_each_message_are_taken_like_the_others() -> None:
    recorder = Recorder()
    recorder.frames_expected += 3
    recorder.replies_received += 2
    assert recorder.take().counts == {"expected": 3, "replies_received": 2}
    assert recorder.take().counts == {}


def test_what_began_in_the_warm_up_is_apart_wherever_it_ended() -> None:
    recorder = Recorder()
    recorder.judged_from_ns = 100 * MS
    recorder.add(Sample("reply", 0, 99 * MS, 500 * MS, 500 * MS))
    recorder.add(Sample("reply", 0, 99 * MS, 900 * MS, 900 * MS, Outcome.TIMEOUT))
    recorder.add(Sample("reply", 0, 100 * MS, 300 * MS, 300 * MS))
    taken = recorder.take()
    assert taken.outcomes["reply"] == {Outcome.OK: 1}
    assert taken.outcomes[f"{WARM_UP}reply"] == {Outcome.OK: 1, Outcome.TIMEOUT: 1}
    assert taken.histograms[f"{WARM_UP}reply.service"].count == 2


def answered(operation: str = "reply", *, sent_ns: int = 100 * MS) -> Question:
    """A question, due at once, whose answer took 50 ms."""
    question = Question(operation, 0, sent_ns)
    question.arrived_ns, question.seen_ns = sent_ns + 50 * MS, sent_ns + 51 * MS
    question.messages = 1
    return question


def test_a_question_whose_answer_is_sure_has_its_time() -> None:
    recorder = Recorder()
    recorder.questions_asked += 1
    recorder.add_answered(answered())
    taken = recorder.take()
    assert taken.outcomes["reply"] == {Outcome.OK: 1}
    assert abs((taken.histograms["reply.service"].max_ms or 0) - 50) < 0.05
    assert abs((taken.histograms["reply.corrected"].max_ms or 0) - 150) < 0.2
    assert taken.counts == {"questions_asked": 1, "question_messages": 1}


def test_an_answer_that_may_be_another_questions_is_counted_and_has_no_time() -> None:
    recorder = Recorder()
    for operation in ("reply", "greeting"):
        question = answered(operation)
        question.content = Wait.MET
        assert question.exact
        question.doubt()
        recorder.add_answered(question)
    several = answered()
    several.messages = 2  # which of them was the answer?
    recorder.add_answered(several)
    taken = recorder.take()
    assert taken.histograms == {}
    assert taken.outcomes == {"reply": {Outcome.OK: 2}, "greeting": {Outcome.OK: 1}}
    assert (taken.counts["questions_ambiguous"], taken.counts["replies_ambiguous"]) == (3, 2)


def test_an_ambiguous_answer_of_the_warm_up_is_nobodys_doubt() -> None:
    recorder = Recorder()
    recorder.judged_from_ns = 200 * MS
    question = answered()
    question.ambiguous = True
    recorder.add_answered(question)
    taken = recorder.take()
    assert taken.outcomes == {f"{WARM_UP}reply": {Outcome.OK: 1}}
    assert "questions_ambiguous" not in taken.counts


def test_a_turn_whose_end_may_be_anothers_is_counted_and_has_no_time() -> None:
    recorder = Recorder()
    for content in (Wait.NONE, Wait.MET):  # that the answer is known by its words says nothing
        question = answered()
        question.turn, question.content, question.ambiguous = Wait.MET, content, True
        recorder.add_answered(question)
    taken = recorder.take()
    assert taken.outcomes["turn"] == {Outcome.OK: 2}
    assert "turn.service" not in taken.histograms
    assert ambiguous("turn", taken.counts) == 2


def test_a_whole_turn_lasts_until_its_last_message() -> None:
    recorder = Recorder()
    question = answered()
    question.messages, question.turn, question.last = 3, Wait.MET, (400 * MS, 400 * MS)
    recorder.add_answered(question)
    taken = recorder.take()
    assert abs((taken.histograms["reply.service"].max_ms or 0) - 50) < 0.05
    assert abs((taken.histograms["turn.service"].max_ms or 0) - 300) < 0.3


def test_places_beyond_the_first_share_a_name() -> None:
    recorder = Recorder()
    for number in range(PLACES + 3):
        recorder.count_place("error at ", f"line {number}")
    recorder.count_place("error at ", "line 0")
    counts = recorder.take().counts
    assert (counts["error at line 0"], counts["error at elsewhere"]) == (2, 3)
    assert sum(counts.values()) == PLACES + 4


def test_lengths_that_the_end_of_the_run_cut_are_apart() -> None:
    recorder = Recorder()
    recorder.add_duration(ARRIVAL_LATENESS, 2 * MS)
    recorder.add_duration(SESSION_LENGTH, 30_000 * MS)
    recorder.add_duration(SESSION_CUT, 10_000 * MS)
    found = {tag: histogram.count for tag, histogram in recorder.take().histograms.items()}
    assert sorted(found.values()) == [1, 1, 1]
    assert len(found) == 3
