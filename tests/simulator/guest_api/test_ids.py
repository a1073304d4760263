"""Identifiers: opaque, repeatable, and leading back to their conversation."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from harness.simulator.frames import Ids, dashed


@given(st.integers(0, 2**40 - 1), st.integers(0, 2**24 - 1), st.integers())
def test_a_message_id_leads_back_to_its_conversation(serial: int, number: int, seed: int) -> None:
    ids = Ids(seed)
    text = ids.message(serial, number)
    assert len(text) == 32
    assert ids.conversation_of(text) == (serial, number)
    assert ids.conversation_of(dashed(text)) == (serial, number)


@given(st.text(max_size=40))
def test_an_invented_id_leads_nowhere(text: str) -> None:
    assert Ids(3).conversation_of(text) is None


@given(st.integers(0, 2**128 - 1))
def test_random_hex_leads_nowhere(value: int) -> None:
    assert Ids(3).conversation_of(f"{value:032x}") is None


def test_the_same_seed_gives_the_same_ids() -> None:
    first, second, other = Ids(5), Ids(5), Ids(6)
    assert [first.uuid(), first.hex(), first.message(1, 1)] == [
        second.uuid(),
        second.hex(),
        second.message(1, 1),
    ]
    assert first.uuid() != other.uuid()


def test_uuids_are_of_version_4() -> None:
    parsed = uuid.UUID(Ids(1).uuid())
    assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
