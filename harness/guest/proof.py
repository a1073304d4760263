"""From what is known of a session to the word for its end, and from that to its ledger stage.

The one place where both are derived: the table of :mod:`harness.protocol.session` is what is
known, and only an ending that is a proof takes a session off the list of leftovers.
"""

from harness.guest.outcomes import Ending
from harness.ledger.store import Stage
from harness.protocol.session import SessionState, State

CLEARABLE = frozenset({State.OPEN, State.READ_ONLY, State.CLEARING})
"""In these a Clear can be sent on the connection that there is."""
UNSETTLED = frozenset({Ending.CUT, Ending.UNREACHABLE, Ending.EXPIRED, Ending.UNCONFIRMED})
"""After these a new connection may still tell what became of the session."""

_PROVED = {
    Ending.CLEARED: (Stage.CLEARED, ""),
    Ending.GONE: (Stage.CLEARED, str(Ending.GONE)),
    Ending.ENDED: (Stage.ENDED, str(Ending.EXPIRED)),
    Ending.NEVER: (Stage.NEVER_CONFIGURED, ""),
}


def ending_of_state(session: SessionState) -> Ending | None:
    """The ending that the state alone tells; None where Clear has to be sent to know one."""
    if session.never_existed:
        return Ending.NEVER
    if session.state is State.CLEARED:
        return Ending.CLEARED
    if session.state is State.EXPIRED:
        return Ending.EXPIRED
    return None if session.state in CLEARABLE else Ending.CUT


def settled(before: Ending, resumed: Ending) -> Ending:
    """The ending of a session that ended ``before`` so and was then resumed, with that result."""
    return Ending.ENDED if before is Ending.EXPIRED and resumed is Ending.GONE else resumed


def stage_of(ending: Ending) -> tuple[Stage, str]:
    """Ledger stage and reason. Whatever is no proof leaves the session on the list."""
    return _PROVED.get(ending, (Stage.LOST, str(ending)))
