"""Which conversation at the service belongs to which session of a ledger.

Three roads lead there. The id of a session's first message is the certain one, and costs a call for
each. The attributes that each guest sent come fifty at a time, for whoever may read them. The
journey id stands in what analytics shows, if it shows it, and as late as analytics does.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from harness.errors import PlatformApiError
from harness.ledger.tokens import guest_tag
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import (
    Seen,
    Tagged,
    conversation_of_message,
    conversations_of_guests,
    conversations_of_run,
)
from harness.protocol.requests import journey_id

FEW = 200
"""A run with no more sessions has each of them looked up by its message, before all else."""
LOOKUPS = 1_000
"""Sessions looked up one by one in one go, at most: the service allows 300 calls a minute."""
TRIES = 2
"""What a message did not lead to twice it is not asked for again."""
T = TypeVar("T")


class Road(StrEnum):
    """How a conversation was matched to a session."""

    MESSAGE = "message id"
    ATTRIBUTES = "attributes"
    JOURNEY = "journey id"


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a ledger knows of a session, for finding its conversation."""

    token: str
    message_id: str
    leftover: bool


@dataclass(slots=True)
class Matches:
    """Conversations by their ids. Kept from one look to the next: what is matched stays so."""

    tokens: dict[str, str] = field(default_factory=dict)
    """the session of each"""
    roads: dict[str, Road] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)
    """of this run by their attributes, and of no session that the ledger knows"""
    refused: dict[str, str] = field(default_factory=dict)
    """what the service would not tell, by the question, in its own words"""
    looked_up: Counter[str] = field(default_factory=Counter)
    """how often a token's message was asked for"""

    def add(self, conversation: str, token: str, road: Road) -> None:
        """One that was found; the first road to it counts."""
        self.tokens.setdefault(conversation, token)
        self.roads.setdefault(conversation, road)

    def ask(self, what: str, question: Callable[[], T], otherwise: T) -> T:
        """An answer, or ``otherwise`` where it was refused, which is noted.

        Raises PlatformApiError when the service can't be asked at all.
        """
        try:
            return question()
        except PlatformApiError as error:
            if error.status not in (400, 403, 404):
                raise
            self.refused[what] = str(error)
            return otherwise


def match(
    matches: Matches,
    sessions: Iterable[Spoken],
    api: PlatformApi,
    run_id: str,
    *,
    start: datetime,
    end: datetime,
    searched_until: datetime | None = None,
    closed: Collection[Road] = (),
    thorough: bool = True,
) -> None:
    """Find the conversations of these sessions, as far as the roads lead today.

    Unless ``thorough``, of many sessions only leftovers are looked up one by one.
    Roads that are ``closed`` are not tried: a preflight has found that they lead nowhere.
    Conversations began from ``start`` to ``searched_until`` (``end`` unless given), where analytics
    is asked until ``end``. Raises PlatformApiError when the service can't be asked at all.
    """
    all_of_them = list(sessions)
    certain = [one for one in all_of_them if one.message_id and Road.MESSAGE not in closed]
    if len(all_of_them) <= FEW:
        _by_message(matches, certain, api)
    ours: dict[str, Tagged] = {}
    if Road.ATTRIBUTES not in closed:
        ours = matches.ask(
            "conversations by their attributes",
            lambda: conversations_of_run(api, run_id, start, searched_until or end),
            ours,
        )
    by_tag = {guest_tag(one.token): one for one in all_of_them}
    for conversation, tagged in ours.items():
        session = by_tag.get(tagged.guest)
        if session is not None:
            matches.add(conversation, session.token, Road.ATTRIBUTES)
        elif conversation not in matches.tokens:
            matches.strangers.add(conversation)
    found = set(matches.tokens.values())
    missing = {journey_id(one.token): one for one in all_of_them if one.token not in found}
    if missing and Road.JOURNEY not in closed:
        shown: list[Seen] = matches.ask(
            "conversations by their journey ids",
            lambda: list(conversations_of_guests(api, list(missing), start, end)),
            [],
        )
        for seen in shown:
            if (session := missing.get(seen.journey)) is not None:
                matches.add(seen.id, session.token, Road.JOURNEY)
    found = set(matches.tokens.values())
    rest = [one for one in certain if one.token not in found and (thorough or one.leftover)]
    rest.sort(key=lambda one: not one.leftover)
    _by_message(matches, rest[:LOOKUPS], api)
    matches.strangers -= matches.tokens.keys()


def _by_message(matches: Matches, sessions: list[Spoken], api: PlatformApi) -> None:
    known = {token for key, token in matches.tokens.items() if matches.roads[key] is Road.MESSAGE}
    for one in sessions:
        if matches.looked_up[one.token] >= TRIES or one.token in known:
            continue
        matches.looked_up[one.token] += 1
        message_id = one.message_id
        conversation = matches.ask(
            "conversations by their messages",
            lambda message_id=message_id: conversation_of_message(api, message_id),  # type: ignore[misc]
            None,
        )
        if "conversations by their messages" in matches.refused:
            return  # once forbidden, always forbidden
        if conversation is not None:
            matches.add(conversation, one.token, Road.MESSAGE)
