"""The table is the machine: illegal moves change nothing, and every sequence stays legal."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LocalProtocolError
from harness.protocol.session import (
    AWAITS_CLEARED,
    CLEARED,
    ENDED,
    TRANSITIONS,
    Receive,
    Send,
    SessionState,
    State,
)

TELLS_OF_A_SESSION = (
    Receive.CONFIGURED,
    Receive.CONFIGURED_READ_ONLY,
    Receive.ANOTHER_CONFIGURED,
    Receive.EXPIRED,
)
INPUTS = [*Send, *Receive]


def test_the_way_of_a_good_session() -> None:
    session = SessionState()
    session.send(Send.CONFIGURE)
    assert session.receive(Receive.CONFIGURED)
    session.send(Send.SPEAK)
    session.send(Send.CLEAR)
    assert session.state is State.CLEARING
    assert session.receive(Receive.CLEARED)
    assert session.state in ENDED
    assert session.receive(Receive.CLEAR_ECHOED)
    assert session.state is State.PROVED


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("what", INPUTS)
def test_each_cell_of_the_table(state: State, what: Send | Receive) -> None:
    session = SessionState()
    session.state = state
    after = TRANSITIONS.get((state, what))
    assert state in AWAITS_CLEARED or what is not Receive.CLEARED or after is None
    if isinstance(what, Receive):
        assert session.receive(what) is (after is not None)
    elif after is None:
        with pytest.raises(LocalProtocolError, match=f"can't {what} while the session is {state}"):
            session.send(what)
    else:
        session.send(what)
    assert session.state is (after or state)


@given(st.lists(st.sampled_from(INPUTS), max_size=40))
def test_only_the_services_own_word_ends_a_session(sequence: list[Send | Receive]) -> None:
    session = SessionState()
    for what in sequence:
        before = session.state
        if isinstance(what, Receive):
            session.receive(what)
        else:
            try:
                session.send(what)
            except LocalProtocolError:
                assert session.state is before
        if session.state in ENDED and before not in ENDED:
            assert what in (Receive.CLEARED, Receive.EXPIRED)
            assert what is Receive.EXPIRED or before in AWAITS_CLEARED
        if before in CLEARED and session.state not in CLEARED:
            assert what is Receive.CLEAR_REFUSED
        if before is State.EXPIRED and session.state is not before:
            assert what in (Receive.CONFIGURED, Receive.CONFIGURED_READ_ONLY)


@given(st.lists(st.sampled_from(INPUTS), max_size=40))
def test_what_may_exist_never_becomes_what_never_existed(sequence: list[Send | Receive]) -> None:
    session = SessionState()
    told = False
    for what in sequence:
        if isinstance(what, Receive):
            session.receive(what)
        else:
            with contextlib.suppress(LocalProtocolError):
                session.send(what)
        told = told or what in TELLS_OF_A_SESSION
        assert not (told and session.never_existed)


def test_a_living_session_is_not_undone_by_a_refusal_to_start_anew() -> None:
    session = SessionState()
    for step in (Send.CONFIGURE, Receive.CONFIGURED_READ_ONLY, Send.START_NEW, Receive.REFUSED):
        session.receive(step) if isinstance(step, Receive) else session.send(step)
    assert session.state is State.LOST
    assert not session.never_existed
    session.send(Send.START_NEW)  # it may be tried again
