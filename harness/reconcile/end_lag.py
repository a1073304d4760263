"""How long after the proof of a session's end its conversation was over at the service.

SessionClearedEvent ends the session; the conversation ends after it, asynchronously, and until then
it may hold an agent. Our ledger knows when the proof came, the Platform API when the guest's part
of the conversation was over. These are two clocks: where they are apart, so are all lags, and a
conversation may seem to have ended before the proof (counted, and taken for no lag at all).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from harness.errors import PlatformApiError
from harness.ledger.reading import Row
from harness.ledger.store import Stage
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import guests_gone

MOST = 10_000
"""Conversations looked at, whoever's they are; a hundred come with one call."""


@dataclass(slots=True, kw_only=True)
class EndLags:
    """Samples (wall time of the proof, lag; both in ns) of the sessions that Clear ended."""

    samples: list[tuple[int, int]] = field(default_factory=list)
    cleared: int = 0
    """conversations of the run whose session was cleared with proof: what could be measured"""
    before_proof: int = 0
    """of the samples, those whose conversation ended before we saw the proof"""


def end_lags(
    api: PlatformApi, rows: Mapping[str, Row], *, start: datetime, end: datetime
) -> EndLags:
    """``rows`` are the ledger's, by conversation. What can't be asked for is not measured."""
    proofs = {key: row[5] for key, row in rows.items() if row[2] == Stage.CLEARED}
    found = EndLags(cleared=len(proofs))
    if not proofs:
        return found
    try:
        for conversation, over in islice(guests_gone(api, start, end), MOST):
            proof_ns = proofs.pop(conversation, None)
            if proof_ns is None:
                continue
            lag_ns = round(over.timestamp() * 1e9) - proof_ns
            found.before_proof += lag_ns < 0
            found.samples.append((proof_ns, max(0, lag_ns)))
    except PlatformApiError:
        return found  # the audit itself has its answer; this client may not ask for the details
    return found
