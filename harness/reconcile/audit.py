"""Asks the service itself whether a run left anything behind, and compares with the ledger.

Conversations are matched to sessions by the custom attributes that each guest sent (one query for
a hundred of them); for what that leaves by the journey id, which is the guest's token and stands in
what analytics shows anyway; and for the rest by the id of the first message (one call each).
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from harness.clock import monotonic_ns
from harness.ledger.reading import Row, ledger_files, read_rows
from harness.ledger.store import OVER
from harness.ledger.tokens import guest_tag
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import (
    Seen,
    Standing,
    conversation_of_message,
    conversations_of_guests,
    conversations_of_run,
    open_conversations,
    standing_now,
    where_allowed,
)
from harness.reconcile.end_lag import EndLags, end_lags

ASK_AGAIN_S = 5.0
LOOKUPS = 1_000
"""Sessions looked up one by one by their message, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A conversation that is open at the service."""

    conversation_id: str
    token: str = ""
    """the guest's, shortened; empty if the ledger does not know it"""
    stage: str = ""
    agent: bool = False
    started: str = ""


@dataclass(slots=True, kw_only=True)
class Audit:
    """The four lists, and how sure they are."""

    leftovers: list[Finding] = field(default_factory=list)
    """open at the service, without proof of an end in the ledger"""
    cleared_yet_open: list[Finding] = field(default_factory=list)
    """the ledger has proof of their end, and the service has them open"""
    not_in_ledger: list[Finding] = field(default_factory=list)
    """of this run, and the ledger does not know them: there must be none"""
    others: int = 0
    """open conversations of others, only counted"""
    wrap_up: int = 0
    """the guest is gone, an agent has not yet closed it"""
    spoke: int = 0
    """sessions of the ledger that have a conversation"""
    visible: int | None = None
    """conversations of this run that the service shows; None if neither attributes nor journey ids
    lead to them"""
    matched: Counter[str] = field(default_factory=Counter)
    """how conversations were matched to sessions"""
    looks: int = 0
    ends: EndLags = field(default_factory=EndLags)

    @property
    def all_visible(self) -> bool:
        """Whether the service showed every conversation that the ledger knows of."""
        return self.visible is not None and self.visible >= self.spoke

    @property
    def clean(self) -> bool:
        """Nothing of this run is open at the service."""
        return not (self.leftovers or self.cleared_yet_open or self.not_in_ledger)


def audit(
    run_dir: Path,
    run_id: str,
    api: PlatformApi,
    *,
    start: datetime,
    end: datetime,
    deadline_s: float,
    on_look: Callable[[Audit], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    prefix: str = "",
) -> Audit:
    """Look until nothing is open and all is visible, or the deadline: what is shown lags behind.

    ``prefix`` stands before the names of custom attributes where the service shows them.
    Raises PlatformApiError when the service can't be asked at all.
    """
    rows = [row for path in ledger_files(run_dir) for row in read_rows(path)]
    book = _Book(rows)
    deadline = monotonic_ns() + int(deadline_s * 1e9)
    looks = 0
    while True:
        found = Audit(spoke=sum(bool(row[6]) for row in rows))
        looks += 1
        found.looks = looks
        known = _look(found, book, api, run_id, (start, end), prefix)
        on_look(found)
        done = (found.clean and found.all_visible) or monotonic_ns() > deadline
        if done or (found.visible is None and found.clean and not found.spoke):
            found.ends = end_lags(api, known, start=start, end=end)
            return found
        sleep(min(ASK_AGAIN_S, max(0.1, (deadline - monotonic_ns()) / 1e9)))


class _Book:
    """The ledger's rows, by each of the names under which the service may show them."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.by_tag = {guest_tag(row[1]): row for row in rows}
        self.by_token = {row[1]: row for row in rows}
        self.by_message: dict[str, Row] = {}
        """by the conversation that their first message led to"""
        self.by_journey: dict[str, Row] = {}
        """by the conversation that analytics shows for their token"""


def _look(
    found: Audit,
    book: _Book,
    api: PlatformApi,
    run_id: str,
    span: tuple[datetime, datetime],
    prefix: str,
) -> dict[str, Row]:
    """Fill in what is seen now; the ledger's row of each conversation that is known."""
    seen = {one.id: one for one in open_conversations(api, *span)}
    ours = where_allowed(conversations_of_run, api, run_id, *span, prefix=prefix) or {}
    if ours or not found.spoke:
        found.visible = len(ours)
    else:  # attributes lead nowhere: ask by journey ids
        spoke = [row[1] for row in book.rows if row[6]]
        shown = where_allowed(_by_journey, api, spoke, *span) or {}
        book.by_journey = {
            key: book.by_token[token] for key, token in shown.items() if token in book.by_token
        }
        found.visible = len(set(shown.values())) or None
    for conversation in ours.keys() - seen.keys():
        # Analytics may not show it yet; the conversation itself is asked, where it might be open.
        row = book.by_tag.get(ours[conversation])
        if row is None or row[2] not in OVER:
            seen[conversation] = Seen(id=conversation, standing=Standing.OPEN)
    unmatched = {
        one.id for one in seen.values() if one.id not in ours and one.journey not in book.by_token
    }
    if unmatched:
        _match_by_message(book, api, unmatched, enough=found.visible is not None)
    for one in seen.values():
        if one.id in ours:
            row, how = book.by_tag.get(ours[one.id]), "attributes"
        elif (row := book.by_token.get(one.journey)) is not None:
            how = "journey id"
        elif (row := book.by_message.get(one.id)) is not None:
            how = "message id"
        else:
            found.others += 1
            continue
        found.matched[how] += 1
        standing = standing_now(api, one.id)
        if standing is Standing.WRAP_UP:
            found.wrap_up += 1
        if standing is not Standing.OPEN:
            continue
        finding = Finding(
            conversation_id=one.id,
            token=f"{row[1][:8]}…" if row else "",
            stage=row[2] if row else "",
            agent=one.agent,
            started=one.started,
        )
        if row is None:
            found.not_in_ledger.append(finding)
        elif row[2] in OVER:
            found.cleared_yet_open.append(finding)
        else:
            found.leftovers.append(finding)
    by_tag = {key: book.by_tag[tag] for key, tag in ours.items() if tag in book.by_tag}
    return book.by_message | book.by_journey | by_tag


def _by_journey(
    api: PlatformApi, tokens: list[str], start: datetime, end: datetime
) -> dict[str, str]:
    found = conversations_of_guests(api, tokens, start, end)
    return {one.id: one.journey for one in found if one.journey}


def _match_by_message(book: _Book, api: PlatformApi, wanted: set[str], *, enough: bool) -> None:
    """Look sessions up by their first message until all open conversations are explained.

    Where a cheaper way works (``enough``) only what is left over is worth a call of its own.
    """
    known = {row[1] for row in book.by_message.values()}
    candidates = [row for row in book.rows if row[6] and row[1] not in known]
    candidates.sort(key=lambda row: row[2] in OVER)
    for row in candidates[:LOOKUPS]:
        if not wanted - book.by_message.keys() or (enough and row[2] in OVER):
            return
        conversation = conversation_of_message(api, row[6])
        if conversation is not None:
            book.by_message[conversation] = row
