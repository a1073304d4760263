"""Samples become outcomes and histograms, interval by interval."""

from harness.measure.model import Outcome, Sample
from harness.measure.recorder import LAG_ARRIVAL, LAG_LOOP, WARM_UP, Recorder

MS = 1_000_000


def test_an_answered_sample_gives_service_corrected_and_lag() -> None:
    recorder = Recorder()
    recorder.add(Sample("delivered", 0, 100 * MS, 150 * MS, 151 * MS))
    taken = recorder.take()
    assert abs((taken.histograms["delivered.service"].max_ms or 0) - 50) < 0.05
    assert abs((taken.histograms["delivered.corrected"].max_ms or 0) - 150) < 0.2
    assert abs((taken.histograms[LAG_ARRIVAL].max_ms or 0) - 1) < 0.01
    assert taken.outcomes["delivered"] == {Outcome.OK: 1}


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
    recorder.add_loop_lag(5)
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
