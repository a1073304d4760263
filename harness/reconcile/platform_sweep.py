"""Ends from the operator's side what could not be ended from the guest's: disconnect it."""

from dataclasses import dataclass
from datetime import datetime

from harness.errors import PlatformApiError
from harness.ledger.leftovers import Leftover, settle
from harness.ledger.tokens import guest_tag
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import (
    Standing,
    conversation_of_message,
    conversations_of_run,
    disconnect,
    standing_now,
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
) -> Disconnected:
    """Disconnect each leftover's conversation and settle it when the service says that it ended.

    Raises PlatformApiError when the service can't be asked, LedgerError when it can't be noted.
    """
    result = Disconnected()
    try:
        ours = conversations_of_run(api, run_id, start, end)
    except PlatformApiError as error:
        if error.status not in (400, 403, 404):
            raise
        ours = {}
    by_tag = {tag: conversation for conversation, tag in ours.items() if tag}
    for leftover in leftovers:
        conversation = by_tag.get(guest_tag(leftover.token))
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
