"""Each error answer has its exception and its word, and only the service's own word proves."""

import pytest

from harness.errors import (
    ConnectFailed,
    ConnectionLost,
    Forbidden,
    RateLimited,
    ServiceError,
    SessionExpired,
    SessionNotFound,
    UpgradeRejected,
)
from harness.guest.outcomes import (
    Ending,
    connect_outcome,
    ending_of,
    outcome_of,
    question_outcome,
    reason_of,
    service_error,
    sign_in_outcome,
)
from harness.measure.model import Outcome
from harness.protocol.codec import Failure


@pytest.mark.parametrize(
    ("code", "kind", "outcome", "ending"),
    [
        (403, Forbidden, Outcome.FORBIDDEN, Ending.REFUSED),
        (429, RateLimited, Outcome.RATE_LIMITED, Ending.RATE_LIMITED),
        (4029, RateLimited, Outcome.RATE_LIMITED, Ending.RATE_LIMITED),
        (4006, SessionExpired, Outcome.EXPIRED, Ending.EXPIRED),
        (4007, SessionNotFound, Outcome.SERVICE_ERROR, Ending.CUT),
        (5000, ServiceError, Outcome.SERVICE_ERROR, Ending.ERROR),
    ],
)
def test_an_error_answer(code: int, kind: type, outcome: Outcome, ending: Ending) -> None:
    error = service_error(Failure(code, "text", "id", 2.0))
    assert type(error) is kind
    assert (outcome_of(error), ending_of(error)) == (outcome, ending)


def test_an_open_question_is_lost_only_with_its_connection() -> None:
    assert question_outcome(ConnectionLost(1006), connected=False) is Outcome.LOST
    late = ConnectionLost(None, "no answer within 5 s", timed_out=True)  # of an HTTP request
    assert question_outcome(late, connected=True) is Outcome.UNANSWERED
    for dialled in (ConnectFailed("tcp", "refused"), ConnectFailed("tls", "late", timed_out=True)):
        assert question_outcome(dialled, connected=True) is Outcome.UNANSWERED
        assert question_outcome(dialled, connected=False) is Outcome.LOST


def test_that_a_session_is_said_to_have_expired_is_no_proof() -> None:
    assert {ending for ending in Ending if ending.proof} == {
        Ending.CLEARED,
        Ending.GONE,
        Ending.ENDED,
        Ending.NEVER,
    }


def test_how_connecting_failed() -> None:
    assert connect_outcome(UpgradeRejected(429)) is Outcome.RATE_LIMITED
    assert connect_outcome(UpgradeRejected(403)) is Outcome.REFUSED
    assert connect_outcome(ConnectFailed("tcp", "late", timed_out=True)) is Outcome.TIMEOUT
    said = ConnectFailed("proxy", "the proxy refused: HTTP/1.1 403 host not within policy")
    assert connect_outcome(said) is Outcome.REFUSED, "words of others decide nothing"
    assert connect_outcome(ConnectionLost(None)) is Outcome.REFUSED


def test_how_signing_in_failed() -> None:
    assert sign_in_outcome(service_error(Failure(401, "no", None, None))) is Outcome.SERVICE_ERROR
    assert sign_in_outcome(ConnectFailed("tcp", "late", timed_out=True)) is Outcome.TIMEOUT
    assert sign_in_outcome(ConnectionLost(None, "late", timed_out=True)) is Outcome.TIMEOUT
    assert sign_in_outcome(ZeroDivisionError()) is Outcome.REFUSED


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (409, "the other side had ended the conversation"),
        (4007, "the service no longer knew the session"),
        (5000, "the service answered 5000"),
    ],
)
def test_why_a_story_broke_off_is_true_also_where_no_answer_came(code: int, words: str) -> None:
    assert reason_of(service_error(Failure(code, "text"))) == words
