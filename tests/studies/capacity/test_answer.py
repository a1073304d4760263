"""The answer in one unit, with the other quantity beside it."""

from math import inf
from typing import Any

from harness.studies.capacity.answer import as_dict
from harness.studies.capacity.search import Answer, Found, Raised


def answer(**changes: Any) -> Answer:
    usual = {
        "found": Found.KNEE, "low": 20.0, "high": 22.0, "centre": 21.0, "broke_first": "reply",
        "levels": 2, "minutes": 3.0,
    }  # fmt: skip
    return Answer(**{**usual, **changes})


LEVEL = {"judged": "under", "occupancy": 80.0, "arrivals_per_s": 20.0, "session_s": 4.0}


def test_rates_are_told_per_minute() -> None:
    levels = [{**LEVEL, "rate_per_s": 20.0}, {**LEVEL, "rate_per_s": 24.0, "occupancy": 99}]
    found = as_dict(Raised.RATE, answer(), levels, wanted=10.0, directory="d")
    assert (found["by"], found["unit"]) == ("rate", "guests/min")
    assert (found["low"], found["high"], found["centre"]) == (1200, 1320, 1260)
    assert (found["wanted"], found["headroom"]) == (600, 1)
    assert set(found["fits"]) == {"scalability", "queueing", "little"}
    assert found["at_the_highest_met"] == {
        "occupancy": 80,
        "arrivals_per_minute": 1200,
        "session_s": 4,
    }


def test_a_level_of_an_older_search_had_the_rate_that_was_asked_of_it() -> None:
    levels = [{"judged": "under", "occupancy": 80.0, "session_s": 4.0, "rate_per_s": 20.0}]
    found = as_dict(Raised.RATE, answer(), levels, wanted=None, directory="d")
    assert found["at_the_highest_met"]["arrivals_per_minute"] == 1200


def test_an_occupancy_is_told_as_it_is_with_the_arrivals_beside_it() -> None:
    levels = [{**LEVEL, "guests": 20.0}]
    found = as_dict(Raised.OCCUPANCY, answer(), levels, wanted=40.0, directory="d")
    assert (found["unit"], found["low"], found["high"]) == ("guests at once", 20, 22)
    assert found["headroom"] == -0.5
    assert found["at_the_highest_met"]["arrivals_per_minute"] == 1200
    assert "guests/min" not in str({**found, "levels": [], "fits": {}})


def test_what_was_not_found_is_left_open() -> None:
    nothing = answer(found=Found.UNCLEAR, low=0.0, high=inf, centre=None)
    found = as_dict(Raised.OCCUPANCY, nothing, [], wanted=40.0, directory="d")
    assert (found["high"], found["centre"], found["headroom"]) == (None, None, None)
    assert found["at_the_highest_met"]["occupancy"] is None
