"""Each operation is defined once and completely."""

from harness.measure.operations import OPERATIONS


def test_each_operation_says_what_starts_and_ends_it() -> None:
    assert {name for name, op in OPERATIONS.items() if not (op.starts and op.ends)} == set()
    assert [name for name, op in OPERATIONS.items() if name != op.name] == []


def test_the_operations_of_every_session_are_there() -> None:
    needed = {"connect", "session_open", "join", "delivered", "reply", "clear"}
    assert needed <= OPERATIONS.keys()
