"""A capacity search of a service that stays the same is right; of one that changes it says so."""

import pytest

from harness.studies.capacity.search import SETTLED_LATER, AnswerKind
from tests.benchmarks.services import make, mean_truth, search

pytestmark = pytest.mark.rates


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [
        ("steady", range(4)),
        pytest.param("load shedding", range(2), marks=pytest.mark.long),
        pytest.param("noise 10 %, memory 300 s", range(2), marks=pytest.mark.long),
    ],
)
def test_what_is_claimed_holds_the_truth(kind: str, seeds: range) -> None:
    claims = 0
    for seed in seeds:
        service = make(kind, seed)
        searched = search(service)
        answer = searched.answer
        if answer.confidence is not None:
            claims += 1
            assert answer.low <= mean_truth(service, searched.took_s) <= answer.high
        else:
            assert "95 %" not in answer.text("texts/s")
    assert claims >= (2 if kind == "steady" else 0)


def test_machines_that_are_added_late_are_waited_for_or_told() -> None:
    service = make("autoscaling x3 after 30 to 120 s, at each level", 3)
    answer = search(service).answer
    assert answer.confidence is None or answer.low <= service.truth(0) <= answer.high
    assert answer.low > 10 or SETTLED_LATER in answer.doubts


def test_a_service_that_gets_slower_is_given_no_confidence() -> None:
    answer = search(make("slower by 20 % an hour", 1)).answer
    assert answer.kind is AnswerKind.CHANGED
    assert answer.doubts
