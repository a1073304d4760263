"""Each operation is defined once and completely."""

from harness.measure.model import OPERATIONS, ordered


def test_each_operation_says_what_starts_and_ends_it() -> None:
    assert {name for name, op in OPERATIONS.items() if not (op.starts and op.ends)} == set()
    assert [name for name, op in OPERATIONS.items() if name != op.name] == []


def test_the_operations_of_every_session_are_there() -> None:
    needed = {"connect", "session_open", "join", "delivered", "reply", "clear"}
    assert needed <= OPERATIONS.keys()


def test_a_reader_finds_replies_first_and_strangers_last() -> None:
    assert ordered(["b", "tcp", "clear", "a", "reply"]) == ["reply", "clear", "tcp", "a", "b"]


def test_a_definition_is_a_sentence() -> None:
    assert OPERATIONS["tcp"].definition == (
        "From when the TCP connect begins until the connection is established."
    )
