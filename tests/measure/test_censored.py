"""Percentiles over all that was tried, also what never came."""

from random import Random

import pytest

from harness.measure.histogram import Histogram
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.measure.snapshot import Figure, Tried, tried

MS = 1_000_000


def of(*values_ms: float) -> Histogram:
    histogram = Histogram()
    histogram.record_many_ns([int(value * MS) for value in values_ms])
    return histogram


def recorded(*samples: tuple[int, Outcome]) -> Tried:
    """Replies that took so many milliseconds, each due 10 ms before it was sent."""
    recorder = Recorder()
    for took_ms, outcome in samples:
        stamps = -10 * MS, 0, took_ms * MS, took_ms * MS
        recorder.add(Sample("reply", *stamps, outcome))
    taken = recorder.take()
    return tried("reply", taken.histograms, taken.outcomes["reply"], taken.counts)


def close(figure: Figure, ms: float, *, at_least: bool = False, unsure: bool = False) -> bool:
    assert figure.ms is not None
    return figure == Figure(pytest.approx(ms, rel=2e-3), at_least, unsure)  # type: ignore[arg-type]


def test_a_percentile_among_what_never_came_is_a_lower_bound() -> None:
    found = recorded(*[(100, Outcome.OK)] * 90, *[(2000, Outcome.TIMEOUT)] * 10)
    assert close(found.at(50), 100)
    assert close(found.at(90), 100)
    assert close(found.at(95), 2000, at_least=True)
    assert close(found.at(100), 2000, at_least=True)


def test_what_was_given_up_soon_is_no_quick_answer() -> None:
    found = recorded(*[(1000, Outcome.OK)] * 60, *[(5, Outcome.UNANSWERED)] * 40)
    assert close(found.at(50), 1000)
    assert found.at(95).at_least


def test_a_refusal_is_no_quick_one_either() -> None:
    found = recorded(*[(10, Outcome.OK)] * 50, *[(1, Outcome.REFUSED)] * 50)
    assert close(found.at(50), 10)
    assert found.at(51).at_least
    nothing = recorded(*[(1, Outcome.REFUSED)] * 5)
    assert nothing.at(50) == Figure(0.0, at_least=True)


def test_nothing_tried_is_nothing_known() -> None:
    assert Tried(bounds=Histogram()).at(95) == Figure(None)
    assert Tried(bounds=Histogram(), ambiguous=4).at(95) == Figure(None)


def test_what_the_end_cut_short_early_says_nothing() -> None:
    found = recorded(*[(100, Outcome.OK)] * 90, *[(50, Outcome.CUT_SHORT)] * 10)
    assert found.cut_early == 10
    assert close(found.at(50), 100)
    assert close(found.at(95), 100, unsure=True)
    assert close(found.at(100), 100)


def test_what_waited_longer_than_any_answer_took_was_not_answered() -> None:
    found = recorded(*[(100, Outcome.OK)] * 90, *[(9000, Outcome.CUT_SHORT)] * 10)
    assert (found.cut_early, found.without) == (0, 10)
    assert close(found.at(95), 9000, at_least=True, unsure=True)  # it may have come right then


def test_what_never_came_by_itself_is_a_miss_whatever_became_of_what_the_end_cut_short() -> None:
    late = [(9000, Outcome.CUT_SHORT)] * 5
    found = recorded(*[(100, Outcome.OK)] * 85, *late, *[(9500, Outcome.TIMEOUT)] * 10)
    assert close(found.at(88), 9000, at_least=True, unsure=True)
    assert close(found.at(95), 9500, at_least=True)


def test_a_share_that_never_came_is_a_miss_however_the_ambiguous_ones_came() -> None:
    sure = Tried(
        bounds=of(100, 100, 2000), censored=of(2000), outcomes={"ok": 4, "timeout": 1}, ambiguous=2
    )
    assert sure.at(95).at_least
    assert not sure.at(50).at_least


def test_corrected_figures_know_their_own_bounds() -> None:
    recorder = Recorder()
    recorder.add(Sample("reply", -500 * MS, 0, 100 * MS, 0))
    recorder.add(Sample("reply", -500 * MS, 0, 2000 * MS, 0, Outcome.TIMEOUT))
    taken = recorder.take()
    found = tried("reply", taken.histograms, taken.outcomes["reply"], taken.counts, corrected=True)
    assert close(found.at(50), 600)
    assert close(found.at(100), 2500, at_least=True)


@pytest.mark.parametrize("seed", range(20))
def test_a_figure_is_never_below_the_true_percentile(seed: int) -> None:
    """Each value is waited for up to some limit of its own; the true ones are known here."""
    rng = Random(seed)
    true_ms = [rng.lognormvariate(5, 1.2) for _ in range(200)]
    samples = []
    for value in true_ms:
        limit = rng.uniform(50, 1500)
        came = value <= limit
        samples.append((int(value if came else limit), Outcome.OK if came else Outcome.TIMEOUT))
    found = recorded(*samples)
    for percent in (50, 90, 95, 99, 100):
        figure = found.at(percent)
        truth = sorted(true_ms)[max(0, -(-percent * 200 // 100) - 1)]
        assert figure.ms is not None
        if figure.at_least:
            assert figure.ms <= truth * 1.01 + 1
        else:
            assert figure.ms >= truth * 0.99 - 2


def test_what_never_came_is_unsure_where_the_ambiguous_may_all_have_been_fast() -> None:
    bound = of(50)
    tried = Tried(bounds=bound, censored=bound, outcomes={"ok": 89, "unanswered": 1}, ambiguous=89)
    found = tried.at(95)
    assert (found.at_least, found.unsure) == (True, True)
    assert not tried.at(100).unsure  # one of ninety never came, whatever the others did
