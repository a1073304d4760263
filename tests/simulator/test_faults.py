"""The fault plan: by probability, by count, by step; repeatable; refused when senseless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.simulator.faults import FAULTS, FRAME_FAULTS, FaultPlan, read_fault


def plan(seed: int = 1, **faults: object) -> FaultPlan:
    made = FaultPlan(seed=seed)
    made.replace(faults)
    return made


def hits(faults: FaultPlan, name: str, events: int) -> list[int]:
    return [n for n in range(1, events + 1) if faults.strikes(name)]


def test_the_nth_event_is_struck_and_no_other() -> None:
    assert hits(plan(cut="#3"), "cut", 10) == [3]
    assert hits(plan(cut={"nth": [2, 5]}), "cut", 10) == [2, 5]
    assert hits(plan(cut="every:4"), "cut", 10) == [4, 8]


def test_only_events_of_its_step_count() -> None:
    faults = plan(cut="#2,at=clear")
    struck = [faults.strikes("cut", step) for step in ("text", "clear", "text", "clear", "clear")]
    assert [hit is not None for hit in struck] == [False, False, False, True, False]


def test_the_same_seed_strikes_the_same_events_whatever_else_is_on() -> None:
    alone = hits(plan(ignore_clear=0.3), "ignore_clear", 200)
    both = plan(cut=0.5, ignore_clear=0.3)
    together = []
    for n in range(1, 201):
        both.strikes("cut")
        if both.strikes("ignore_clear"):
            together.append(n)
    assert alone == together
    assert alone != hits(plan(seed=2, ignore_clear=0.3), "ignore_clear", 200)


def test_a_probability_is_met_in_the_long_run() -> None:
    assert 0.25 < len(hits(plan(cut=0.3), "cut", 4000)) / 4000 < 0.35


def test_replacing_switches_off_what_is_not_named() -> None:
    faults = plan(cut=1)
    faults.replace({})
    assert not faults.active
    assert hits(faults, "cut", 5) == []


def test_a_senseless_set_changes_nothing() -> None:
    faults = plan(cut=1)
    with pytest.raises(ConfigError, match="not known"):
        faults.replace({"nonsense": 1})
    assert hits(faults, "cut", 2) == [1, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cut", 2),
        ("cut", -0.1),
        ("cut", "often"),
        ("cut", "#0"),
        ("cut", "every:x"),
        ("cut", "0.1,how=gently"),
        ("cut", "0.1,where=here"),
        ("cut", "0.1,at"),
        ("cut", {"probability": True}),
        ("cut", {"at": 3}),
        ("cut", None),
        ("delay_clear", "1,seconds=soon"),
    ],
)
def test_nonsense_is_refused_with_the_faults_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"fault {name}"):
        read_fault(name, value)


@given(st.floats() | st.integers() | st.text() | st.none() | st.booleans())
def test_any_value_is_a_fault_or_a_config_error(value: object) -> None:
    try:
        fault = read_fault("cut", value)
    except ConfigError:
        return
    assert 0 <= fault.probability <= 1


def test_every_frame_fault_is_a_fault() -> None:
    assert FAULTS.keys() >= FRAME_FAULTS.keys()
    assert plan(drop_frame=0.1).frames
    assert not plan(cut=0.1).frames
