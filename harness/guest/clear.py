"""Leave a session: note ``clearing``, send Clear, wait for the proof, note the ending.

Each way in which this can fail is an :class:`Ending`; a session without proof stays a leftover. If
the connection is gone, the session is ended from a new one.
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
"""Errors that answer configureSession if the session belongs to another, signed-in guest."""


def end_session(
    connection: Connection,
    *,
    lost_ns: int | None = None,
    sign_ins: Iterable[str] = (),
    stray_id: str = "",
) -> Ending:
    """Make a new connection for a token and end its session, with proof.

    Raises only what the connection's ``on_configure`` raises.

    The answer to configureSession tells whether the session still exists. ``newSession`` true means
    that the service no longer knew the token, so the old session *was* over; the new, empty one
    that this request has opened is cleared as well. False means that it is alive; it is cleared.
    Only an answer with this request's own tracingId counts.
    Timed as ``resume`` from ``lost_ns`` if that is given. If the session turns out to be a
    signed-in guest's, ``sign_ins`` (JWTs) are tried one after the other. ``stray_id``: see
    :func:`stray_id_of`.
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
    gone = response.new_session and response.tracing_id == connection.inbox.configure_id
    ending = _cleared(connection, stray_before=stray_id if gone else "")
    connection.close()
    if ending is not Ending.CLEARED:
        return ending  # even if the old session is over, the empty one that we opened is not
    if connection.unanswered(monotonic_ns()):
        return Ending.NOT_YET  # an error that named no request made us try another sign-in
    return Ending.GONE if gone else ending


def stray_id_of(connection: Connection) -> str:
    """After an end that is ``UNCONFIRMED``: the id that may have been the service's own, or "".

    The service may name SessionClearedEvent itself, or it may have named another's Clear. If
    :func:`end_session` is given this id and finds that the session was over, it was the service's
    own: no third session has to be opened to learn how the empty one has ended.
    """
    return connection.inbox.stray_id


def was_alive(connection: Connection) -> bool:
    """After :func:`end_session`: whether the service has said that the session still existed."""
    inbox = connection.inbox
    response = inbox.response
    if response is None or response.new_session:
        return False
    return response.tracing_id == inbox.configure_id


def may_have_opened(connection: Connection) -> bool:
    """After :func:`end_session`: whether its request was answered, and may have opened a session
    itself. If that is not proved to be over, the next to ask finds it alive."""
    return connection.inbox.response is not None and not was_alive(connection)


def _cleared(connection: Connection, *, stray_before: str = "") -> Ending:
    """Send Clear on this connection, and wait for all of its proof."""
    settings = connection.settings
    ending = connection.clear(within_s=settings.clear_within_s)
    if ending is not Ending.CLEARED:
        return ending
    return connection.confirm(settings.close_within_s, stray_before=stray_before)


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
"""Longest wait (seconds) for a Retry-After of a refused connection: the end of a run waits too."""


@dataclass(slots=True, eq=False, repr=False)
class Clearing:
    """One session's row in the ledger, from ``intended`` to its end."""

    _ledger: Ledger
    _recorder: Recorder
    entry: Entry | None = None
    _unanswered: bool = False

    def mark(self, stage: Stage, reason: str = "") -> None:
        """Write the session's new stage, if it has a row."""
        if self.entry is not None:
            if self._unanswered:
                reason = with_unanswered(reason)
            self._ledger.mark(self.entry, stage, reason)

    def note_unanswered(self, unanswered: bool) -> bool:
        """Note whether a later configureSession may still be carried out (the stage covers the
        first). True if the ledger must be flushed before the next one is sent, also if another call
        has just noted it: that note may not be on disk yet."""
        entry = self.entry
        if entry is None:
            return False
        if unanswered is not self._unanswered:
            self._unanswered = unanswered
            self.mark(entry.stage)
        return unanswered

    def note_first_message(self, message_id: str) -> None:
        """Note the id that the service gave to the guest's first message when it accepted it."""
        entry = self.entry
        if entry is not None and entry.stage not in OVER:
            self._ledger.mark(entry, entry.stage, entry.reason, message_id=message_id)

    def end(self, connection: Connection, *, others: Iterable[Connection] = ()) -> Ending:
        """End the session as far as possible, and note how. Never raises.

        From now on neither this connection nor the ``others`` of the session open another one. A
        configureSession that they have already sent may be carried out after our Clear; then only a
        resume can tell how the session stands.
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
        # If only one configureSession was ever sent, the session found was opened by it.
        once = new and not others and len(connection.inbox.unanswered_configures) == 1
        if configuring and ending is Ending.CLEARED:
            ending = Ending.UNCONFIRMED
        lost_ns = connection.inbox.lost_ns or monotonic_ns()
        stray_id, wait_s = stray_id_of(connection), 0.0
        if ending in UNSETTLED and not new:
            self.mark(Stage.CLEARING)  # on disk before the session is asked for again
        for attempt in range(settings.end_attempts):
            if ending not in UNSETTLED:
                break
            if attempt:
                backoff_s = settings.end_backoff_s * 2 ** (attempt - 1)
                gevent.sleep(max(backoff_s, min(wait_s, MOST_WAIT_S)))
            self._recorder.count("end_resumes")
            connection.log("its end is %s: asking for the session again", ending)
            again = Connection(
                settings, connection.token, self._recorder, on_configure=self._note_configure_sent
            )
            ending = settled(first, end_session(again, lost_ns=lost_ns, stray_id=stray_id))
            stray_id = stray_id_of(again) or stray_id
            if once and was_alive(again):
                unanswered = False
            if again.unanswered(began_ns):
                unanswered, once = True, False
            once = once and not may_have_opened(again)
            wait_s = again.retry_after_s
        if unanswered and ending.proof:
            ending = Ending.NOT_YET  # there is no session now, but one may still be opened
        self._unanswered = unanswered
        self._note(connection, ending)
        return ending

    def _note_configure_sent(self, sending: bool) -> None:
        if sending and self.note_unanswered(True):
            self._flush_quietly()

    def _clear_here(self, connection: Connection) -> Ending:
        """Send Clear on the connection that is open, if one is.

        A refusal proves that there is no session only if nothing follows it.
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
        if not ending.proof:
            connection.log("its end is %s: the session is a leftover", ending)
        if ending is Ending.REFUSED:
            self._recorder.count("clear_is_off")
        self._flush_quietly()

    def _flush_quietly(self) -> None:
        """On the way out a broken ledger must not keep us from sending Clear."""
        with contextlib.suppress(LedgerError):  # the ledger itself has stopped the run
            self._ledger.flush()


def shielded(work: Callable[[], object]) -> None:
    """Do the work in a greenlet that nobody else can kill, and wait for it.

    An exception that is thrown into the caller meanwhile, such as a kill, is raised after the work.
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
