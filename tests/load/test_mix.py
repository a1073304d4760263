"""The class of each arrival is drawn by weight, or by the slots that a worker was given."""

from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from harness.judge.validity import MIN_MIX_CHANCE, chance_of
from harness.load.dispatch import Mix, shares_of


def kind(name: str, weight: float = 1, fixed_count: int = 0) -> Any:
    return SimpleNamespace(__name__=name, weight=weight, fixed_count=fixed_count, guest=None)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([kind("A")], {"A": 1.0}),
        ([kind("A", 1), kind("B", 3)], {"A": 0.25, "B": 0.75}),
        ([kind("A", fixed_count=2), kind("B", 1), kind("C", 3)], {"A": 0.2, "B": 0.2, "C": 0.6}),
        ([kind("A", 1), kind("B", 0)], {"A": 1.0}),
        ([], {}),
        ([kind("A"), SimpleNamespace(__name__="HttpUser", weight=1, fixed_count=0)], {"A": 1.0}),
    ],
)
def test_shares_are_by_weight_and_fixed_counts_by_slots(
    classes: list[Any], expected: dict[str, float]
) -> None:
    assert shares_of(classes, 10) == pytest.approx(expected)


def drawn(mix: Mix, many: int = 2000) -> Counter[str]:
    return Counter(mix.draw() for _ in range(many))


def test_weights_hold_where_each_class_has_a_slot_however_many() -> None:
    mix = Mix({"A": 0.25, "B": 0.75}, Random(3))
    for name in ("A", "A", "A", "B"):
        mix.add_slot(name)
    assert chance_of(drawn(mix)["A"], 2000, 0.25) > MIN_MIX_CHANCE


def test_a_worker_draws_by_the_slots_it_has() -> None:
    mix = Mix({"A": 0.5, "B": 0.25, "C": 0.25}, Random(3), alone=False)
    for name in ("A", "A", "A", "B", "C"):
        mix.add_slot(name)
    mix.remove_slot("C")
    found = drawn(mix)
    assert found["C"] == 0
    assert chance_of(found["A"], 2000, 0.75) > MIN_MIX_CHANCE


def test_workers_together_give_the_mix_however_their_slots_are_dealt() -> None:
    shares = {"A": 0.25, "B": 0.75}
    workers = [Mix(shares, Random(seed), alone=False) for seed in range(2)]
    for mix, kinds in zip(workers, ({"B": 30}, {"A": 15, "B": 15}), strict=True):
        for name, many in kinds.items():
            for _ in range(many):
                mix.add_slot(name)
    found = sum((drawn(mix) for mix in workers), Counter())
    assert chance_of(found["A"], 4000, 0.25) > MIN_MIX_CHANCE
