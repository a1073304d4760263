"""An open workload: guests arrive when the schedule says, whether or not we are ready for them.

Locust's users are the *slots*: each has room for one guest at a time. A slot takes the next arrival
and waits until it is due. When all slots are busy arrivals start late, and that is counted; an
arrival that would start later than ``drop_after`` is dropped, and that is counted too. Nothing is
made up for in a burst, and the schedule never moves.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, ClassVar

from locust import LoadTestShape

from harness.errors import ConfigError
from harness.judge.series import schedule_parts
from harness.units import seconds
from harness.workload.arrivals import Schedule


def peak_per_s(schedule: Schedule) -> float:
    """The highest mean rate, sampled at two thousand moments."""
    length_s = schedule.duration_s
    return max(schedule.rate_at(length_s * moment / 2000) for moment in range(2000))


def no_arrivals(schedule: Schedule) -> str:
    """A sentence if the schedule has no arrivals, because few were expected and none was drawn."""
    if schedule.count:
        return ""
    return (
        f"no guest will come: {schedule.describe()} drew no arrival. Take a higher rate, a longer "
        "time or another seed"
    )


def schedule_facts(schedule: Schedule) -> dict[str, Any]:
    """The figures of a schedule that the record needs to show how much of it the run covered."""
    return {
        "count": schedule.count,
        "duration_s": schedule.duration_s,
        "parts": schedule_parts(schedule),
    }


def check_only_one(shapes: Iterable[LoadTestShape]) -> None:
    """Raises ConfigError for several shapes: Locust would silently use only the first."""
    names = [type(shape).__name__ for shape in shapes]
    if len(names) > 1:
        raise ConfigError(
            f"there are {len(names)} shapes ({', '.join(names)}), a run has one: put schedules "
            "after each other with then(...), and mark a shape that others are made from with "
            "abstract = True"
        )


class ArrivalShape(LoadTestShape):
    """An open workload: guests arrive when its schedule says. Inherit from it, once a file.

    ::

        class Rising(ArrivalShape):
            arrivals = ramp(per_minute=(2, 20), over="20m")
            slots = 60

    ``arrivals`` is the schedule. ``slots`` is how many guests may be in session at once (100);
    :func:`slots_for` computes it. Times are texts with a unit, or seconds:

    * an arrival that starts later than ``late_after`` (``"100ms"``) counts as late;
    * one that could only start later than ``drop_after`` (``"5s"``) is dropped;
    * the first ``warm_up`` (``"0s"``) of the run is not judged; ``--warm-up`` wins over it.

    What makes no sense is a ConfigError before the run, naming class and attribute.
    """

    abstract = True
    use_common_options = True  # -u is the number of slots, -t may cut the schedule short

    arrivals: ClassVar[Schedule]
    slots: ClassVar[int] = 100
    late_after: ClassVar[str] = "100ms"
    drop_after: ClassVar[str] = "5s"
    warm_up: ClassVar[str] = "0s"

    def tick(self) -> None:
        """Unused: the harness takes the shape over before Locust asks it (see plugin)."""
        return

    @classmethod
    def checked(cls) -> "type[ArrivalShape]":
        """The class itself, validated. Raises ConfigError naming the class and the attribute."""
        name = cls.__name__
        if not isinstance(getattr(cls, "arrivals", None), Schedule):
            raise ConfigError(
                f"{name}.arrivals: expected a schedule such as steady(...) or ramp(...)"
            )
        if not isinstance(cls.slots, int) or cls.slots < 1:
            raise ConfigError(f"{name}.slots: expected one slot or more, got {cls.slots!r}")
        seconds(cls.warm_up, f"{name}.warm_up")
        late = seconds(cls.late_after, f"{name}.late_after")
        if seconds(cls.drop_after, f"{name}.drop_after") < late:
            raise ConfigError(f"{name}.drop_after: expected no less than late_after")
        return cls


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
        """Whether there is more than one class to draw from."""
        return len(self._shares) > 1

    def add_slot(self, kind: str) -> None:
        self._slots[kind] += 1

    def remove_slot(self, kind: str) -> None:
        """Locust has stopped it, perhaps to start one in another process."""
        self._slots[kind] -= 1

    def has_slots(self, kind: str) -> bool:
        return self._slots[kind] > 0

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
    shares = fixed | {name: left * weight / total for name, weight in free.items() if total}
    whole = sum(shares.values())
    return {name: share / whole for name, share in shares.items() if share} if whole else {}
