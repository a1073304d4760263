"""Ends from the operator's side what could not be ended from the guest's: disconnect it."""

from dataclasses import dataclass
from datetime import datetime

from harness.ledger.leftovers import Leftover, settle
from harness.ledger.tokens import guest_tag
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import (
    Standing,
    conversation_of_message,
    conversations_of_guests,
    conversations_of_run,
    disconnect,
    standing_now,
    where_allowed,
)


@dataclass(slots=True, kw_only=True)
class Disconnected:
    """How it came out."""

    disconnected: int = 0
    over_already: int = 0
    """the service says that their conversation has ended, or that the guest has left it"""
    not_found: int = 0
    """no conversation is known for them: they stay on the list"""
    still_open: int = 0

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
    prefix: str = "",
) -> Disconnected:
    """Disconnect each leftover's conversation and settle it when the service says that it ended.

    It is found by the guest's attributes (whose names the service may show with a ``prefix``), by
    its journey id, or by its first message: whatever works.
    Raises PlatformApiError when the service can't be asked, LedgerError when it can't be noted.
    """
    result = Disconnected()
    by_tag, by_token = _found(leftovers, api, run_id, (start, end), prefix)
    for leftover in leftovers:
        conversation = by_tag.get(guest_tag(leftover.token)) or by_token.get(leftover.token)
        if conversation is None and leftover.message_id:
            conversation = conversation_of_message(api, leftover.message_id)
        if conversation is None:
            result.not_found += 1
            continue
        standing = standing_now(api, conversation)
        if standing in (Standing.ENDED, Standing.WRAP_UP):
            result.over_already += 1
            settle(leftover, f"platform: {standing}")
        elif disconnect(api, conversation) in (Standing.ENDED, Standing.WRAP_UP):
            result.disconnected += 1
            settle(leftover, "platform: disconnected")
        else:
            result.still_open += 1
    return result


def _found(
    leftovers: list[Leftover],
    api: PlatformApi,
    run_id: str,
    span: tuple[datetime, datetime],
    prefix: str,
) -> tuple[dict[str, str], dict[str, str]]:
    """Conversations by the guest's tag, and those that this leaves by its token."""
    ours = where_allowed(conversations_of_run, api, run_id, *span, prefix=prefix) or {}
    by_tag = {tag: conversation for conversation, tag in ours.items() if tag}
    missing = [one.token for one in leftovers if guest_tag(one.token) not in by_tag]
    return by_tag, where_allowed(_by_journey, api, missing, *span) or {}


def _by_journey(
    api: PlatformApi, tokens: list[str], start: datetime, end: datetime
) -> dict[str, str]:
    return {seen.journey: seen.id for seen in conversations_of_guests(api, tokens, start, end)}
