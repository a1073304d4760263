"""Ask the service itself whether a run left sessions open, and compare that with the ledger.

A session's conversation is found in three ways. The id of its first message is certain, and costs
one call for each session. The attributes that each guest sent are read fifty at a time, if the
client may read them. The journey id is in analytics, if analytics shows it, and then it is late.

The state of a conversation is read from analytics, which lags. If that does not say that it has
ended, the conversation itself is read; if that is not possible (another division, no permission),
analytics counts. If neither tells, the state is *unknown*, and unknown never counts as clean.

SessionClearedEvent ends the session. The conversation ends after it, asynchronously, and may hold
an agent until then. The ledger has the time of the proof, the Platform API the time when the
guest's part of the conversation ended. These are two clocks: their difference is in every lag, and
a conversation may seem to have ended before the proof (it is counted, and its lag is 0).
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from rich.console import Console

from harness.clock import monotonic_ns, utc_iso
from harness.errors import PlatformApiError
from harness.judge.record import operation_block
from harness.ledger.ledger import OVER, SILENT, Stage, guest_tag
from harness.ledger.reader import Row, read_account, read_rows
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Tried, write_addition
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import (
    ConversationState,
    Seen,
    Tagged,
    cleared_total,
    conversation_of_message,
    conversations_by_id,
    conversations_of_guests,
    conversations_of_run,
    open_conversations,
    state_now,
)
from harness.protocol.requests import journey_id
from harness.report.wording import ms_text
from harness.rundir.layout import RunDirectory, sweep_command
from harness.units import duration_text

FEW_SESSIONS = 200
"""In a run with at most this many sessions each is looked up by its message first."""
MAX_LOOKUPS = 1_000
"""Most sessions that are looked up one by one in one pass: the service allows 300 calls a
minute."""
LOOKUP_TRIES = 2
"""How often a conversation is looked up by its message, at most."""
T = TypeVar("T")


class MatchedBy(StrEnum):
    """How a conversation was matched to a session."""

    MESSAGE = "message id"
    ATTRIBUTES = "attributes"
    JOURNEY = "journey id"


@dataclass(frozen=True, slots=True)
class Span:
    """The time span in which a run's conversations are searched."""

    start: datetime
    began_until: datetime
    """none of its conversations began later"""
    end: datetime
    """analytics is asked up to this time"""


@dataclass(frozen=True, slots=True)
class Search:
    api: PlatformApi
    run_id: str
    span: Span
    closed: Collection[MatchedBy] = ()
    """ways that are not tried: a preflight has found that they do not work"""
    tell: Callable[[str], object] = lambda _: None
    """takes what is being asked, and how far that is"""

    def each(self, many: Collection[T], what: str) -> Iterator[T]:
        """All of them, one after the other, telling how far it is."""
        for number, one in enumerate(many, 1):
            self.tell(f"{what}: {number:,} of {len(many):,}")
            yield one


@dataclass(frozen=True, slots=True)
class Spoken:
    """The ledger's data of a session by which its conversation is found."""

    token: str = field(repr=False)
    message_id: str
    leftover: bool


@dataclass(slots=True)
class Matches:
    """Conversations by their ids. Kept from one pass to the next: a match stays valid."""

    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    """the token of each conversation's session"""
    matched_by: dict[str, MatchedBy] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)
    """conversations of this run by their attributes that belong to no session in the ledger"""
    refused: dict[str, str] = field(default_factory=dict)
    """questions that the service refused, with its own words"""
    looked_up: Counter[str] = field(default_factory=Counter)
    """how often each token's message was looked up"""

    def add(self, conversation: str, token: str, way: MatchedBy) -> None:
        """Add a conversation that was found; the first way in which it was found counts."""
        self.tokens.setdefault(conversation, token)
        self.matched_by.setdefault(conversation, way)

    def ask(self, what: str, question: Callable[[], T], otherwise: T) -> T:
        """The answer to a question; ``otherwise`` if it was refused (the refusal is noted).

        Raises PlatformApiError if the service can't be asked at all.
        """
        try:
            return question()
        except PlatformApiError as error:
            if not error.refused:
                raise
            self.refused[what] = str(error)
            return otherwise

    def ask_by_id(self, search: Search, ids: list[str]) -> list[Seen]:
        """What analytics shows of these conversations. Raises the errors of :meth:`ask`."""
        api, span = search.api, search.span
        return self.ask(
            "conversations by their ids",
            lambda: list(conversations_by_id(api, ids, span.start, span.end)),
            [],
        )


def match(
    matches: Matches, sessions: Iterable[Spoken], search: Search, *, thorough: bool = True
) -> None:
    """Find the conversations of these sessions, as far as the service shows them now.

    Unless ``thorough``, only leftovers are looked up one by one if there are many sessions.
    Raises PlatformApiError if the service can't be asked at all.
    """
    api, span, closed = search.api, search.span, search.closed
    all_of_them = list(sessions)
    certain = [one for one in all_of_them if one.message_id and MatchedBy.MESSAGE not in closed]
    if len(all_of_them) <= FEW_SESSIONS:
        _by_message(matches, certain, search)
    ours: dict[str, Tagged] = {}
    what = "conversations by their attributes"

    def no_end() -> None:
        matches.refused[what] = "the service's list of them has no end: some may be missing"

    search.tell(what)
    if MatchedBy.ATTRIBUTES not in closed:
        ours = matches.ask(
            what,
            lambda: conversations_of_run(
                api, search.run_id, span.start, span.began_until, on_no_end=no_end
            ),
            ours,
        )
    by_tag = {guest_tag(one.token): one for one in all_of_them}
    for conversation, tagged in ours.items():
        session = by_tag.get(tagged.guest)
        if session is not None:
            matches.add(conversation, session.token, MatchedBy.ATTRIBUTES)
        elif conversation not in matches.tokens:
            matches.strangers.add(conversation)
    matched = set(matches.tokens.values())
    missing = {journey_id(one.token): one for one in all_of_them if one.token not in matched}
    if missing and MatchedBy.JOURNEY not in closed:
        search.tell("conversations by their journey ids")
        for seen in matches.ask(
            "conversations by their journey ids",
            lambda: list(conversations_of_guests(api, list(missing), span.start, span.end)),
            list[Seen](),
        ):
            if (session := missing.get(seen.journey)) is not None:
                matches.add(seen.id, session.token, MatchedBy.JOURNEY)
    matched = set(matches.tokens.values())
    rest = [one for one in certain if one.token not in matched and (thorough or one.leftover)]
    rest.sort(key=lambda one: not one.leftover)
    _by_message(matches, rest[:MAX_LOOKUPS], search)
    matches.strangers -= matches.tokens.keys()


def _by_message(matches: Matches, sessions: list[Spoken], search: Search) -> None:
    what = "conversations by their messages"
    known = {
        token
        for key, token in matches.tokens.items()
        if matches.matched_by[key] is MatchedBy.MESSAGE
    }
    for one in search.each(sessions, what):
        if matches.looked_up[one.token] >= LOOKUP_TRIES or one.token in known:
            continue
        matches.looked_up[one.token] += 1
        conversation = matches.ask(
            what, partial(conversation_of_message, search.api, one.message_id), None
        )
        if what in matches.refused:
            return  # it will be forbidden for all the others too
        if conversation is not None:
            matches.add(conversation, one.token, MatchedBy.MESSAGE)


@dataclass(slots=True, kw_only=True)
class EndLags:
    """Samples (wall time of the proof, lag; both in ns) of the sessions that Clear ended."""

    samples: list[tuple[int, int]] = field(default_factory=list)
    cleared: int = 0
    """conversations of the run whose session was cleared with proof: those that have a lag"""
    before_proof: int = 0
    """samples whose conversation ended before we saw the proof"""


MOST_NS = 2**62
"""The longest lag (146 years), if the service's times give a longer one."""


def end_lags(rows: Mapping[str, Row], shown: Mapping[str, Seen]) -> EndLags:
    """``rows`` are from the ledger, ``shown`` is from analytics, both by conversation.

    A conversation that analytics does not show as ended is not measured.
    """
    lags = EndLags()
    for conversation, row in rows.items():
        if row[2] != Stage.CLEARED:
            continue
        lags.cleared += 1
        seen = shown.get(conversation)
        if seen is None or seen.gone is None:
            continue
        lag_ns = round(seen.gone.timestamp() * 1e9) - row[5]
        lags.before_proof += lag_ns < 0
        lags.samples.append((row[5], min(max(0, lag_ns), MOST_NS)))
    return lags


ASK_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A conversation that is open at the service, or may be."""

    conversation_id: str
    token: str = field(default="", repr=False)
    """the guest's, shortened; empty if the ledger does not know it"""
    stage: str = ""
    agent: bool = False
    started: str = ""
    why: str = ""
    """if its state is unknown: the reason"""


@dataclass(slots=True, kw_only=True)
class Audit:
    """The result of an audit: lists of conversations, and how certain they are."""

    leftovers: list[Finding] = field(default_factory=list)
    """open at the service, without proof of an end in the ledger"""
    cleared_yet_open: list[Finding] = field(default_factory=list)
    """open at the service, though the ledger has proof of their end"""
    not_in_ledger: list[Finding] = field(default_factory=list)
    """of this run, but not in the ledger: there must be none"""
    unknown: list[Finding] = field(default_factory=list)
    """their state is unknown"""
    others: int = 0
    """open conversations that are not of this run; only counted"""
    wrap_up: int = 0
    """conversations that the guest has left and an agent has not closed yet"""
    spoke: int = 0
    """sessions of the ledger that have a conversation"""
    visible: int = 0
    """how many of these the service shows"""
    cleared: int = 0
    """conversations of the run that analytics itself calls cleared"""
    cleared_in_ledger: int = 0
    cleared_by_all: int | None = None
    """all conversations that analytics counts as cleared in these days, of this run or not; None:
    it can't be asked"""
    left_out: int = 0
    """open conversations that the service counts but does not return"""
    damaged: list[str] = field(default_factory=list)
    """what is wrong with ledger files that may hide sessions"""
    matched: Counter[str] = field(default_factory=Counter)
    """how conversations were matched to sessions"""
    refused: dict[str, str] = field(default_factory=dict)
    """questions that the service refused, with its own words"""
    looks: int = 0
    ends: EndLags = field(default_factory=EndLags)

    @property
    def all_visible(self) -> bool:
        """Whether the service showed every conversation that the ledger knows of."""
        return self.visible >= self.spoke

    @property
    def certainly_open(self) -> int:
        """Conversations of this run that are open for certain."""
        return len(self.leftovers) + len(self.cleared_yet_open) + len(self.not_in_ledger)

    @property
    def certain(self) -> bool:
        """Whether the state of each of the run's conversations is known."""
        return self.all_visible and not (self.unknown or self.left_out or self.damaged)

    @property
    def clean(self) -> bool:
        """Whether no conversation of this run is open at the service, and all states are known."""
        return not self.certainly_open and self.certain


def audit(
    run_dir: Path,
    search: Search,
    *,
    deadline_s: float,
    on_look: Callable[[Audit], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Audit:
    """Ask until no conversation is open and all states are known, or until the deadline: the
    service shows changes late.

    Raises PlatformApiError if the service can't be asked at all.
    """
    rows = [row for path in RunDirectory(run_dir).ledgers() for row in read_rows(path)]
    look = _Looks(rows, search)
    deadline = monotonic_ns() + int(deadline_s * 1e9)
    damaged = read_account(run_dir).damaged
    looks = 0
    while True:
        looks += 1
        # A call for each: with many sessions only if the other ways have not sufficed in time.
        last = monotonic_ns() >= deadline
        latest = look.once(thorough=last or len(look.sessions) <= FEW_SESSIONS)
        latest.looks, latest.damaged = looks, damaged
        on_look(latest)
        if latest.clean or last:
            return latest
        search.tell(f"look {looks} has not told all: the service shows changes late; looking again")
        sleep(min(ASK_AGAIN_S, max(0.1, (deadline - monotonic_ns()) / 1e9)))


class _Looks:
    """What an audit keeps from one pass to the next."""

    def __init__(self, rows: list[Row], search: Search) -> None:
        self._rows = {row[1]: row for row in rows if row[2] != Stage.NEVER_CONFIGURED}
        self.sessions = [
            Spoken(token, row[6], row[2] not in OVER) for token, row in self._rows.items()
        ]
        self._search, self._api = search, search.api
        self._start, self._end = search.span.start, search.span.end
        self._matches = Matches()
        self._settled: dict[str, ConversationState] = {}
        """conversations that have ended; they stay ended"""
        self._shown: dict[str, Seen] = {}

    def once(self, *, thorough: bool) -> Audit:
        """Ask for every conversation that is not known to have ended.

        Unless ``thorough``, those with a proof in the ledger are not looked up one by one.
        """
        matches = self._matches
        matches.refused.clear()
        match(matches, self.sessions, self._search, thorough=thorough)
        spoke = [one for one in self.sessions if one.message_id]
        known = set(matches.tokens.values())
        audit = Audit(
            spoke=len(spoke),
            visible=sum(one.token in known for one in spoke),
            cleared_in_ledger=sum(
                bool(row[6]) and row[2] == Stage.CLEARED for row in self._rows.values()
            ),
            matched=Counter(str(way) for way in matches.matched_by.values()),
        )
        self._look_at_open(audit)
        self._check_run_conversations(audit, thorough=thorough)
        audit.unknown += [  # leftovers that may have a conversation, and none was found
            Finding(
                conversation_id="",
                token=f"{token[:8]}…",
                stage=row[2],
                why="no conversation was found for it",
            )
            for token, row in self._rows.items()
            if token not in known and row[2] not in OVER and row[2] not in SILENT
        ]
        audit.cleared = sum(one.cleared for one in self._shown.values())
        audit.cleared_by_all = matches.ask(
            "the total of what was cleared",
            lambda: cleared_total(self._api, self._start, self._end),
            None,
        )
        audit.refused = dict(matches.refused)
        ours = {key: self._rows[token] for key, token in matches.tokens.items()}
        audit.ends = end_lags(ours, self._shown)
        return audit

    def _look_at_open(self, audit: Audit) -> None:
        """The conversations that analytics shows as open, of this run or not."""
        matches = self._matches
        self._search.tell("open conversations")

        def left_out(count: int) -> None:
            audit.left_out += count

        listed: list[Seen] = matches.ask(
            "open conversations",
            lambda: list(
                open_conversations(self._api, self._start, self._end, on_left_out=left_out)
            ),
            [],
        )
        ours = matches.tokens.keys() | matches.strangers
        audit.others = len({one.id for one in listed} - ours)

    def _check_run_conversations(self, audit: Audit, *, thorough: bool) -> None:
        """Get the state of each of the run's conversations; those of leftovers come first."""
        matches = self._matches
        ids = [*matches.tokens, *matches.strangers]
        pending = [one for one in ids if one not in self._shown or one not in self._settled]
        self._shown |= {one.id: one for one in matches.ask_by_id(self._search, pending)}
        left = MAX_LOOKUPS
        ids.sort(key=self._is_over_in_ledger)
        for conversation in self._search.each(ids, "how conversations stand"):
            state = self._settled.get(conversation)
            if state is None:
                wanted = thorough or not self._is_over_in_ledger(conversation)
                state = self._state_of(conversation, direct=wanted and left > 0)
                left -= wanted
                if state.over:
                    self._settled[conversation] = state
            self._note(audit, conversation, state)

    def _state_of(self, conversation: str, *, direct: bool) -> ConversationState:
        seen = self._shown.get(conversation)
        proved = self._is_over_in_ledger(conversation)
        if seen is not None and seen.state.over and (proved or not direct):
            return seen.state  # without proof, analytics alone is not believed
        now = state_now(self._api, conversation) if direct else ConversationState.UNKNOWN
        if now is ConversationState.UNKNOWN and seen is not None:
            return seen.state  # an older state, the best known
        return now

    def _is_over_in_ledger(self, conversation: str) -> bool:
        token = self._matches.tokens.get(conversation)
        return token is not None and self._rows[token][2] in OVER

    def _note(self, audit: Audit, conversation: str, state: ConversationState) -> None:
        if state is ConversationState.WRAP_UP:
            audit.wrap_up += 1
        if state.over:
            return
        token = self._matches.tokens.get(conversation)
        row = None if token is None else self._rows[token]
        seen = self._shown.get(conversation)
        unknown = state is ConversationState.UNKNOWN
        finding = Finding(
            conversation_id=conversation,
            token=f"{row[1][:8]}…" if row else "",
            stage=row[2] if row else "",
            agent=seen is not None and seen.agent,
            started="" if seen is None else seen.started,
            why="analytics does not show it, nor can it be looked at itself" if unknown else "",
        )
        if unknown:
            audit.unknown.append(finding)
        elif row is None:
            audit.not_in_ledger.append(finding)
        elif row[2] in OVER:
            audit.cleared_yet_open.append(finding)
        else:
            audit.leftovers.append(finding)


SHOWN = 20
END_LAG = "conversation_end"
SHOWN_TIMES = MappingProxyType({"p50": 50.0, "p95": 95.0, "max": 100.0})


def end_figures(directory: Path, ends: EndLags) -> dict[str, dict[str, Any]]:
    """How long conversations went on after the proof: written to disk, and for the record."""
    if not ends.samples:
        return {}
    times = write_addition(directory, END_LAG, ends.samples)
    tried = Tried(bounds=times)
    return {END_LAG: operation_block({"ok": times.count}, tried, tried)}


def audit_block(
    audit: Audit, counts: dict[str, int], deadline_s: float, waited_s: float
) -> dict[str, Any]:
    return {
        "when": utc_iso(),
        "looks": audit.looks,
        "deadline_s": deadline_s,
        "waited_for_rate_limits_s": round(waited_s, 1),
        "conversations": audit.spoke,
        "visible": audit.visible,
        "leftovers": [asdict(one) for one in audit.leftovers],
        "cleared_yet_open": [asdict(one) for one in audit.cleared_yet_open],
        "not_in_ledger": [asdict(one) for one in audit.not_in_ledger],
        "unknown": [asdict(one) for one in audit.unknown],
        "left_out": audit.left_out,
        "damaged": audit.damaged,
        "refused": audit.refused,
        "cleared": {
            "ledger": audit.cleared_in_ledger,
            "analytics": audit.cleared,
            "analytics, of everybody": audit.cleared_by_all,
        },
        "others": audit.others,
        "wrap_up": audit.wrap_up,
        "matched_by": dict(audit.matched),
        "observed": counts,
        "ends": {
            "measured": len(audit.ends.samples),
            "cleared": audit.ends.cleared,
            "before_the_proof": audit.ends.before_proof,
        },
    }


def show_audit(
    directory: Path, audit: Audit, counts: dict[str, int], deadline_s: float, console: Console
) -> None:
    say = partial(console.print, highlight=False, soft_wrap=True)
    name, within, beside = directory.name, duration_text(deadline_s), " " * 8
    for title, findings in (
        ("confirmed leftovers: open at the service, no proof in the ledger", audit.leftovers),
        ("cleared by proof, yet open at the service", audit.cleared_yet_open),
        ("open, of this run, and not in the ledger", audit.not_in_ledger),
        ("of unknown state: perhaps open", audit.unknown),
    ):
        say(f"{len(findings):>6,}  {title}", style="red" if findings else "")
        for one in findings[:SHOWN]:
            agent = ", with an agent" if one.agent else ""
            why = f": {one.why}" if one.why else ""
            say(f"{beside}  {one.conversation_id or '-'}  {one.token} {one.stage}{agent}{why}")
    say(f"{audit.others:>6,}  open conversations of others")
    if audit.wrap_up:
        say(f"{audit.wrap_up:>6,}  left by their guest, in an agent's wrap-up: no leftovers")
    if counts:
        shown = ", ".join(f"{metric} {count:,}" for metric, count in counts.items())
        say(f"{beside}counted now, of all guests: {shown}")
    if audit.ends.cleared:
        say(f"{beside}conversations were over after the proof of Clear: {_ends_text(audit.ends)}")
    if audit.cleared_by_all is not None:
        few = audit.cleared_by_all < audit.cleared_in_ledger
        so_far = ": fewer than the ledger has proof of, so far" if few else ""
        say(
            f"{beside}cleared by their guests: {audit.cleared_in_ledger:,} in the ledger; "
            f"analytics shows {audit.cleared:,} of these, and {audit.cleared_by_all:,} of "
            f"everybody in these days{so_far}",
            style="yellow" if few else "",
        )
    doubts = [f"not told: {what}: {why}" for what, why in audit.refused.items()]
    doubts += [
        f"it may hide sessions: {why}; try them with {sweep_command(directory)} --derive"
        for why in audit.damaged
    ]
    if audit.left_out:
        doubts.append(
            f"the service counts {audit.left_out:,} more open conversations than it lists "
            "(of more than 100,000 it lists no more): they may be of this run"
        )
    for doubt in doubts:
        say(f"{beside}{doubt}", style="yellow")
    if not audit.all_visible:
        say(
            f"{name}: within {within} the service showed {audit.visible:,} of the "
            f"{audit.spoke:,} conversations that the ledger knows: ask again later, or with a "
            "client that may see all divisions",
            style="yellow",
        )
    if audit.clean:
        say(f"{name}: the service has nothing of this run open", style="bold green")
    elif not audit.certainly_open:
        say(f"{name}: it is not certain that nothing of this run is open", style="bold yellow")
    else:
        say(f"end them with: {sweep_command(directory)} --platform", style="bold")


def _ends_text(ends: EndLags) -> str:
    times = Histogram()
    times.record_many_ns([lag_ns for _, lag_ns in ends.samples])
    shown = [f"{name} {ms_text(times.percentile_ms(at))}" for name, at in SHOWN_TIMES.items()]
    early = f"; {ends.before_proof:,} before it (two clocks)" if ends.before_proof else ""
    return f"{', '.join(shown)} ({len(ends.samples):,} of {ends.cleared:,} known{early})"
