"""Ending a session from a new connection: what the answer to configureSession tells."""

from fakes import FakeServer, Peer
from guests import cleared, configured, line_to

from harness.guest.clear import end_session
from harness.guest.outcomes import Ending


def test_ending_a_live_session_from_a_new_connection_clears_it() -> None:
    def script(peer: Peer) -> None:
        configured(peer, new=False)
        cleared(peer)
        peer.receive()

    with FakeServer(script) as server:
        assert end_session(line_to(server)) is Ending.CLEARED


def test_a_token_the_service_no_longer_knows_was_ended_and_the_new_session_is_cleared_too() -> None:
    seen = []

    def script(peer: Peer) -> None:
        configured(peer, new=True)
        cleared(peer)
        seen.append("cleared the new one")
        peer.receive()

    with FakeServer(script) as server:
        assert end_session(line_to(server)) is Ending.GONE
    assert seen == ["cleared the new one"]


def test_a_new_session_that_will_not_clear_is_no_proof() -> None:
    def script(peer: Peer) -> None:
        configured(peer, new=True)
        peer.receive()
        peer.receive()

    with FakeServer(script) as server:
        assert end_session(line_to(server)) is Ending.UNANSWERED


def test_ending_without_a_connection_or_an_answer() -> None:
    with FakeServer(lambda peer: (peer.receive(), peer.receive())[0]) as server:
        assert end_session(line_to(server)) is Ending.UNANSWERED
    assert end_session(line_to(server)) is Ending.UNREACHABLE
    with FakeServer(lambda peer: (peer.receive(), peer.reset())[1]) as server:
        assert end_session(line_to(server)) is Ending.CUT
