"""The way out of a session: note ``clearing``, send Clear, wait for the proof, note what came.

Whatever goes wrong on the way has its word, and a session without proof stays a leftover.

Ending a session from a new connection, where the old one is gone.
"""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import gevent

from harness.clock import monotonic_ns
from harness.errors import (
    ConnectFailed,
    LedgerError,
    ReplyTimeout,
    ServiceError,
    TransportError,
    UpgradeRejected,
)
from harness.guest.connection import UNHEARD, Connection
from harness.guest.outcomes import (
    UNSETTLED,
    Ending,
    ending_of,
    ending_of_state,
    settled,
)
from harness.ledger.ledger import OVER, Entry, Ledger, Stage, with_unanswered
from harness.measure.model import Outcome
from harness.measure.recorder import Recorder
from harness.protocol.codec import SessionResponse
from harness.protocol.requests import ErrorCode
from harness.protocol.session import AWAITS_CONFIGURED, CLEARABLE, State

NOT_THIS_SIGN_IN = frozenset(
    {ErrorCode.CANNOT_DOWNGRADE, ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN}
)
"""Answers to configureSession where the session is a signed-in guest's, and another one's."""


def end_session(
    connection: Connection, *, lost_ns: int | None = None, sign_ins: Iterable[str] = ()
) -> Ending:
    """Make a new connection for a token and end its session, with proof.

    Raises what the connection's ``on_configure`` does, and nothing else.

    The answer to configureSession tells what is left of it: ``newSession`` true means that the
    service no longer knew the token, so the session in question *was* over; the new, empty one
    that this very question has made is cleared as well. False means that it lives: it is cleared.
    Only an answer with this request's own tracingId tells either.
    Timed as ``resume`` from ``lost_ns`` where that is given. Where the session turns out to be a
    signed-in guest's, ``sign_ins`` (JWTs) are tried one after the other.
    """
    try:
        connection.connect()
        response = _resume(connection, lost_ns, sign_ins)
    except UpgradeRejected as rejected:
        connection.retry_after_s = rejected.retry_after_s or 0.0
        return Ending.UNREACHABLE
    except ConnectFailed:
        return Ending.UNREACHABLE
    except ServiceError as error:
        connection.close()
        if error.code == ErrorCode.CANNOT_DOWNGRADE or (
            connection.settings.sign_in and error.code in NOT_THIS_SIGN_IN
        ):
            return Ending.SIGNED_IN
        ending = ending_of(error)
        return ending if ending in (Ending.EXPIRED, Ending.RATE_LIMITED) else Ending.ERROR
    except ReplyTimeout:
        connection.close()
        return Ending.UNANSWERED
    except TransportError:
        return Ending.CUT
    ending = _cleared(connection)
    connection.close()
    if ending is not Ending.CLEARED:
        return ending  # even if the old session is over, the empty one that we made is not
    if connection.unanswered(monotonic_ns()):
        return Ending.NOT_YET  # an error without a name made us try another sign-in
    gone = response.new_session and response.tracing_id == connection.inbox.configure_id
    return Ending.GONE if gone else ending


def was_alive(connection: Connection) -> bool:
    """After :func:`end_session`: whether the service has said that it still had the session."""
    inbox = connection.inbox
    response = inbox.response
    if response is None or response.new_session:
        return False
    return response.tracing_id == inbox.configure_id


def _cleared(connection: Connection) -> Ending:
    """Send Clear on the connection that there is, and wait for all of its proof."""
    settings = connection.settings
    ending = connection.clear(within_s=settings.clear_within_s)
    return ending if ending is not Ending.CLEARED else connection.confirm(settings.close_within_s)


def _resume(
    connection: Connection, lost_ns: int | None, sign_ins: Iterable[str]
) -> SessionResponse:
    try:
        return connection.configure(due_ns=lost_ns, operation="resume")
    except ServiceError as error:
        if error.code != ErrorCode.CANNOT_DOWNGRADE:
            raise
        refused = error
    for sign_in in sign_ins:
        try:
            return connection.configure(due_ns=lost_ns, operation="resume", sign_in=sign_in)
        except ServiceError as error:
            if error.code not in NOT_THIS_SIGN_IN:
                raise
    raise refused


MOST_WAIT_S = 30.0
"""Of what the service asks for when it refuses a connection: the end of a run waits for us."""


@dataclass(slots=True, eq=False, repr=False)
class Clearing:
    """One session's row in the ledger, from announcement to end."""

    _ledger: Ledger
    _recorder: Recorder
    entry: Entry | None = None
    _unanswered: bool = False

    def mark(self, stage: Stage, reason: str = "") -> None:
        """Move the session on in the ledger, if it is there."""
        if self.entry is not None:
            if self._unanswered:
                reason = with_unanswered(reason)
            self._ledger.mark(self.entry, stage, reason)

    def note_unanswered(self, unanswered: bool) -> bool:
        """Whether a configureSession after the first one may be carried out still; of that one the
        stage tells. True where the ledger is to be flushed before one leaves, also if another has
        just noted it: that may not be on the disk yet."""
        entry = self.entry
        if entry is None:
            return False
        if unanswered is not self._unanswered:
            self._unanswered = unanswered
            self.mark(entry.stage)
        return unanswered

    def note_first_message(self, message_id: str) -> None:
        """The service has accepted a first message of ours, under this id."""
        entry = self.entry
        if entry is not None and entry.stage not in OVER:
            self._ledger.mark(entry, entry.stage, entry.reason, message_id=message_id)

    def end(self, connection: Connection, *, others: Iterable[Connection] = ()) -> Ending:
        """End the session as well as it can be ended, and note how. Never raises.

        From now on nothing of this guest makes another one: neither this connection nor the
        ``others`` of the session. A configureSession of theirs that is on its way may do so after
        our Clear, so only a resume can tell then.
        """
        others, began_ns = tuple(others), monotonic_ns()
        configuring = [other for other in others if other.state in AWAITS_CONFIGURED]
        for each in (connection, *others):
            each.over = True
        settings = connection.settings
        if self.entry is None:
            return Ending.NEVER
        new = self.entry.stage is Stage.INTENDED
        for other in others:
            other.await_contradiction(within_s=settings.close_within_s, states=UNHEARD)
            if other in configuring or other.state in UNHEARD:
                other.close()
        unanswered = any(other.unanswered(began_ns) for other in others)
        first = ending = self._clear_here(connection)
        unanswered |= connection.unanswered(began_ns)
        # Where one has left in all, what there is was opened by it: it was carried out.
        once = new and not others and len(connection.inbox.unanswered_configures) == 1
        if configuring and ending is Ending.CLEARED:
            ending = Ending.UNCONFIRMED
        lost_ns = connection.inbox.lost_ns or monotonic_ns()
        wait_s = 0.0
        for attempt in range(settings.end_attempts):
            if ending not in UNSETTLED:
                break
            if attempt:
                backoff_s = settings.end_backoff_s * 2 ** (attempt - 1)
                gevent.sleep(max(backoff_s, min(wait_s, MOST_WAIT_S)))
            self._recorder.count("end_resumes")
            again = Connection(
                settings, connection.token, self._recorder, on_configure=self._note_configure_sent
            )
            ending = settled(first, end_session(again, lost_ns=lost_ns))
            if once and was_alive(again):
                unanswered = False
            if again.unanswered(began_ns):
                unanswered, once = True, False
            wait_s = again.retry_after_s
        if unanswered and ending.proof:
            ending = Ending.NOT_YET  # it is not there, and may yet come
        self._unanswered = unanswered
        self._note(connection, ending)
        return ending

    def _note_configure_sent(self, sending: bool) -> None:
        if sending and self.note_unanswered(True):
            self._flush_quietly()

    def _clear_here(self, connection: Connection) -> Ending:
        """Clear on the connection that we have.

        A refusal proves only with the silence after it that there is no session.
        """
        connection.await_contradiction(within_s=connection.settings.close_within_s)
        if connection.state in CLEARABLE and connection.connected:
            self.mark(Stage.CLEARING)
            self._flush_quietly()
        ending = _cleared(connection)
        connection.inbox.pending.give_up(Outcome.LOST)
        connection.close()
        if ending is Ending.NEVER:  # an answer may have come while the connection was closed
            return ending_of_state(connection.session) or Ending.CUT
        return ending

    def _note(self, connection: Connection, ending: Ending) -> None:
        reason = ending.reason
        if ending is Ending.NEVER:
            reason = "refused" if connection.state is State.REFUSED else "not connected"
        self.mark(ending.stage, reason)
        if ending is Ending.REFUSED:
            self._recorder.count("clear_is_off")
        self._flush_quietly()

    def _flush_quietly(self) -> None:
        """On the way out a broken ledger must not keep us from sending Clear."""
        with contextlib.suppress(LedgerError):  # the ledger itself has told the run, which stops
            self._ledger.flush()


def shielded(work: Callable[[], object]) -> None:
    """Do it in a greenlet that nobody else can kill, and wait for it.

    Raises what came to the caller meanwhile, such as a kill, once the work is done.
    """
    working = gevent.spawn(work)
    killed: BaseException | None = None
    while not working.ready():
        try:
            working.join()
        except BaseException as error:  # noqa: BLE001 - raised again below, when it is safe
            killed = error
    if killed is not None:
        raise killed
