"""Which user class each arrival is for: drawn by weight, whichever slot happens to be free.

Would an arrival simply go to the slot that is free for longest, the class whose stories are short
would get more than its weight, and with slots that were all free at the start one class might get
them all.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any


class Mix:
    """The classes of one process's arrivals; ``shares`` are what each is to get of all (sum 1).

    ``alone``: it is the only process of the run.
    """

    def __init__(self, shares: Mapping[str, float], rng: Random, *, alone: bool = True) -> None:
        self._shares = dict(shares)
        self._alone = alone
        self._rng = rng
        self._slots = Counter[str]()

    @property
    def several(self) -> bool:
        """Whether there is anything to draw."""
        return len(self._shares) > 1

    def slot_came(self, kind: str) -> None:
        """A slot of that class is in this process."""
        self._slots[kind] += 1

    def slot_went(self, kind: str) -> None:
        """Locust has taken it away, for another process perhaps."""
        self._slots[kind] -= 1

    def draw(self) -> str:
        """The class of the next arrival.

        By weight. A worker may have few slots of a class or none, because Locust hands them out by
        weight over all workers together: there it is by the slots that it has.
        """
        here = {kind: many for kind, many in self._slots.items() if many > 0}
        if here and not self._alone:
            kinds, weights = list(here), [float(many) for many in here.values()]
        else:
            kinds, weights = list(self._shares), list(self._shares.values())
        return self._rng.choices(kinds, weights)[0]


def shares_of(user_classes: Iterable[Any], slots: int) -> dict[str, float]:
    """What each class is to get of the arrivals: by weight; a ``fixed_count`` by its slots.

    Users of Locust's own that open no guests (there is no ``guest`` in them) get none.
    """
    classes = [kind for kind in user_classes if hasattr(kind, "guest")]
    fixed = {
        kind.__name__: kind.fixed_count / max(slots, 1) for kind in classes if kind.fixed_count
    }
    left = max(0.0, 1 - sum(fixed.values()))
    free = {kind.__name__: float(kind.weight) for kind in classes if not kind.fixed_count}
    total = sum(free.values())
    found = fixed | {name: left * weight / total for name, weight in free.items() if total}
    whole = sum(found.values())
    return {name: share / whole for name, share in found.items() if share} if whole else {}
