"""How long after the proof of a session's end its conversation was over at the service.

SessionClearedEvent ends the session; the conversation ends after it, asynchronously, and until then
it may hold an agent. Our ledger knows when the proof came, the Platform API when the guest's part
of the conversation was over. These are two clocks: where they are apart, so are all lags, and a
conversation may seem to have ended before the proof (counted, and taken for no lag at all).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.ledger.reader import Row
from harness.ledger.store import Stage
from harness.platform_api.conversations import Seen


@dataclass(slots=True, kw_only=True)
class EndLags:
    """Samples (wall time of the proof, lag; both in ns) of the sessions that Clear ended."""

    samples: list[tuple[int, int]] = field(default_factory=list)
    cleared: int = 0
    """conversations of the run whose session was cleared with proof: what could be measured"""
    before_proof: int = 0
    """of the samples, those whose conversation ended before we saw the proof"""


def end_lags(rows: Mapping[str, Row], shown: Mapping[str, Seen]) -> EndLags:
    """``rows`` are the ledger's and ``shown`` what analytics has, both by conversation.

    What analytics does not show as over is not measured.
    """
    found = EndLags()
    for conversation, row in rows.items():
        if row[2] != Stage.CLEARED:
            continue
        found.cleared += 1
        seen = shown.get(conversation)
        if seen is None or seen.gone is None:
            continue
        lag_ns = round(seen.gone.timestamp() * 1e9) - row[5]
        found.before_proof += lag_ns < 0
        found.samples.append((row[5], max(0, lag_ns)))
    return found
