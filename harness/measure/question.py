"""One question of a guest: what was asked, what came of it.

A question that has had its answer is not measured at once: a further message may follow, and then
it is no longer sure which of the two was the answer. It is held until the guest speaks again or
leaves, or for :data:`HELD_NS`.
"""

from collections.abc import Callable
from typing import Any

from harness.measure.model import Outcome

HELD_NS = 5_000_000_000
"""So long a further message makes an answer doubtful; one that comes later is another matter."""


class Question:
    """Something of ours that may be answered.

    It ends exactly once, with ``outcome``: OK when a message has answered it. One is made for each
    message of ours.
    """

    __slots__ = (
        "ambiguous",
        "arrived_ns",
        "by_content",
        "due_ns",
        "expected",
        "fits",
        "last_ns",
        "last_seen_ns",
        "messages",
        "operation",
        "outcome",
        "seen_ns",
        "sent_ns",
        "taken",
        "turn_missed",
        "turn_over",
        "waiting",
        "whole_turn",
    )

    def __init__(self, operation: str, due_ns: int, sent_ns: int) -> None:
        self.operation = operation
        """``reply`` or ``greeting``"""
        self.due_ns = due_ns
        self.sent_ns = sent_ns
        self.outcome: Outcome | None = None
        self.arrived_ns = 0
        """when the message arrived that answered it"""
        self.seen_ns = 0
        self.last_ns = 0
        """when its last message arrived, so far, if that is not the first"""
        self.last_seen_ns = 0
        self.messages = 0
        self.expected = True
        """False: an answer may come, but nobody counts on one"""
        self.ambiguous = False
        """whether the message may have been the answer to something else"""
        self.by_content = False
        """whether the answer was known by what it said"""
        self.fits: Callable[[Any], bool] | None = None
        """what the story has waited for, once a message had it"""
        self.whole_turn = False
        """whether the story waits until the other side has said all"""
        self.waiting = False
        """whether the story waits for an answer that fits, and has not had it"""
        self.turn_over = False
        """whether it has waited for that, and the other side was silent"""
        self.turn_missed = False
        """whether it has waited for that in vain"""
        self.taken = False
        """whether the story has had the answer"""

    def doubt(self) -> None:
        """Another message would have been as good an answer: what it says decides nothing."""
        self.by_content, self.ambiguous = False, True

    @property
    def exact(self) -> bool:
        """Whether it is sure that its answer answered it."""
        if self.by_content:
            return True
        return not self.ambiguous and (self.messages <= 1 or self.whole_turn)
