"""Some guests stay silent before they leave, to hear whether anything comes that nobody asked for.

Counting can't see a flow whose greeting is taken for the first answer, the first answer for the
second, and whose last answer comes when the guest is gone. So the first guests of a process, and
one in so many after them, listen: a message then shows that answers were taken for others'.
"""

from collections.abc import Callable

from harness.guest.questions import Questions
from harness.measure.recorder import Recorder

FIRST = 20
THEN_ONE_IN = 20
LEAST_NS = 1_000_000_000
LEAST_AT_FIRST_NS = 5_000_000_000
"""The first guest of a process listens for so long: nothing is known yet."""
MOST_NS = 30_000_000_000
LOOK_NS = 200_000_000
"""So often a listening guest asks whether it may go on."""


class Listening:
    """Of one process. ``may_go_on`` says whether nobody needs what a listening guest holds."""

    def __init__(self, may_go_on: Callable[[], bool] = lambda: True) -> None:
        self.may_go_on = may_go_on
        self._stories = 0

    def begins(self) -> bool:
        """Whether the guest whose story has just finished is one of those who listen."""
        number, self._stories = self._stories, self._stories + 1
        return number < FIRST or number % THEN_ONE_IN == 0

    def length_ns(self, recorder: Recorder, questions: Questions) -> int:
        """For how long: an answer that was taken for another's would come within that time."""
        least = LEAST_AT_FIRST_NS if self._stories <= 1 else LEAST_NS
        return min(MOST_NS, max(least, recorder.slowest_answer_ns, questions.span_ns))
