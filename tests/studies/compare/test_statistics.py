"""Equal runs are not called different more often than stated; a planted slowdown is found."""

from collections import Counter

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.measure.statistics import Buckets
from harness.studies.compare.statistics import Change, Rules, Word, compare_runs, compare_shares

SECONDS = 300
Blocks = list[Buckets]


def rounded(values: np.ndarray) -> Buckets:
    """As a histogram with three significant digits keeps them."""
    scale = 10 ** (np.floor(np.log10(values)) - 2)
    return list(Counter((np.round(values / scale) * scale).tolist()).items())


def one_run(
    rng: np.random.Generator, factor: float = 1.0, spells: float = 0.006
) -> dict[str, Blocks]:
    """Two operations over five minutes; the service has slow spells of some ten seconds."""
    level = np.zeros(SECONDS)
    for i in range(1, SECONDS):
        level[i] = 0.9 * level[i - 1] + spells * rng.normal()
    run = {}
    for name, median in (("delivered", 0.03), ("reply", 0.8)):
        run[name] = [
            rounded(median * factor * np.exp(level[i] + 0.4 * rng.normal(size=rng.poisson(40))))
            for i in range(SECONDS)
        ]
    return run


def words(changes: list[Change]) -> set[Word]:
    return {change.word for change in changes}


@pytest.mark.rates
@pytest.mark.parametrize("spells", [0.0, pytest.param(0.02, marks=pytest.mark.long)])
def test_equal_runs_are_called_different_at_most_as_often_as_stated(spells: float) -> None:
    rng = np.random.default_rng(1)
    pairs = 16
    false = 0
    for _ in range(pairs):
        changes = compare_runs(one_run(rng, spells=spells), one_run(rng, spells=spells))
        false += bool(words(changes) & {Word.FASTER, Word.SLOWER})
    assert false <= 4  # 5 or more of 16 at a rate of 5 % has p = 0.001


@pytest.mark.rates
def test_a_planted_slowdown_of_five_per_cent_is_found() -> None:
    rng = np.random.default_rng(2)
    for _ in range(8):
        changes = compare_runs(one_run(rng), one_run(rng, 1.05))
        assert Word.SLOWER in words(changes)
        assert Word.FASTER not in words(changes)


def test_a_planted_speedup_is_called_faster_and_its_interval_encloses_it() -> None:
    rng = np.random.default_rng(3)
    changes = compare_runs(one_run(rng), one_run(rng, 0.9))
    assert Word.FASTER in words(changes)
    for change in changes:
        assert change.low is not None
        assert change.high is not None
        assert change.low < -0.1 < change.high
        assert change.low <= (change.change or 0) <= change.high


@pytest.mark.rates
def test_the_intervals_enclose_the_planted_change_as_often_as_stated() -> None:
    rng = np.random.default_rng(4)
    rules = Rules(confidence=0.95)
    inside = 0
    for _ in range(50):
        factor = float(rng.uniform(0.9, 1.1))
        changes = compare_runs(one_run(rng), one_run(rng, factor), rules=rules)
        inside += all((c.low or 0) <= factor - 1 <= (c.high or 0) for c in changes)
    # All figures of a comparison at once. Fewer than 40 of 50 has p = 3e-5 where 95 % is true
    # (binomial), and is seen with 92 % where it is 70 %.
    assert inside >= 40


def test_short_noisy_runs_cannot_tell_and_long_equal_ones_see_no_difference() -> None:
    rng = np.random.default_rng(5)
    short = {"reply": one_run(rng)["reply"][:20]}, {"reply": one_run(rng)["reply"][:20]}
    assert words(compare_runs(*short, percentiles=[99.0])) == {Word.UNKNOWN}
    same = compare_runs(one_run(rng), one_run(rng), percentiles=[50.0])
    assert words(same) == {Word.SAME}


def test_what_cannot_be_compared_says_why() -> None:
    rng = np.random.default_rng(6)
    full = one_run(rng)
    (gone,) = compare_runs({"reply": full["reply"]}, {}, percentiles=[50.0])
    assert gone.word is Word.UNKNOWN
    assert gone.note == "the new run has 0 values; p50 needs 20"
    few = {"reply": full["reply"][:3]}
    (brief,) = compare_runs(few, few, percentiles=[50.0])
    assert brief.note == "the base has 3 intervals with values; it needs 8"
    (tail,) = compare_runs(full, full, percentiles=[99.99])[:1]
    assert tail.note.endswith("p99.99 needs 100000")


def test_tiny_but_certain_changes_are_nothing() -> None:
    base: Blocks = [[(1000.0 + i % 3, 50)] for i in range(60)]
    new: Blocks = [[(1004.0 + i % 3, 50)] for i in range(60)]
    (change,) = compare_runs({"clear": base}, {"clear": new}, percentiles=[50.0])
    assert change.word is Word.SAME
    assert "taken as nothing" in change.note


def test_a_change_too_small_to_be_measured_is_nothing_whatever_share_it_is() -> None:
    quick: Blocks = [[(0.001 + i % 3 / 10_000, 50)] for i in range(60)]
    slower: Blocks = [[(0.18 + i % 3 / 10_000, 50)] for i in range(60)]
    (change,) = compare_runs({"x": quick}, {"x": slower}, percentiles=[50.0])
    assert change.word is Word.SLOWER
    (change,) = compare_runs(
        {"x": quick}, {"x": slower}, percentiles=[50.0], rules=Rules(least=0.5)
    )
    assert change.word is Word.SAME
    far: Blocks = [[(0.8 + i % 3 / 10_000, 50)] for i in range(60)]
    (change,) = compare_runs({"x": quick}, {"x": far}, percentiles=[50.0], rules=Rules(least=0.5))
    assert change.word is Word.SLOWER


@pytest.mark.slow
def test_a_known_spread_from_day_to_day_widens_the_interval() -> None:
    rng = np.random.default_rng(7)
    base, new = one_run(rng), one_run(rng, 1.06)
    assert Word.SLOWER in words(compare_runs(base, new))
    spread = Rules(between_runs=0.05)
    assert words(compare_runs(base, new, rules=spread)) == {Word.UNKNOWN}


def test_the_same_runs_give_the_same_intervals() -> None:
    rng = np.random.default_rng(8)
    base, new = one_run(rng), one_run(rng)
    assert compare_runs(base, new) == compare_runs(base, new)


@pytest.mark.parametrize(
    ("base", "new", "word"),
    [
        ((10, 10_000), (10, 10_000), "no difference seen"),
        ((0, 10_000), (0, 10_000), "no difference seen"),
        ((10, 10_000), (200, 10_000), "more"),
        ((200, 10_000), (10, 10_000), "fewer"),
        ((0, 20), (0, 20), "cannot tell"),
        ((0, 0), (3, 20), "cannot tell"),
    ],
)
def test_shares(base: tuple[int, int], new: tuple[int, int], word: str) -> None:
    assert compare_shares([base], [new]).word == word


def test_newcombes_published_example() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table II: 56/70 against 48/80,
    # method 10: 0.0524 to 0.3339
    change = compare_shares([(48, 80)], [(56, 70)])
    assert change.low == pytest.approx(0.0524, abs=5e-5)
    assert change.high == pytest.approx(0.3339, abs=5e-5)


def bursts(rng: np.random.Generator, factor: float = 1.0) -> list[tuple[int, int]]:
    """An hour by the minute, in which errors come in bursts of half a minute's attempts."""
    return [
        (int(rng.binomial(100, 0.5)) if rng.random() < 0.05 * factor else 0, 100) for _ in range(60)
    ]


def test_errors_in_bursts_make_no_false_word() -> None:
    rng = np.random.default_rng(11)
    pairs = [compare_shares(bursts(rng), bursts(rng)).word for _ in range(100)]
    assert sum(word in ("more", "fewer") for word in pairs) <= 10  # 11 at 5 % has p = 0.01
    plain = [
        compare_shares(
            [tuple(map(sum, zip(*bursts(rng), strict=True)))],
            [tuple(map(sum, zip(*bursts(rng), strict=True)))],
        ).word
        for _ in range(100)
    ]
    assert sum(word in ("more", "fewer") for word in plain) > 40  # as if they came alone
    words = [compare_shares(bursts(rng), bursts(rng, 8)).word for _ in range(20)]
    assert words.count("more") >= 15


def spread_run(rng: np.random.Generator, spread: float, factor: float = 1.0) -> dict[str, Blocks]:
    return one_run(rng, factor * float(np.exp(spread * rng.normal())))


@pytest.mark.long
def test_several_base_runs_show_how_much_runs_differ() -> None:
    """Runs that differ by 3 % anyway: with one base every third pair gets a word."""
    rng = np.random.default_rng(12)
    false = 0
    for _ in range(20):
        bases = [spread_run(rng, 0.03) for _ in range(4)]
        changes = compare_runs(bases, spread_run(rng, 0.03), percentiles=[50.0, 95.0])
        false += bool(words(changes) & {Word.FASTER, Word.SLOWER})
    assert false <= 3  # 4 of 20 at 5 % has p = 0.016
    slower = 0
    for _ in range(10):
        bases = [spread_run(rng, 0.01) for _ in range(4)]
        changes = compare_runs(bases, spread_run(rng, 0.01, 1.1), percentiles=[50.0, 95.0])
        slower += Word.SLOWER in words(changes)
    assert slower >= 8


def test_the_gate_asks_how_much_worse_it_may_be() -> None:
    rng = np.random.default_rng(13)
    named = [("reply", 50.0)]
    for change in compare_runs(one_run(rng), one_run(rng), named=named):
        if (change.name, change.percent) != ("reply", 50.0):
            assert change.worst is None
            continue
        assert change.worst is not None
        assert change.high is not None
        assert (change.change or 0) < change.worst < change.high


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: Rules(confidence=1.0),
        lambda: Rules(negligible=0.1, matters=0.05),
        lambda: Rules(between_runs=-1),
        lambda: Rules(least=-1),
        lambda: compare_shares([(3, 2)], [(1, 2)]),
        lambda: compare_runs({"a": [[(1.0, -2)]]}, {}),
        lambda: compare_runs({"a": [[(float("inf"), 2)]]}, {}),
    ],
)
def test_nonsense_is_refused(nonsense: object) -> None:
    assert callable(nonsense)
    with pytest.raises(ConfigError):
        nonsense()
