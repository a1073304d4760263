"""Who saw a message first."""

from harness.guest.inbox import KEPT, Seen


def test_the_first_to_see_a_message_is_remembered_for_as_long_as_promised() -> None:
    seen = Seen()
    assert seen.first("m", "one") is None
    assert seen.first("m", "two") == "one"
    for number in range(KEPT - 2):
        seen.first(f"x{number}", "one")
    assert seen.first("m", "two") == "one"
    for number in range(2 * KEPT):
        seen.first(f"y{number}", "one")
    assert seen.first("m", "two") is None
