"""The answer in one unit, with the other quantity beside it.

What the levels say together is held against a planted service; what does not apply is said.
"""

import io
from math import inf
from typing import Any

import pytest
from rich.console import Console

from harness.studies.capacity.answer import as_dict, fits_of, sentences, show
from harness.studies.capacity.search import CHANGED, Answer, AnswerKind, Quantity
from harness.studies.queueing import Queue


def answer(**changes: Any) -> Answer:
    usual = {
        "kind": AnswerKind.KNEE, "low": 20.0, "high": 22.0, "centre": 21.0, "broke_first": "reply",
        "levels": 2, "minutes": 3.0,
    }  # fmt: skip
    return Answer(**{**usual, **changes})


LEVEL = {"judged": "under", "occupancy": 80.0, "arrivals_per_s": 20.0, "session_s": 4.0}


def test_rates_are_told_per_minute() -> None:
    levels = [{**LEVEL, "rate_per_s": 20.0}, {**LEVEL, "rate_per_s": 24.0, "occupancy": 99}]
    facts = as_dict(Quantity.RATE, answer(), levels, wanted=10.0, directory="d")
    assert (facts["by"], facts["unit"]) == ("rate", "guests/min")
    assert (facts["low"], facts["high"], facts["centre"]) == (1200, 1320, 1260)
    assert (facts["wanted"], facts["headroom"]) == (600, 1)
    assert set(facts["fits"]) == {"scalability", "queueing", "little"}
    assert facts["at_the_highest_met"] == {
        "occupancy": 80,
        "arrivals_per_minute": 1200,
        "session_s": 4,
    }


def test_an_occupancy_is_told_as_it_is_with_the_arrivals_beside_it() -> None:
    levels = [{**LEVEL, "guests": 20.0}]
    facts = as_dict(Quantity.OCCUPANCY, answer(), levels, wanted=40.0, directory="d")
    assert (facts["unit"], facts["low"], facts["high"]) == ("guests at once", 20, 22)
    assert facts["headroom"] == -0.5
    assert facts["at_the_highest_met"]["arrivals_per_minute"] == 1200
    assert "guests/min" not in str({**facts, "levels": [], "fits": {}})


def test_what_was_not_found_is_left_open() -> None:
    nothing = answer(kind=AnswerKind.UNCLEAR, low=0.0, high=inf, centre=None)
    facts = as_dict(Quantity.OCCUPANCY, nothing, [], wanted=40.0, directory="d")
    assert (facts["high"], facts["centre"], facts["headroom"]) == (None, None, None)
    assert facts["at_the_highest_met"]["occupancy"] is None


def test_one_form_says_the_answer_and_what_is_open() -> None:
    levels = [{**LEVEL, "rate_per_s": 20.0, "note": "was still getting better"}]
    sure = as_dict(Quantity.RATE, answer(), levels, wanted=None, directory="d")
    assert (sure["answer"], sure["confidence"]) == ("1,200 to 1,320 guests/min (95 %)", 0.95)
    assert "The level of 1,200 guests/min was still getting better." in sure["could_not_tell"]
    assert any("no level has been held again" in text for text in sure["could_not_tell"])
    moved = answer(kind=AnswerKind.CHANGED, centre=None, doubts=(CHANGED,))
    open_ = as_dict(Quantity.RATE, moved, levels, wanted=None, directory="d")
    assert open_["answer"] == (
        "between 1,200 and 1,320 guests/min: the service changed during the search"
    )
    assert open_["confidence"] is None
    assert open_["could_not_tell"][0].startswith("A level that was held again at the end")


def test_only_what_a_level_missed_has_broken() -> None:
    console = Console(file=io.StringIO(), width=200)
    nothing = answer(kind=AnswerKind.UNCLEAR, low=0.0, high=inf, centre=None)
    for final in (answer(), nothing):
        shown = as_dict(Quantity.RATE, final, [], wanted=None, directory="d")
        show(Quantity.RATE, final, shown, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert printed.count("broke first  reply") == 1
    assert printed.count("undecided  reply") == 1


LIMIT_MS = 250.0
WORKERS, SERVICE_S, TEXTS = 4, 0.05, 2


def level(load: float, **changes: Any) -> dict[str, Any]:
    """A level of an M/M/4 queue; ``load`` is a share of what it can do."""
    replies_per_s = load * WORKERS / SERVICE_S
    queue = Queue(arrivals_per_s=replies_per_s, service_s=SERVICE_S, servers=WORKERS)
    share = queue.response_percentile_s(90) * 1000 / LIMIT_MS
    usual = {
        "judged": "under" if share < 1 else "over",
        "rate_per_s": replies_per_s / TEXTS,
        "arrivals_per_s": replies_per_s / TEXTS,
        "replies_per_s": replies_per_s,
        "occupancy": replies_per_s / TEXTS * 0.9,
        "of_limit": (share * 0.98, share, share * 1.02),
        "nearest": "reply p90 < 250ms",
        "little_off": load / 100,
    }
    return {**usual, **changes}


LEVELS = [level(load) for load in (0.2, 0.4, 0.6, 0.75, 0.85, 0.9)]


def test_a_planted_queue_predicts_the_limit() -> None:
    fit = fits_of(Quantity.RATE, LEVELS)["queueing"]
    assert (fit["servers"], fit["doubts"]) == (WORKERS, [])
    assert fit["service_s"] == pytest.approx(SERVICE_S, rel=0.01)
    knee = fit["predicted"] * TEXTS / 60
    assert Queue(arrivals_per_s=knee, service_s=SERVICE_S, servers=WORKERS).response_percentile_s(
        90
    ) == pytest.approx(LIMIT_MS / 1000, rel=0.01)
    assert fit["says"].startswith("4 workers of 50ms an answer would reach the limit at 2,0")
    assert all(abs(one["off"]) < 0.02 for one in fit["levels"])


def test_the_scalability_law_comes_with_residuals_and_doubts() -> None:
    levels = [
        level(0.5, occupancy=float(n), replies_per_s=10 * n / (1 + 0.02 * (n - 1)))
        for n in (1, 2, 4, 8, 16, 32)
    ]
    fit = fits_of(Quantity.OCCUPANCY, levels)["scalability"]
    assert fit["sigma"] == pytest.approx(0.02, abs=1e-4)
    assert fit["lambda"] == pytest.approx(10, rel=1e-3)
    assert len(fit["levels"]) == 6
    assert max(abs(one["off"]) for one in fit["levels"]) < 1e-3
    few = fits_of(Quantity.OCCUPANCY, levels[:5])["scalability"]
    assert few == {"why_not": "needs 6 different levels, there are 5"}


def test_littles_law_is_told_level_by_level() -> None:
    fit = fits_of(Quantity.RATE, LEVELS)["little"]
    assert (fit["checked"], fit["worst_off"]) == (6, pytest.approx(0.009))
    assert fit["says"].endswith("on 6 of 6 levels, to within 0.9%")
    assert "why_not" in fits_of(Quantity.RATE, [level(0.5, little_off=None)])["little"]


@pytest.mark.parametrize(
    ("by", "levels", "why"),
    [
        (Quantity.OCCUPANCY, LEVELS, "a closed workload"),
        (Quantity.RATE, LEVELS[:2], "needs three levels in balance, there are 2"),
        (Quantity.RATE, [], "needs one percentile"),
        (Quantity.RATE, [level(0.5, nearest="session_open errors < 1%")], "needs one percentile"),
        (Quantity.RATE, [level(0.5, nearest="reply corrected p90 < 250ms")], "service time"),
        (Quantity.RATE, [*LEVELS, level(0.5, nearest="reply p50 < 250ms")], "needs one percentile"),
    ],
)
def test_a_queue_that_does_not_apply(by: Quantity, levels: list[dict[str, Any]], why: str) -> None:
    assert why in fits_of(by, levels)["queueing"]["why_not"]


def test_levels_at_which_the_generator_was_the_limit_do_not_count() -> None:
    spoiled = [level(0.95, judged="inconclusive", of_limit=(9, 9, 9))]
    assert fits_of(Quantity.RATE, [*LEVELS, *spoiled])["queueing"]["doubts"] == []


def test_everything_is_a_sentence_for_people() -> None:
    rows = sentences(fits_of(Quantity.RATE, LEVELS[:3]))
    assert [name for name, _, _ in rows] == [
        "Universal Scalability Law",
        "As a queue (M/M/c)",
        "Little's law",
    ]
    assert all(says for _, says, _ in rows)
    assert "only 3 levels" in rows[1][2]


def test_a_peak_far_beyond_what_was_measured_is_no_figure() -> None:
    """Six levels of a service whose replies grow with the guests, but for chance."""
    wobble = (0, 0, 0.001, -0.001, 0.001, -0.001)
    levels = [
        {"occupancy": n, "replies_per_s": n * (1 + off), "judged": "under"}
        for n, off in zip((10, 12, 14, 16, 18, 20), wobble, strict=True)
    ]
    fit = fits_of(Quantity.RATE, levels)["scalability"]
    assert fit["says"].startswith(("no peak in sight", "replies grow in step"))
    assert fit["peak_occupancy"] is None
