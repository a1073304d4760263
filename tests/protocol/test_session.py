"""The table is the machine: illegal moves change nothing, and every sequence stays legal."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LocalProtocolError
from harness.protocol.session import ENDED, TRANSITIONS, Did, Got, SessionState, State

INPUTS = [*Did, *Got]


def test_the_way_of_a_good_session() -> None:
    session = SessionState()
    session.do(Did.CONFIGURE)
    assert session.got(Got.CONFIGURED)
    session.do(Did.SPEAK)
    session.do(Did.CLEAR)
    assert session.state is State.CLEARING
    assert session.got(Got.CLEARED)
    assert session.state in ENDED


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("what", INPUTS)
def test_each_cell_of_the_table(state: State, what: Did | Got) -> None:
    session = SessionState()
    session.state = state
    after = TRANSITIONS.get((state, what))
    assert (state is State.CLEARING) or (what is not Got.CLEARED) or after is None
    if isinstance(what, Got):
        assert session.got(what) is (after is not None)
    elif after is None:
        with pytest.raises(LocalProtocolError, match=f"can't {what} while the session is {state}"):
            session.do(what)
    else:
        session.do(what)
    assert session.state is (after or state)


@given(st.lists(st.sampled_from(INPUTS), max_size=40))
def test_only_the_services_own_word_ends_a_session(sequence: list[Did | Got]) -> None:
    session = SessionState()
    for what in sequence:
        before = session.state
        if isinstance(what, Got):
            session.got(what)
        else:
            try:
                session.do(what)
            except LocalProtocolError:
                assert session.state is before
        if session.state in ENDED and before not in ENDED:
            assert what in (Got.CLEARED, Got.EXPIRED)
            assert what is Got.EXPIRED or before is State.CLEARING
        if before is State.CLEARED and session.state is not before:
            assert what is Got.CLEAR_REFUSED
        if before is State.EXPIRED and session.state is not before:
            assert what in (Got.CONFIGURED, Got.CONFIGURED_READ_ONLY)


@given(st.lists(st.sampled_from(INPUTS), max_size=40))
def test_what_may_exist_never_becomes_what_never_existed(sequence: list[Did | Got]) -> None:
    session = SessionState()
    told = False
    for what in sequence:
        if isinstance(what, Got):
            session.got(what)
        else:
            with contextlib.suppress(LocalProtocolError):
                session.do(what)
        told = told or what in (Got.CONFIGURED, Got.ANOTHER_CONFIGURED, Got.EXPIRED)
        assert not (told and session.never_existed)


def test_a_living_session_is_not_undone_by_a_refusal_to_start_anew() -> None:
    session = SessionState()
    for step in (Did.CONFIGURE, Got.CONFIGURED_READ_ONLY, Did.START_NEW, Got.REFUSED):
        session.got(step) if isinstance(step, Got) else session.do(step)
    assert session.state is State.LOST
    assert not session.never_existed
    session.do(Did.START_NEW)  # it may be tried again
