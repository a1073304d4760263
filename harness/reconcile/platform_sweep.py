"""Ends from the operator's side what could not be ended from the guest's: disconnect it.

A disconnect takes effect a moment later, and is believed when it shows: each conversation is looked
at until it is over or the time is up. What is not seen to have ended stays a leftover.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from harness.clock import monotonic_ns
from harness.errors import PlatformApiError
from harness.ledger.leftovers import Leftover, settle
from harness.ledger.store import Stage
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import (
    Seen,
    Standing,
    conversations_by_id,
    disconnect,
    standing_now,
)
from harness.reconcile.matching import Matches, Road, Spoken, match

LOOK_AGAIN_S = 1.0
EFFECT_WITHIN_S = 60.0
"""How long a disconnect is given to show; what the service needs is not published."""


@dataclass(slots=True, kw_only=True)
class Disconnected:
    """How it came out."""

    disconnected: int = 0
    over_already: int = 0
    """the service says that their conversation has ended, or that the guest has left it"""
    not_found: int = 0
    """no conversation is known for them: they stay on the list"""
    still_open: int = 0
    """asked to end, and still open when the time was up"""
    not_told: int = 0
    """asked to end, and the service does not show whether they have"""
    refused: dict[str, int] = field(default_factory=dict)
    """the service would not disconnect them: how many, by its own words"""

    @property
    def settled(self) -> int:
        """Sessions that hold nobody any more."""
        return self.disconnected + self.over_already


def sweep_by_platform(
    leftovers: list[Leftover],
    api: PlatformApi,
    run_id: str,
    *,
    start: datetime,
    end: datetime,
    searched_until: datetime | None = None,
    within_s: float = EFFECT_WITHIN_S,
    closed: Collection[Road] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> Disconnected:
    """Disconnect each leftover's conversations and settle it when the service shows their end.

    Raises PlatformApiError when the service can't be asked, LedgerError when it can't be noted.
    """
    result = Disconnected()
    matches = Matches()
    sessions = [Spoken(one.token, one.message_id, True) for one in leftovers]
    match(
        matches,
        sessions,
        api,
        run_id,
        start=start,
        end=end,
        searched_until=searched_until,
        closed=closed,
    )
    conversations: dict[str, list[str]] = {}
    for conversation, token in matches.tokens.items():
        conversations.setdefault(token, []).append(conversation)
    world = _World(api, start, end)
    waiting: dict[str, Leftover] = {}
    for leftover in leftovers:
        ours = conversations.get(leftover.token, [])
        if not ours:
            result.not_found += 1
            continue
        alive = [one for one in ours if not world.standing(one).over]
        if not alive:
            result.over_already += 1
            settle(leftover, "platform: over already", Stage.DISCONNECTED)
            continue
        why = _refusal(api, alive)
        if why:
            result.refused[why] = result.refused.get(why, 0) + 1
        else:
            waiting[leftover.token] = leftover
            conversations[leftover.token] = alive
    deadline = monotonic_ns() + int(within_s * 1e9)
    while waiting:
        world.look_again([one for token in waiting for one in conversations[token]])
        for token, leftover in list(waiting.items()):
            if all(world.standing(one).over for one in conversations[token]):
                result.disconnected += 1
                settle(leftover, "platform: disconnected", Stage.DISCONNECTED)
                del waiting[token]
        if not waiting or monotonic_ns() >= deadline:
            break
        sleep(min(LOOK_AGAIN_S, max(0.01, (deadline - monotonic_ns()) / 1e9)))
    for token in waiting:
        told = Standing.OPEN in map(world.standing, conversations[token])
        result.still_open += told
        result.not_told += not told
    return result


def _refusal(api: PlatformApi, conversations: list[str]) -> str:
    """Disconnect all of them; why the service would not, empty if it would."""
    for one in conversations:
        try:
            disconnect(api, one)
        except PlatformApiError as error:
            if error.status not in (400, 403, 404, 409):
                raise
            return str(error)
    return ""


class _World:
    """How conversations stand: each looked at itself or, where that is denied, in analytics."""

    def __init__(self, api: PlatformApi, start: datetime, end: datetime) -> None:
        self._api = api
        self._span = (start, end)
        self._standing: dict[str, Standing] = {}

    def standing(self, conversation: str) -> Standing:
        """As it was when it was looked at last."""
        if conversation not in self._standing:
            self.look_again([conversation])
        return self._standing[conversation]

    def look_again(self, conversations: list[str]) -> None:
        """Ask for all of them that are not over yet."""
        hidden = []
        for one in conversations:
            if (known := self._standing.get(one)) is not None and known.over:
                continue
            self._standing[one] = standing_now(self._api, one)
            if self._standing[one] is Standing.UNKNOWN:
                hidden.append(one)
        if hidden:
            shown: list[Seen] = Matches().ask(
                "conversations by their ids",
                lambda: list(conversations_by_id(self._api, hidden, *self._span)),
                [],
            )
            for seen in shown:
                self._standing[seen.id] = seen.standing
