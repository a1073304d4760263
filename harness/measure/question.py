"""One question of a guest: what was asked, what came of it.

A question that has had its answer is not measured at once: a further message may follow, and then
it is no longer sure which of the two was the answer. It is held until the guest speaks again or
leaves, or for :data:`HELD_NS`.
"""

from collections.abc import Callable
from typing import Any

from harness.measure.sample import Outcome

HELD_NS = 5_000_000_000
"""So long a further message makes an answer doubtful; one that comes later is another matter."""


class Question:
    """Something of ours that may be answered.

    It ends exactly once, with ``outcome``: OK when a message has answered it. One is made for each
    message, so what seldom changes is written in the class and costs an instance nothing.
    """

    outcome: Outcome | None = None
    arrived_ns = 0
    """when the message arrived that answered it"""
    seen_ns = 0
    last_ns = 0
    """when its last message arrived, so far, if that is not the first"""
    last_seen_ns = 0
    messages = 0
    expected = True
    """False: an answer may come, but nobody counts on one"""
    ambiguous = False
    """whether the message may have been the answer to something else"""
    by_content = False
    """whether the answer was known by what it said"""
    fits: Callable[[Any], bool] | None = None
    """what the story has waited for, once a message had it"""
    whole_turn = False
    """whether the story waits until the other side has said all"""
    waiting = False
    """whether the story waits for an answer that fits, and has not had it"""
    turn_over = False
    """whether it has waited for that, and the other side was silent"""
    turn_missed = False
    """whether it has waited for that in vain"""
    taken = False
    """whether the story has had the answer"""

    def __init__(self, operation: str, due_ns: int, sent_ns: int) -> None:
        self.operation = operation
        """``reply`` or ``greeting``"""
        self.due_ns = due_ns
        self.sent_ns = sent_ns

    def doubt(self) -> None:
        """Another message would have been as good an answer: what it says decides nothing."""
        self.by_content, self.ambiguous = False, True

    @property
    def exact(self) -> bool:
        """Whether it is sure that its answer answered it."""
        if self.by_content:
            return True
        return not self.ambiguous and (self.messages <= 1 or self.whole_turn)
