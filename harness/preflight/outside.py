"""The guest's visit as the operators' side shows it: under which names, and how late.

Asked while the conversation is open and again after its Clear, until it is shown as over or the
time is up.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from harness.clock import monotonic_ns, wall_ns
from harness.errors import PlatformApiError
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import (
    Look,
    Seen,
    Standing,
    Tagged,
    conversation_of_message,
    conversations_by_id,
    conversations_of_guests,
    conversations_of_run,
    look_now,
)
from harness.preflight.meeting import Meeting
from harness.protocol.requests import journey_id

LOOK_EVERY_S = 3.0
WITHIN_S = 90.0
"""For so long analytics may take to show the end of the visit; it is not published how long."""
MARGIN = timedelta(minutes=10)
T = TypeVar("T")


@dataclass(slots=True)
class Outside:
    """What the Platform API showed of one visit."""

    api: PlatformApi
    learned: dict[str, Any] = field(default_factory=dict)
    """fields of :class:`harness.preflight.stamp.Learned`"""
    conversation: str = ""
    standing: Standing = Standing.UNKNOWN
    """the last that was told, by the conversation itself or by analytics"""
    refused: set[str] = field(default_factory=set)

    def look_while_open(self, meeting: Meeting) -> None:
        """Find the conversation and see that it counts as open. Never raises."""
        self._find(meeting)
        if self.conversation:
            now = self._ask(lambda: look_now(self.api, self.conversation), Look(Standing.UNKNOWN))
            self.learned["direct_shown"] = now.standing is not Standing.UNKNOWN
            self.learned["purpose_direct"] = now.purpose or None
            self.standing = now.standing
            self._analytics(meeting, wall_ns())

    def look_after(
        self,
        meeting: Meeting,
        *,
        within_s: float = WITHIN_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Look until all views show the end, or the time is up. Never raises."""
        deadline = monotonic_ns() + int(within_s * 1e9)
        while True:
            self._look(meeting)
            if self._all_told() or monotonic_ns() >= deadline:
                break
            sleep(min(LOOK_EVERY_S, max(0.05, (deadline - monotonic_ns()) / 1e9)))
        if "search" not in self.refused:
            self.learned.setdefault("search_shown", False)

    def _all_told(self) -> bool:
        known = self.learned
        direct = known.get("ended_s") is not None or known.get("direct_shown") is False
        analytics = known.get("analytics_ends_s") is not None or "analytics" in self.refused
        searched = known.get("search_shown") is not None or "search" in self.refused
        return direct and analytics and searched

    def _look(self, meeting: Meeting) -> None:
        if not self.conversation:
            self._find(meeting)
        self._search(meeting)
        if not self.conversation:
            return
        known, cleared_ns = self.learned, meeting.cleared_wall_ns or wall_ns()
        if known.get("ended_s") is None and known.get("direct_shown") is not False:
            now = self._ask(lambda: look_now(self.api, self.conversation), Look(Standing.UNKNOWN))
            known["direct_shown"] = now.standing is not Standing.UNKNOWN
            known["purpose_direct"] = now.purpose or known.get("purpose_direct")
            self.standing = now.standing
            if now.standing.over:
                known["ended_s"] = _since(cleared_ns)
        if known.get("analytics_ends_s") is None:
            self._analytics(meeting, cleared_ns)

    def _find(self, meeting: Meeting) -> None:
        if not meeting.message_id:
            return
        found = self._ask(
            lambda: conversation_of_message(self.api, meeting.message_id), None, "messages"
        )
        self.learned["message_leads"] = found is not None
        self.conversation = found or self.conversation

    def _search(self, meeting: Meeting) -> None:
        if "search" in self.refused or self.learned.get("search_shown"):
            return
        start, end = _span(meeting)
        nothing: dict[str, Tagged] = {}
        found = self._ask(
            lambda: conversations_of_run(self.api, meeting.run_id, start, end), nothing, "search"
        )
        for conversation, tagged in found.items():
            self.conversation = self.conversation or conversation
            self.learned |= {
                "search_shown": True,
                "attribute_prefix": tagged.prefix,
                "purpose_search": tagged.purpose or None,
            }

    def _analytics(self, meeting: Meeting, cleared_ns: int) -> None:
        if "analytics" in self.refused:
            return
        start, end = _span(meeting)
        nothing: list[Seen] = []
        wanted = journey_id(meeting.token)

        def by_journey() -> list[Seen]:
            return list(conversations_of_guests(self.api, [wanted], start, end))

        shown = self._ask(
            lambda: list(conversations_by_id(self.api, [self.conversation], start, end)),
            nothing,
            "analytics",
        )
        for seen in shown:
            known = self.learned
            known.setdefault("analytics_shows_s", _since(meeting.spoke_wall_ns))
            known["purpose_analytics"] = seen.purpose or None
            known["journey_shown"] = seen.journey == wanted and any(
                one.id == seen.id for one in self._ask(by_journey, nothing)
            )
            if seen.standing.over:
                known["analytics_ends_s"] = _since(cleared_ns)
            if known.get("direct_shown") is False:
                # That it shows it as open says nothing: it shows what was a while ago.
                self.standing = seen.standing if seen.standing.over else Standing.UNKNOWN

    def _ask(self, question: Callable[[], T], otherwise: T, name: str = "") -> T:
        """An answer; ``otherwise`` where there is none, whatever the reason: it was told before."""
        try:
            return question()
        except PlatformApiError as error:
            if name and error.status in (400, 403, 404):
                self.refused.add(name)
            return otherwise


def _span(meeting: Meeting) -> tuple[datetime, datetime]:
    spoke = datetime.fromtimestamp((meeting.spoke_wall_ns or wall_ns()) / 1e9, UTC)
    return spoke - MARGIN, spoke + MARGIN


def _since(wall: int) -> float:
    return round(max(0.0, (wall_ns() - wall) / 1e9), 1)
