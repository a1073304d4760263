"""Shapes are checked before anything starts."""

import pytest

from harness.errors import ConfigError
from harness.load.arrivals import ArrivalShape
from harness.workload.arrivals import steady


def shape(**attributes: object) -> type[ArrivalShape]:
    whole = {"arrivals": steady(per_minute=60, over="1m"), **attributes}
    return type("Shape", (ArrivalShape,), whole)


def test_a_good_shape_is_itself() -> None:
    good = shape()
    assert good.checked() is good


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"arrivals": None}, r"Shape\.arrivals: expected a schedule"),
        ({"slots": 0}, r"Shape\.slots: expected one slot or more, got 0"),
        ({"slots": "many"}, r"Shape\.slots"),
        ({"late_after": "soon"}, r"Shape\.late_after: expected a duration"),
        ({"drop_after": "1ms"}, r"Shape\.drop_after: expected no less than late_after"),
    ],
)
def test_nonsense_is_refused_with_class_and_attribute(
    attributes: dict[str, object], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        shape(**attributes).checked()


def test_locust_never_asks_it() -> None:
    assert shape()().tick() is None
