"""What is measured: operations with their outcomes, counts, questions.

The registries :data:`OPERATIONS` and :data:`COUNTERS` are the one place that says which there are:
reports, objectives and the command line all take names and wording from here.

:class:`RunningTotals` adds up what all processes of a run have measured so far, for whoever follows
the run. It stands here because that is quick to import: the readers of whole files are not.

:class:`Question` is one question of a guest: what was asked, what came of it. One that has had its
answer is not measured at once: a further message may follow, and then it is no longer sure which of
the two was the answer. It is held until the guest speaks again or leaves, or for
:data:`DOUBT_WINDOW_NS`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple


class Outcome(StrEnum):
    """How an operation ended. Counted by these words, never by an error's text."""

    OK = "ok"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    LOST = "lost"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    PROTOCOL = "protocol"
    SERVICE_ERROR = "service_error"
    UNANSWERED = "unanswered"
    """a question without an answer: the story went on or ended first"""
    CUT_SHORT = "cut_short"
    """something that had not come when the run ended"""


CENSORED = frozenset({Outcome.TIMEOUT, Outcome.UNANSWERED})
"""Outcomes of what had not come by the time that was waited: its true time is longer."""
TIMED = frozenset({Outcome.OK, *CENSORED})
"""Outcomes whose times enter the histograms. What never came counts with the time that was waited,
and once more in a histogram of its own, by which a percentile among such is known to be a lower
bound; the other failures are only counted."""


class Sample(NamedTuple):
    """Stamps are nanoseconds of the monotonic clock (a tuple, because it is made for each message).

    due: when the schedule said it should happen (equal to ``sent`` where nothing scheduled it).
    sent: just before the bytes were written. arrived: the kernel received the bytes that ended it.
    seen: our code got to them.
    """

    operation: str
    due_ns: int
    sent_ns: int
    arrived_ns: int
    seen_ns: int
    outcome: Outcome = Outcome.OK

    @property
    def service_ns(self) -> int:
        """The service's own time, free of stalls of our event loop."""
        return self.arrived_ns - self.sent_ns

    @property
    def corrected_ns(self) -> int:
        """What a guest of an open workload waits; never smaller than the service time."""
        return self.arrived_ns - min(self.due_ns, self.sent_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A named thing we time: what starts its clock and what ends it."""

    name: str
    many: str
    """several of them, in a sentence"""
    starts: str
    ends: str
    afterwards: bool = False
    """Whether no guest measures it: an audit learns it after the run."""

    @property
    def definition(self) -> str:
        """What starts and what ends its clock, in a sentence."""
        return f"From when {self.starts} until {self.ends}."


_ALL = (
    Operation(
        name="dns",
        many="look-ups of the host's name",
        starts="the host name is looked up",
        ends="its addresses are known",
    ),
    Operation(
        name="tcp",
        many="TCP connects",
        starts="the TCP connect begins",
        ends="the connection is established",
    ),
    Operation(
        name="proxy",
        many="ways through the proxy",
        starts="the proxy is asked to connect",
        ends="it has said that it is connected",
    ),
    Operation(
        name="tls",
        many="TLS handshakes",
        starts="the TLS handshake begins",
        ends="the handshake is complete",
    ),
    Operation(
        name="upgrade",
        many="upgrades to a websocket",
        starts="the HTTP upgrade is written",
        ends="the 101 answer has arrived",
    ),
    Operation(
        name="connect",
        many="connects",
        starts="the host name is looked up",
        ends="the 101 answer has arrived",
    ),
    Operation(
        name="session_open",
        many="openings of a session",
        starts="configureSession is written",
        ends="its SessionResponse has arrived",
    ),
    Operation(
        name="join",
        many="joins",
        starts="the Presence Join is written",
        ends="its Inbound echo has arrived",
    ),
    Operation(
        name="delivered",
        many="deliveries of a guest's message",
        starts="a message of the guest is written",
        ends="its Inbound echo with the same tracingId has arrived",
    ),
    Operation(
        name="reply",
        many="replies",
        starts="a message of the guest is written that expects an answer",
        ends="the first message of its answer has arrived (or the first that fits what the "
        "script waits for)",
    ),
    Operation(
        name="turn",
        many="whole answers",
        starts="a message of the guest is written that expects an answer",
        ends="the last message of its answer has arrived, after which the other side was silent",
    ),
    Operation(
        name="greeting",
        many="greetings",
        starts="the Presence Join is written, or the first message where the deployment greets",
        ends="the first message of the greeting has arrived",
    ),
    Operation(
        name="clear",
        many="clearings",
        starts="the Presence Clear is written",
        ends="the SessionClearedEvent has arrived",
    ),
    Operation(
        name="clear_to_close",
        many="closings after Clear",
        starts="the SessionClearedEvent has arrived",
        ends="the ConnectionClosedEvent has arrived",
    ),
    Operation(
        name="resume",
        many="resumptions of a session",
        starts="the connection is lost",
        ends="the SessionResponse on a new connection has arrived",
    ),
    Operation(
        name="health_check",
        many="health checks",
        starts="the echo request is written",
        ends="its answer has arrived",
    ),
    Operation(
        name="upload",
        many="uploads",
        starts="the attachment is announced",
        ends="its UploadSuccessEvent has arrived",
    ),
    Operation(
        name="history",
        many="requests for the history",
        starts="the history request is written",
        ends="its answer has arrived",
    ),
    Operation(
        name="conversation_end",
        many="ends of a conversation",
        starts="the SessionClearedEvent was seen (our clock)",
        ends="the guest's part of the conversation was over, as 'harness audit' finds it recorded "
        "by the service (the service's clock)",
        afterwards=True,
    ),
)

CONNECT_PHASES = ("dns", "tcp", "proxy", "tls", "upgrade")
"""Operations that are the phases of a ``connect``, in their order."""
ALWAYS_OK = frozenset({*CONNECT_PHASES, "clear_to_close", "conversation_end"})
"""Operations that are measured only when they end well: one that fails is counted elsewhere (of a
connection as ``connect``, of a session as ``clear``)."""
REPLY, GREETING, TURN = "reply", "greeting", "turn"
ANSWERS = (REPLY, GREETING)
"""Operations of which each question is one."""
QUESTIONS = frozenset({*ANSWERS, TURN})
"""Operations that may end without an answer."""
OPENINGS = ("connect", "session_open", "resume")
"""Operations that a guest waits for before it can speak."""
WAITS = (*OPENINGS, "health_check", "upload")
"""These, and what else a story waits for. Like a question they may still be waited for when the run
ends."""
CONNECT_ENDS = (
    Outcome.OK,
    Outcome.TIMEOUT,
    Outcome.REFUSED,
    Outcome.RATE_LIMITED,
    Outcome.CUT_SHORT,
)


def outcomes_of(operation: str) -> tuple[Outcome, ...]:
    """The outcomes in which an operation can end at all."""
    if operation in ALWAYS_OK:
        return (Outcome.OK,)
    if operation == "connect":
        return CONNECT_ENDS
    left_out: set[Outcome] = set() if operation in QUESTIONS else {Outcome.UNANSWERED}
    if operation not in (*QUESTIONS, *WAITS):
        left_out.add(Outcome.CUT_SHORT)
    if operation not in ("upload", "history"):
        left_out.add(Outcome.PROTOCOL)
    return tuple(outcome for outcome in Outcome if outcome not in left_out)


OPERATIONS: MappingProxyType[str, Operation] = MappingProxyType({op.name: op for op in _ALL})

FELT = ("reply", "turn", "greeting", "session_open", "join", "delivered")
"""Operations that a customer feels; a reader looks for them first."""


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order in which a reader looks for them; those that we don't know are last."""
    there = set(names)
    known = [name for name in dict.fromkeys((*FELT, "clear", *OPERATIONS)) if name in there]
    return known + sorted(there - set(known))


class Phase(StrEnum):
    """What a process of a run is doing; each interval says what it was at its end."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISHING = "finishing"
    """no new guests; conversations may finish"""
    CLEARING = "clearing"
    """what is still open is being cleared"""
    ENDED = "ended"


def latest_phase(phases: Iterable[str]) -> str:
    """The phase of a whole run: the latest that any of its processes is in, or empty."""
    order = list(Phase)
    return max((Phase(word) for word in phases if word in order), key=order.index, default="")


class RunningTotals:
    """The figures of a run that is going on: the intervals of all its processes, added up.

    ``outcomes``, ``counts`` and ``arrivals`` are sums over all intervals, ``newest`` holds the last
    interval of each process.
    """

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, int]] = {}
        self.counts: dict[str, int] = {}
        self.arrivals: dict[str, int] = {}
        self.newest: dict[str, Mapping[str, Any]] = {}

    def add(self, process: str, row: Mapping[str, Any]) -> None:
        """Add one interval of one process. Raises an error for a damaged row, and adds nothing."""
        _sums({}, row["sessions"])  # a view of the run must not end with a damaged number
        outcomes = {
            str(operation): _sums(self.outcomes.get(str(operation), {}), ended)
            for operation, ended in row["outcomes"].items()
        }
        counts, arrivals = _sums(self.counts, row["counts"]), _sums(self.arrivals, row["arrivals"])
        self.newest[process] = row
        self.outcomes |= outcomes
        self.counts, self.arrivals = counts, arrivals

    def total(self, block: str, name: str) -> int:
        """The sum over all processes of one number of their last interval."""
        return sum(int(row[block].get(name, 0)) for row in self.newest.values())

    @property
    def phase(self) -> str:
        """The latest phase that any process is in; empty before the first interval."""
        return latest_phase(row.get("phase", "") for row in self.newest.values())

    @property
    def errors(self) -> int:
        """How many operations ended in another outcome than ok."""
        return sum(
            count
            for outcomes in self.outcomes.values()
            for outcome, count in outcomes.items()
            if outcome != Outcome.OK
        )


def _sums(totals: Mapping[str, int], more: Mapping[Any, int]) -> dict[str, int]:
    return {**totals, **{str(name): totals.get(str(name), 0) + more[name] for name in more}}


COMING = (Phase.RUNNING, Phase.PAUSED)
"""Phases before the way out: guests come, or would if the run were not paused."""


class Section(StrEnum):
    """Where a count stands in ``run.json``."""

    SESSIONS = "sessions"
    ARRIVALS = "arrivals"
    GENERATOR = "generator"
    FORENSICS = "forensics"
    GUESTS = "guests"
    STORIES = "stories"
    QUESTIONS = "questions"


class CountedBy(StrEnum):
    """Who keeps a count."""

    LEDGER = "the ledger of each process, at any moment"
    SCHEDULE = "the dispatch of arrivals in each process"
    GUESTS = "the guests of each process"
    FILES = "whoever reads the files of the run, at its end or later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A plain number of a run: what it is called, what it counts, who counts it."""

    name: str
    section: Section
    many: str
    """several of them, in a sentence"""
    by: CountedBy
    label: str = ""
    """what became of a session of this class, or of a question"""
    more: str = ""
    """what else a reader has to know"""
    judged: bool = True
    """whether an objective may name it"""
    alarming: bool = False
    """whether the summary tells it when there is one"""
    marked: bool = False
    """whether the charts mark the first, as they do of an alarming one"""

    @property
    def grouped(self) -> bool:
        """Whether it is one of an account's ways to end, such as ``guests failed``."""
        return self.section in (Section.GUESTS, Section.STORIES, Section.QUESTIONS)

    @property
    def objective(self) -> str:
        """What an objective calls it."""
        return f"{self.section} {self.name}" if self.grouped else self.name

    @property
    def meaning(self) -> str:
        """What it counts, with what else a reader has to know."""
        return f"{self.many}: {self.more}" if self.more else self.many


def _of(section: Section, by: CountedBy, *, judged: bool = True, **many: str) -> list[Counter]:
    return [
        Counter(name=name, section=section, many=text, by=by, judged=judged)
        for name, text in many.items()
    ]


def _unusual(name: str, many: str, more: str = "", **flags: Any) -> Counter:
    flags |= {"section": Section.FORENSICS, "by": CountedBy.GUESTS}
    return Counter(name=name, many=many, more=more, **flags)


def _class(
    name: str, label: str, many: str, by: CountedBy = CountedBy.LEDGER, more: str = ""
) -> Counter:
    """One of the classes of which each session is in exactly one."""
    section = Section.SESSIONS
    return Counter(name=name, section=section, many=many, by=by, label=label, more=more)


def _question(name: str, label: str, many: str) -> Counter:
    """One of the ends of which each question has exactly one."""
    section = Section.QUESTIONS
    return Counter(name=name, section=section, many=many, by=CountedBy.GUESTS, label=label)


FRAMES_EXPECTED = "expected"
"""Frames that were neither late nor doubled nor anything else worth a name: the one count of what
is as it should be."""
_COUNTERS = (
    *_of(
        Section.SESSIONS,
        CountedBy.LEDGER,
        intended="sessions intended",
        opened="sessions opened",
    ),
    _class("cleared", "cleared", "sessions cleared with proof", more="with the service's proof"),
    _class("ended_by_service", "ended by the service", "sessions ended by the service"),
    _class("never_configured", "never came to be", "sessions that never came to be"),
    _class("settled", "settled by sweep", "sessions settled by a sweep", CountedBy.FILES),
    _class(
        "disconnected",
        "disconnected by the Platform API",
        "sessions whose conversation the Platform API ended",
        CountedBy.FILES,
        more="their sessions lapse",
    ),
    _class("leftover", "leftover", "sessions left behind", more="no proof of an end"),
    *_of(
        Section.ARRIVALS,
        CountedBy.SCHEDULE,
        due="arrivals due",
        started="arrivals started",
        late="arrivals started late",
        dropped="arrivals dropped",
        paused="arrivals that fell into a pause",
    ),
    *_of(
        Section.ARRIVALS,
        CountedBy.SCHEDULE,
        judged=False,
        no_slot="arrivals late or dropped because no slot was free",
        slots_gone="slots that ended for good though nobody had asked them to",
        slots_done="slots that had nothing more to do",
        at_cap="processes in which the cap on sessions has turned a guest away",
        held_ms="milliseconds for which the highest rate or a silent master kept slots empty",
    ),
    *_of(Section.GENERATOR, CountedBy.FILES, workers_lost="worker processes lost"),
    # The worst first: in this order they are shown.
    _unusual("cross_talk", "messages of another guest's session", alarming=True),
    _unusual("unasked_clear", "SessionClearedEvents that nobody had asked for", alarming=True),
    _unusual("after_clear", "messages after the proof of Clear", alarming=True),
    _unusual(
        "not_new",
        "sessions that the service did not call new",
        "their tokens were new, so they may be another guest's; no Join was sent",
        alarming=True,
    ),
    _unusual("duplicate", "messages that came twice"),
    _unusual("out_of_order", "messages older, by the service's clock, than one before them"),
    _unusual("late_message", "answers to requests that had been given up"),
    _unusual("unmatched_echo", "echoes that no guest of this process had caused"),
    _unusual("bad_frame", "frames that could not be read"),
    _unusual("unknown_frame", "frames of a kind that we do not know"),
    _unusual(
        "clear_is_off",
        "refusals of Clear",
        "switch on 'Conversation Clear' in the Messenger configuration of this deployment, or "
        "every session stays open until it expires",
        alarming=True,
    ),
    _unusual("typing_is_off", "refusals of typing", "this deployment has it switched off"),
    _unusual("rate_limited", "answers 429", "a limit of the service was reached", marked=True),
    _unusual("disconnected_by_service", "conversations that the other side ended"),
    _unusual("logged_out", "guests whose customers were logged out", "LogoutEvent"),
    _unusual("reconnects", "connections lost and made again", marked=True),
    _unusual(
        "going_away", "connections ended by the service as idle or too old", "close code 1001"
    ),
    _unusual("renewed", "connections replaced at their maximum age"),
    _unusual("resumed_anew", "sessions that the service had forgotten when their guest came back"),
    _unusual("recovered", "messages fetched from the history after a reconnect"),
    _unusual("paced", "requests that waited for the guest's own limit"),
    _unusual("paced_connects", "connections that waited for the limit of connections"),
    _unusual("end_resumes", "sessions resumed only to be ended"),
    _unusual("out_of_range", "durations above twelve days", "kept as a week"),
    _unusual(FRAMES_EXPECTED, "messages that were as they should be"),
    *_of(
        Section.GUESTS,
        CountedBy.GUESTS,
        arrived="guests who arrived",
        served="guests who were served",
        failed="guests who were not served",
        cut="guests cut short by the end of the run",
    ),
    *_of(
        Section.STORIES,
        CountedBy.GUESTS,
        begun="stories that began",
        finished="stories that finished",
        broken_off="stories that broke off",
        cut="stories cut short by the end of the run",
    ),
    *_of(Section.QUESTIONS, CountedBy.GUESTS, asked="questions asked"),
    _question("answered", "answered", "questions that were answered"),
    _question("timed_out", "timed out", "questions whose answer did not come in time"),
    _question("unanswered", "unanswered", "questions that were not answered"),
    _question(
        "cut_short",
        "cut short by the end of the run",
        "questions cut short by the end of the run",
    ),
    _question("failed", "answered by an error", "questions that were answered with an error"),
    _question("lost", "lost with the connection", "questions lost with their connection"),
    *_of(
        Section.QUESTIONS,
        CountedBy.GUESTS,
        ambiguous="answers that may belong to another question",
    ),
)

COUNTERS: MappingProxyType[str, Counter] = MappingProxyType(
    {one.objective: one for one in _COUNTERS}
)
"""The counts of a run, by what an objective calls them. Of an account the first is the whole."""


def counters_of(section: Section, by: CountedBy | None = None) -> tuple[str, ...]:
    """Names of the counts of a section, in order; only those that somebody keeps, if given."""
    return tuple(one.name for one in _COUNTERS if one.section is section and by in (None, one.by))


def _labelled(section: Section) -> MappingProxyType[str, str]:
    counters = (one for one in _COUNTERS if one.section is section and one.label)
    return MappingProxyType({one.name: one.label for one in counters})


CLASSES = _labelled(Section.SESSIONS)
"""The classes of the account of sessions, and what became of those in each. They add up."""
QUESTION_ENDS = _labelled(Section.QUESTIONS)
"""The ends of the account of questions, and what became of those with each. They add up."""
GROUPS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {str(one): counters_of(one) for one in (Section.GUESTS, Section.STORIES, Section.QUESTIONS)}
)
"""The accounts, and what an objective may name of each."""


DOUBT_WINDOW_NS = 5_000_000_000
"""A further message within this time makes an answer ambiguous; a later one does not."""


class Wait(Enum):
    """What a story waits for beyond the first message of an answer, and whether it has had it."""

    NONE = "nothing"
    OPEN = "waited for"
    MET = "has come"
    MISSED = "waited for in vain"


_NOTHING = Wait.NONE  # looking up a member of an enum is slow


class Question:
    """Something of ours that may be answered.

    It ends exactly once, with ``outcome``: OK when a message has answered it. One is made for each
    message of ours.
    """

    __slots__ = (
        "ambiguous",
        "arrived_ns",
        "content",
        "due_ns",
        "last",
        "messages",
        "operation",
        "outcome",
        "seen_ns",
        "sent_ns",
        "taken",
        "turn",
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
        self.messages = 0
        self.last: tuple[int, int] | None = None
        """when its last message arrived and was seen, so far, if that is not the first"""
        self.ambiguous = False
        """whether the message may have been the answer to something else"""
        self.taken = False
        """whether the story has had the answer"""
        self.content = self.turn = _NOTHING
        """an answer with certain words; all that the other side says until it is silent"""

    def doubt(self) -> None:
        """Another message would have been as good an answer: what it says decides nothing."""
        self.content, self.ambiguous = _NOTHING, True

    @property
    def exact(self) -> bool:
        """Whether it is sure that its answer answered it."""
        if self.content is Wait.MET:
            return True
        return not self.ambiguous and (self.messages <= 1 or self.turn is not _NOTHING)


def interval_s(elapsed_s: float) -> float:
    """How long an interval is, so long after the start of a run."""
    if elapsed_s < 3600:
        return 1.0
    return 10.0 if elapsed_s < 86_400 else 60.0
