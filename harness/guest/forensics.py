"""Which message is whose: tells new messages from doubled ones and from another session's.

The service gives every message an id of its own. The guests of one process share what they have
seen of these, so an id that comes to a second session is cross-talk: somebody's words were shown
to somebody else. (Nothing in a message names its session, so this is the only way to know, and
which of the two it was meant for can't be known: the second to see it takes it for a reply only
when no other comes.)
"""

from enum import StrEnum

from harness.measure.recorder import FRAMES_EXPECTED

KEPT = 8_192
"""Ids of one generation; there are two, so the newest 8,192 to 16,384 messages are remembered: a
minute of them at the highest rates of one process, for some four megabytes."""


class Finding(StrEnum):
    """What a frame from the service turned out to be; the words by which frames are counted."""

    EXPECTED = FRAMES_EXPECTED
    LATE = "late_message"
    """an echo or answer whose request had been given up"""
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    """older by the service's own clock than a message that came before it"""
    CROSS_TALK = "cross_talk"
    """another session's"""
    UNASKED_CLEAR = "unasked_clear"
    """a SessionClearedEvent though no Clear of this session had left: it proves nothing"""
    AFTER_CLEAR = "after_clear"
    """a message after SessionClearedEvent"""
    UNMATCHED = "unmatched_echo"
    """an echo with a tracingId that no guest of this process has used"""
    UNKNOWN = "unknown_frame"
    BAD = "bad_frame"
    """no JSON, or fields of impossible types"""


class Seen:
    """The message ids that the guests of this process have seen, and who saw each first."""

    __slots__ = ("_new", "_old")

    def __init__(self) -> None:
        self._new: dict[str, str] = {}
        self._old: dict[str, str] = {}

    def first(self, message_id: str, owner: str) -> str | None:
        """Note that ``owner`` sees a message; who saw it first if it was seen before, else None."""
        before = self._new.get(message_id) or self._old.get(message_id)
        if before is None:
            self._new[message_id] = owner
            if len(self._new) >= KEPT:
                self._old, self._new = self._new, {}
        return before
