"""The table is the machine: illegal moves change nothing, and every sequence stays legal."""

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
        if before in ENDED:
            assert session.state is before
