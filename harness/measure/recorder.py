"""Collects samples of the current interval; one per process.

What has been collected is taken away at the end of each interval and written to disk, so memory
stays flat however long a run is. Figures of the whole run are made by merging the intervals.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from harness.clock import monotonic_ns
from harness.measure.histogram import Durations, Histogram
from harness.measure.model import (
    ANSWERS,
    CENSORED,
    DOUBT_WINDOW_NS,
    FRAMES_EXPECTED,
    REPLY,
    TIMED,
    TURN,
    WAITS,
    Outcome,
    Question,
    Sample,
    Wait,
)

LAG_ARRIVAL = "lag.arrival"
LAG_LOOP = "lag.loop"
LAG_BEAT_S = 0.02
"""Each sample of the event loop's lateness stands for so much of the run."""
GUESTS_CONNECTED = "guests_connected"
GUESTS_JOINED = "guests_joined"
GUESTS_REPLIED = "guests_replied"
"""Plain counts of guests that came so far, each guest once."""
REPLIES_RECEIVED = "replies_received"
"""Plain count of the other side's messages, whether or not anybody waited for them."""
QUESTIONS_ASKED = "questions_asked"
QUESTIONS_AMBIGUOUS = "questions_ambiguous"
"""Plain count of questions for which it is unclear which message answered them."""
REPLIES_AMBIGUOUS = "replies_ambiguous"
"""Those of them that are no greetings."""
TURNS_AMBIGUOUS = "turns_ambiguous"
"""Plain count of turns whose end was waited for, but may not have been theirs."""
QUESTION_MESSAGES = "question_messages"
"""Plain count of the messages that answered the questions with an answer: all of each turn."""
UNASKED = "unasked"
"""Plain count of messages that came when nothing was open, before anything had been asked."""
LATE_ANSWERS = "late_answers"
"""Plain count of answers to questions that had timed out."""
LISTENED = "listened"
"""Plain count of guests who stayed silent for long enough to hear what nobody had asked for."""
HEARD = "heard_more"
"""Those of them who heard something."""
GUESTS_ARRIVED = "guests_arrived"
GUESTS_SERVED = "guests_served"
GUESTS_ASKED_NOTHING = "guests_asked_nothing"
"""Plain count of guests who were served, would have been answered, and asked no question."""
GUESTS_CUT = "guests_cut"
GUESTS_FAILED = "guests_failed:"
"""Begins the plain counts of guests that were not served, by why; see :func:`by_reason`."""
STORIES_BEGUN = "stories_begun"
STORIES_FINISHED = "stories_finished"
STORIES_CUT = "stories_cut"
STORIES_BROKEN = "stories_broken:"
"""Begins the plain counts of stories that broke off, by where."""
STORIES_TOLD = "stories_told:"
"""Begins the plain counts of sentences that tell of stories which broke off."""
NEVER_ASKED = "never_asked:"
"""Begins the plain counts of arrivals that found no slot because none of their class, though there
were some, ever asked for one; by class."""
GUESTS_OF = "guests of "
"""Begins the plain counts of guests that came, by user class."""
STORY_ERROR = "story error: "
"""Begins the plain counts of stories that errors of their own ended, by what and where."""


def by_reason(counts: Mapping[str, int], beginning: str) -> dict[str, int]:
    """The plain counts that begin so, by the rest of their names."""
    return {
        name.removeprefix(beginning): many
        for name, many in counts.items()
        if name.startswith(beginning)
    }


ARRIVAL_LATENESS = "arrival.lateness"
"""How long after its due time an arrival was started."""
SESSION_CUT = "session.cut"
"""How long those had been in session whom the end of the run cleared: at least so long."""
SESSION_LENGTH = "session.length"
"""How long guests were in session, from arrival to the end of their way out."""


WARM_UP = "warm-up "
"""Begins the name of an operation that was begun while the run was warming up: it is measured like
any other, and shown apart."""


def with_warm_up(outcomes: Mapping[str, Mapping[str, int]], operation: str) -> dict[str, int]:
    """How often an operation ended in each outcome, whether or not it was begun in the warm-up."""
    counts = Counter(outcomes.get(operation, {}))
    counts.update(outcomes.get(WARM_UP + operation, {}))
    return counts


def service_tag(operation: str) -> str:
    """Name of the histogram of an operation's service time."""
    return f"{operation}.service"


def corrected_tag(operation: str) -> str:
    """Name of the histogram of an operation's corrected latency."""
    return f"{operation}.corrected"


def censored_tag(operation: str, *, corrected: bool = False) -> str:
    """Name of the histogram of times that are lower bounds only; they are in the other as well."""
    return f"{operation}.censored_corrected" if corrected else f"{operation}.censored"


def cut_tag(operation: str) -> str:
    """Name of the histogram of how long was waited when the run ended; they are in no other."""
    return f"{operation}.cut"


@dataclass(slots=True)
class Collected:
    """What one interval gathered: histograms by tag, outcomes by operation, plain counts."""

    histograms: dict[str, Histogram] = field(default_factory=dict)
    outcomes: dict[str, Counter[Outcome]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def merge(self, other: "Collected") -> None:
        """Add what another, later interval gathered."""
        for tag, histogram in other.histograms.items():
            self.histograms.setdefault(tag, Histogram()).merge(histogram)
        for operation, outcomes in other.outcomes.items():
            self.outcomes.setdefault(operation, Counter()).update(outcomes)
        self.counts.update(other.counts)


PLACES = 50
"""So many places of one process are told apart."""
FOLD_AT = 4096
"""So many samples of an operation are folded at once, so that memory stays flat."""
_NOTHING = Wait.NONE  # looking up a member of an enum is slow


class Talking(Protocol):
    """Who holds a question that was answered, for a while."""

    def measure(self, limit_ns: int) -> None:
        """Measure it, if it was answered before then."""


class Recorder:
    """Takes samples in, hands whole intervals out. One per event loop (it is not thread-safe)."""

    def __init__(self) -> None:
        self._now = Collected()
        self._stamps: dict[str, list[int]] = {}
        """due, sent, arrived and seen, one behind the other, of samples that ended well, by
        operation: a list takes them in 30 ns where a histogram needs 800"""
        self._phases: dict[str, list[int]] = {}
        """durations by operation, of phases"""
        self._plain: dict[str, list[int]] = {}
        """durations by tag, of everything else"""
        self.frames_expected = 0
        self.replies_received = 0
        self.questions_asked = 0
        self.question_messages = 0
        """Four counts that rise with every message: attributes, because that is the cheapest."""
        self.judged_from_ns = 0
        """what is begun before is warm-up"""
        self.talking: set[Talking] = set()
        """those who may hold a question that was answered and is not measured yet"""
        self._slowest_ns = dict.fromkeys((*ANSWERS, *WAITS), 0)
        self._places: set[str] = set()

    def add(self, sample: Sample) -> None:
        """Count a sample and, if its outcome is timed, its durations."""
        if sample.outcome is Outcome.OK:
            self.add_ok(*sample[:5])
        else:
            self._add_failed(sample)

    def add_ok(self, operation: str, due: int, sent: int, arrived: int, seen: int) -> None:
        """The same for the stamps of a sample that ended well, with no need to make one."""
        if sent < self.judged_from_ns:
            operation = WARM_UP + operation
        stamps = self._stamps.get(operation)
        if stamps is None:
            stamps = self._stamps[operation] = []
        stamps += (due, sent, arrived, seen)
        if len(stamps) >= 4 * FOLD_AT:
            self._fold()

    def _add_failed(self, sample: Sample) -> None:
        if sample.sent_ns < self.judged_from_ns:
            sample = sample._replace(operation=WARM_UP + sample.operation)
        outcome = sample.outcome
        self._outcomes(sample.operation)[outcome] += 1
        if outcome in TIMED:
            self._record(service_tag(sample.operation), (sample.service_ns,))
            self._record(corrected_tag(sample.operation), (sample.corrected_ns,))
        if outcome in CENSORED:
            self._record(censored_tag(sample.operation), (sample.service_ns,))
            self._record(censored_tag(sample.operation, corrected=True), (sample.corrected_ns,))
        elif outcome is Outcome.CUT_SHORT:
            self._record(cut_tag(sample.operation), (sample.service_ns,))

    def add_phase(self, operation: str, duration_ns: int) -> None:
        """A duration with no stamps of its own, such as a phase of the dialling."""
        if monotonic_ns() - duration_ns < self.judged_from_ns:
            operation = WARM_UP + operation
        self._gather(self._phases, operation, duration_ns)

    def add_duration(self, tag: str, duration_ns: int) -> None:
        """A duration that is of no operation, under one of the tags above."""
        self._gather(self._plain, tag, duration_ns)

    def count(self, what: str, by: int = 1) -> None:
        """Add to a plain count, such as ``late`` or ``cross_talk``."""
        self._now.counts[what] += by

    def count_place(self, beginning: str, place: str) -> None:
        """Count one more at a place; the first :data:`PLACES` keep their names."""
        name = beginning + place
        if name not in self._places:
            if len(self._places) >= PLACES:
                name = f"{beginning}elsewhere"
            self._places.add(name)
        self.count(name)

    def take(self) -> Collected:
        """Hand out what was collected since the last call and start anew."""
        limit_ns = monotonic_ns() - DOUBT_WINDOW_NS
        for one in list(self.talking):
            one.measure(limit_ns)
        self._fold()
        for what, count in (
            (FRAMES_EXPECTED, self.frames_expected),
            (REPLIES_RECEIVED, self.replies_received),
            (QUESTIONS_ASKED, self.questions_asked),
            (QUESTION_MESSAGES, self.question_messages),
        ):
            if count:
                self.count(what, count)
        self.frames_expected = self.replies_received = 0
        self.questions_asked = self.question_messages = 0
        taken, self._now = self._now, Collected()
        return taken

    def add_answered(self, question: Question) -> None:
        """A question that a message has answered, of which nothing more is to be learnt."""
        self.question_messages += question.messages
        operation, due, sent = question.operation, question.due_ns, question.sent_ns
        arrived, seen = question.arrived_ns, question.seen_ns
        # Nearly every question: one answer, and no doubt.
        if question.messages == 1 and not question.ambiguous and question.turn is _NOTHING:
            self.add_ok(operation, due, sent, arrived, seen)
            return
        if question.exact:
            self.add_ok(operation, due, sent, arrived, seen)
        else:
            self._slowest_ns[operation] = max(self._slowest_ns[operation], arrived - sent)
            of_replies = (REPLIES_AMBIGUOUS,) if operation == REPLY else ()
            self._add_doubtful(operation, sent, QUESTIONS_AMBIGUOUS, *of_replies)
            self._show(operation, (arrived - sent,))
        if question.turn is Wait.MET:
            if question.ambiguous:
                self._add_doubtful(TURN, sent, TURNS_AMBIGUOUS)
            else:
                self.add_ok(TURN, due, sent, *(question.last or (arrived, seen)))

    def _add_doubtful(self, operation: str, sent_ns: int, *counts: str) -> None:
        """Something has ended well, but nobody knows when."""
        warm_up = sent_ns < self.judged_from_ns
        self._outcomes(WARM_UP + operation if warm_up else operation)[Outcome.OK] += 1
        if not warm_up:
            for what in counts:
                self.count(what)

    def slowest_answer_ns(self) -> int:
        """Of all questions so far that are measured, in this process."""
        self._fold()
        return max(self._slowest_ns[operation] for operation in ANSWERS)

    def slowest_wait_ns(self, operation: str) -> int:
        """The same of one of :data:`WAITS`; 0: none has ended well yet."""
        self._fold()
        return self._slowest_ns[operation]

    def _fold(self) -> None:
        for operation, stamps in self._stamps.items():
            due, sent, arrived, seen = np.fromiter(stamps, np.int64, len(stamps)).reshape(-1, 4).T
            # Stamped before it was asked for: the clock was set, or is not the kernel's.
            arrived = np.where(arrived < sent, seen, arrived)
            service = arrived - sent
            self._outcomes(operation)[Outcome.OK] += len(service)
            self._show(operation, service)
            self._record(service_tag(operation), service)
            self._record(corrected_tag(operation), arrived - np.minimum(due, sent))
            self._record(LAG_ARRIVAL, seen - arrived)
            name = operation.removeprefix(WARM_UP)
            if name in self._slowest_ns:
                self._slowest_ns[name] = max(self._slowest_ns[name], int(service.max()))
        self._stamps.clear()
        for operation, durations in self._phases.items():
            self._outcomes(operation)[Outcome.OK] += len(durations)
            self._record(service_tag(operation), durations)
            self._record(corrected_tag(operation), durations)
        for tag, durations in self._plain.items():
            self._record(tag, durations)
        self._phases.clear()
        self._plain.clear()

    def _gather(self, where: dict[str, list[int]], name: str, duration_ns: int) -> None:
        durations = where.setdefault(name, [])
        durations.append(duration_ns)
        if len(durations) >= FOLD_AT:
            self._fold()

    def _show(self, operation: str, service_ns: Durations) -> None:
        """For a recorder that has somebody to show the samples that ended well to."""

    def _outcomes(self, operation: str) -> Counter[Outcome]:
        return self._now.outcomes.setdefault(operation, Counter())

    def _record(self, tag: str, durations_ns: Durations) -> None:
        histogram = self._now.histograms.get(tag)
        if histogram is None:
            histogram = self._now.histograms[tag] = Histogram()
        histogram.record_many_ns(durations_ns)
