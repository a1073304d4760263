"""Whatever the service says, in whatever order: what is open at it is on the list of leftovers."""

import contextlib
import random
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import gevent
import pytest
from examples import at_most
from fakes import FakeServer, Peer
from guests import ID, cleared, configured
from hypothesis import example, given
from hypothesis import strategies as st
from late import LATE, Deaf, Late, at_random, in_order
from liar import (
    AT_CLEAR,
    CLEARS,
    CONFIGURES,
    LATE_S,
    LIES,
    NAMED_BY_THE_SERVICE,
    Liar,
    Plan,
    asking_for,
    error,
    response,
    say,
)

from harness.config.target import parse_target
from harness.errors import ConnectionLost, ServiceError
from harness.guest.outcomes import STORY_ENDS, Ending
from harness.guest.session import GuestSession
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import OPEN_UNANSWERED, Ledger, Store
from harness.ledger.reader import read_account, read_leftovers
from harness.measure.recorder import Recorder
from harness.protocol.session import ConnectionState, State

pytestmark = pytest.mark.process

SILENCE_S = 0.3
NOT_ANSWERED = {"silent", "answer that it is not connected"}


def play(
    plan: Plan, acts: Sequence[str | Sequence[str]]
) -> tuple[Liar, set[str], Recorder, Ending | None]:
    """One guest's life at such a service: the service, what the ledger lists, what was counted."""
    liar, recorder = Liar(plan), Recorder()
    token = str(uuid.uuid4())
    with tempfile.TemporaryDirectory() as folder, FakeServer(liar.serve) as server:
        ledger = Ledger(Store(Path(folder) / "ledger-w.sqlite", {"worker": "w"}))
        guest = GuestSession(
            GuestSettings(
                target=parse_target(f"ws://127.0.0.1:{server.port}/v1?deploymentId={ID}"),
                open_within_s=SILENCE_S if set(plan.configures) & NOT_ANSWERED else 10,
                clear_within_s=0.1,
                close_within_s=10 * LATE_S
                if "refuse, then answer late" in plan.configures
                else 0.1,
                end_backoff_s=0.01,
                reconnect_every_s=0.01,
                reconnect_within_s=0.2,
            ),
            token,
            ledger=ledger,
            recorder=recorder,
        )
        with contextlib.suppress(*STORY_ENDS), guest:
            for act in acts:
                tell(guest, act)
        ending = guest._ending
        ledger.close()
        listed = {left.token for left in read_leftovers(Path(folder))}
        assert read_account(Path(folder)).balanced
    return liar, listed, recorder, ending


def tell(guest: GuestSession, act: str | Sequence[str]) -> None:
    """One step of a story: a name, or the lies that the guest hears before a reply."""
    match act:
        case "new":
            if guest.connection.state not in (State.READ_ONLY, State.LOST):
                guest.say(asking_for(["read-only"]))
                guest.await_reply(within=10)
            guest.start_new()
        case "drop":
            guest.drop()
            guest.reconnect()
        case "again":
            guest.connect_again()
        case "clear":
            guest.clear()
        case lies:
            guest.say(asking_for(lies))
            guest.await_reply(within=10)


WAYS = {
    "a living session that may not start anew": (Plan(configures=("answer", "limit")), ["new"]),
    "an error that names nobody, and then the answer": (
        Plan(configures=("error without name, then answer",)),
        [[]],
    ),
    "a proof that nobody asked for": (Plan(), [["cleared"]]),
    "the end of somebody else's session": (Plan(), [["4006 foreign"]]),
    "an end by name, and then the answer": (Plan(lies=[["4006 ours"]]), [[]]),
}


@pytest.mark.parametrize("clear", ["honour", "ignore"])
@pytest.mark.parametrize("move", [move for move in CONFIGURES if "answer" in move])
def test_a_refusal_does_not_unsay_an_answer_whole_or_damaged(move: str, clear: str) -> None:
    liar, listed, _, _ = play(Plan((move,), (clear,) * 9), [])
    assert liar.open <= listed
    assert bool(liar.open) is (clear == "ignore")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "clear",
    [
        *("honour", "ignore", "forbid", "take back without name"),
        *("another's", "another's event", "both, but one event", "another's session"),
    ],
)
def test_each_way_that_once_left_sessions_unlisted(way: str, clear: str) -> None:
    plan, acts = WAYS[way]
    plan = Plan(plan.configures, (clear,), plan.lies)
    liar, listed, _, _ = play(plan, acts)
    assert liar.open <= listed
    if clear == "honour":
        assert not liar.open


@pytest.mark.parametrize(
    ("clears", "proof"),
    [
        ((NAMED_BY_THE_SERVICE,) * 2, True),
        ((NAMED_BY_THE_SERVICE, "honour"), True),
        (("cut after", NAMED_BY_THE_SERVICE, NAMED_BY_THE_SERVICE), True),
        ((NAMED_BY_THE_SERVICE, "ignore"), False),
        ((NAMED_BY_THE_SERVICE, "echo only"), False),
        ((NAMED_BY_THE_SERVICE, *["another's"] * 9), False),
        ((NAMED_BY_THE_SERVICE, *["another's session"] * 9), False),
        ((NAMED_BY_THE_SERVICE, "forbid"), False),
        (("another's event",) * 9, False),
        (("another's event", "another's event", NAMED_BY_THE_SERVICE), True),
    ],
)
def test_an_event_that_the_service_names_itself_is_believed_once_a_resume_has_found_it_true(
    clears: Sequence[str], proof: bool
) -> None:
    liar, listed, _, ending = play(Plan(clears=clears), [])
    assert ending is not None
    assert ending.proof is proof
    assert liar.open <= listed
    assert bool(listed) is not proof


class SlowSecond:
    """Lets a guest's first connection be made at once, and each other one after a moment."""

    def __init__(self) -> None:
        self._made = 0

    def acquire(self) -> float:
        """Wait until it may be made."""
        self._made += 1
        if self._made == 2:
            gevent.sleep(SILENCE_S)
        return 0.0


@pytest.mark.parametrize("how", ["a second tab", "a tab that is not answered yet", "a reconnect"])
def test_what_connects_while_the_story_ends_makes_no_session_that_is_on_no_list(
    how: str, tmp_path: Path
) -> None:
    answered = how != "a tab that is not answered yet"
    liar = Liar(Plan(configures=("answer", "answer" if answered else "silent")))
    with FakeServer(liar.serve) as server:
        ledger = Ledger(Store(tmp_path / "ledger-w.sqlite", {"worker": "w"}))
        settings = GuestSettings(
            target=parse_target(f"ws://127.0.0.1:{server.port}/v1?deploymentId={ID}"),
            connections=cast("Any", SlowSecond()) if answered else None,
            close_within_s=0.1,
        )
        recorder = Recorder()
        token = str(uuid.uuid4())
        guest = GuestSession(settings, token, ledger=ledger, recorder=recorder)
        with guest:
            if how == "a reconnect":
                guest.drop()
            connect = guest.reconnect if how == "a reconnect" else guest.connect_again
            other = gevent.spawn(connect)
            gevent.sleep(SILENCE_S / 3)
        other.join(2)
        assert isinstance(other.exception, ConnectionLost)
        ledger.close()
        assert liar.open == set()
        assert guest._ending is not None
        # What is on its way may come after Clear, and after the resume that looks for it.
        assert guest._ending.proof == answered
        assert answered or recorder.take().counts["end_resumes"] == 1
        listed = {left.token for left in read_leftovers(tmp_path)}
        assert listed == (set() if answered else {token})


@pytest.mark.parametrize("cut", [False, True])
def test_what_may_be_opened_after_the_guest_has_gone_is_listed(cut: bool, tmp_path: Path) -> None:
    asked: list[str] = []
    resumed = 0

    def serve(peer: Peer) -> None:
        nonlocal resumed
        if not asked:
            first = peer.receive()
            assert first is not None
            asked.append(first["token"])
            if cut:
                peer.reset()
            else:
                peer.receive()
            return  # the service carries it out when the guest has gone
        configured(peer, new=True)
        cleared(peer)
        resumed += 1
        peer.receive()

    with FakeServer(serve) as server:
        ledger = Ledger(Store(tmp_path / "ledger-w.sqlite", {"worker": "w"}))
        settings = GuestSettings(
            target=parse_target(f"ws://127.0.0.1:{server.port}/v1?deploymentId={ID}"),
            open_within_s=SILENCE_S,
            close_within_s=0.1,
            reconnect_within_s=0.2,
        )
        guest = GuestSession(settings, str(uuid.uuid4()), ledger=ledger, recorder=Recorder())
        with contextlib.suppress(*STORY_ENDS), guest:
            pass
        ledger.close()
    assert resumed == 1
    opened_late = set(asked)
    assert opened_late == {left.token for left in read_leftovers(tmp_path)}


def test_both_events_of_the_end_are_of_this_session_whichever_tab_has_cleared_it(
    rig: Any,
) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        second, first = guest.connect_again(), guest.connection
        rig.simulator.faults(ignore_clear=1)
        clearing = gevent.spawn(first.clear, within_s=10)
        gevent.sleep(0.2)
        rig.simulator.faults()
        assert second.clear(within_s=10) is Ending.CLEARED
        assert clearing.get() is Ending.CLEARED
        assert first.confirm(10) is Ending.CLEARED
        # Its own Clear was not echoed: only both events have told it.
        assert first.state is State.CLEARED
        assert first.session.connection is ConnectionState.RETIRED
        assert rig.still_open() == set()


def test_a_second_tab_that_was_refused_is_heard_out_before_clear_leaves(tmp_path: Path) -> None:
    late = Late(in_order(), late_s=lambda: 0.0)
    tabs: list[Peer] = []

    def serve(peer: Peer) -> None:
        tabs.append(peer)
        if len(tabs) != 2:
            return late.serve(peer)
        message = peer.receive()
        assert message is not None
        token, name = message["token"], message["tracingId"]
        say(peer, error(400, name))
        peer.heed(0.2)
        late.open.add(token)
        say(peer, response(name, connected=True))
        peer.receive()

    with FakeServer(serve) as server:
        visiting = Visits(late, tmp_path, port=server.port, close_within_s=1.0)
        with visiting.guest() as guest:
            guest.say("hello")
            guest.await_reply(within=5)
            with pytest.raises(ServiceError):
                guest.connect_again()
        visiting.ledger.close()
    assert guest._ending is Ending.CLEARED
    assert late.open == set() == set(visiting.listed())


class SlowStore(Store):
    """On a disk that takes its time."""

    def write(self, *rows: Any, **more: Any) -> None:
        time.sleep(0.1)
        super().write(*rows, **more)


def test_no_tab_asks_before_it_is_on_the_disk_though_another_has_just_noted_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger-slow.sqlite"
    late, noted = Late(in_order(), late_s=lambda: 0.0), []

    def serve(peer: Peer) -> None:
        message = peer.receive()
        assert message is not None
        with contextlib.closing(sqlite3.connect(path)) as db:
            noted.append(db.execute("SELECT reason FROM sessions").fetchone()[0])
        late.open.add(message["token"])
        say(peer, response(message["tracingId"], connected=True))
        late.serve(peer)

    with FakeServer(serve) as server:
        visiting = Visits(late, tmp_path, port=server.port, open_within_s=5.0)
        visiting.ledger.close()
        visiting.ledger = Ledger(SlowStore(path, {"worker": "slow"}))
        with visiting.guest() as guest:
            tabs = [gevent.spawn(guest.connect_again) for _ in range(2)]
            gevent.joinall(tabs, raise_error=True)
        visiting.ledger.close()
    assert noted == ["", OPEN_UNANSWERED, OPEN_UNANSWERED]


class Visits:
    """Guests, one after the other or many at once, at a service that may be late."""

    def __init__(self, late: Late, folder: Path, *, port: int, **settings: Any) -> None:
        self.late = late
        self.folder = folder
        self.ledger = Ledger(Store(folder / "ledger-w.sqlite", {"worker": "w"}))
        self.settings = GuestSettings(
            target=parse_target(f"ws://127.0.0.1:{port}/v1?deploymentId={ID}"),
            **{
                "open_within_s": 0.15,
                "clear_within_s": 0.3,
                "close_within_s": 0.05,
                "end_backoff_s": 0.02,
                "reconnect_every_s": 0.02,
                "reconnect_within_s": 1.0,
                **settings,
            },
        )

    def guest(self) -> GuestSession:
        token = str(uuid.uuid4())
        return GuestSession(self.settings, token, ledger=self.ledger, recorder=Recorder())

    def listed(self) -> dict[str, str]:
        """Token and reason of each leftover."""
        return {left.token: left.reason for left in read_leftovers(self.folder)}


@contextlib.contextmanager
def visits(late: Late, folder: Path, **settings: Any) -> Iterator[Visits]:
    with FakeServer(late.serve) as server:
        visiting = Visits(late, folder, port=server.port, **settings)
        yield visiting
        visiting.ledger.close()
        late.settle()
        assert late.open <= set(visiting.listed())
        assert read_account(folder).balanced


@pytest.mark.parametrize("way", LATE)
@pytest.mark.parametrize("what", ["a reconnect", "a second tab"])
def test_what_a_connection_that_was_given_up_may_open_is_listed(
    what: str, way: str, tmp_path: Path
) -> None:
    late = Late(in_order("answer", way), late_s=lambda: 0.5)
    with visits(late, tmp_path) as visiting:
        guest = visiting.guest()
        with contextlib.suppress(*STORY_ENDS), guest:
            guest.say("hello")
            guest.await_reply(within=5)
            if what == "a reconnect":
                guest.drop()
                guest.reconnect()
            else:
                with contextlib.suppress(*STORY_ENDS):
                    guest.connect_again()
            guest.say("hello again")
            guest.await_reply(within=5)
        assert guest._ending is Ending.NOT_YET
    assert late.opened_late == 1
    assert set(visiting.listed().values()) == {"open_unanswered"}


def test_a_session_that_the_way_out_has_opened_itself_is_not_taken_for_the_first(
    tmp_path: Path,
) -> None:
    late = Deaf("silence", instead=None)
    with visits(late, tmp_path) as visiting:
        guest = visiting.guest()
        with contextlib.suppress(*STORY_ENDS), guest:
            pass
        assert late.open == set()
    assert late.opened_late == 1
    assert set(visiting.listed().values()) == {"open_unanswered"}


def test_what_may_be_opened_is_on_the_disk_before_it_is_asked_for(tmp_path: Path) -> None:
    asked: list[list[tuple[str, bool]]] = []
    late = Late(in_order("answer", "silence", "cut"), late_s=lambda: 0.0)

    def serve(peer: Peer) -> None:
        receive = peer.receive

        def looking() -> dict[str, Any] | None:
            message = receive()
            if message is not None and message["action"] == "configureSession":
                left = read_leftovers(tmp_path)
                asked.append([(one.state, one.asked_ns > 0) for one in left])
            return message

        peer.receive = looking  # type: ignore[method-assign]
        late.serve(peer)

    with FakeServer(serve) as server:
        visiting = Visits(late, tmp_path, port=server.port)
        guest = visiting.guest()
        with guest:
            guest.say("hello")
            guest.await_reply(within=5)
            visiting.ledger.flush()
            assert [one.asked_ns for one in read_leftovers(tmp_path)] == [0]
            guest.drop()
            guest.reconnect()
        visiting.ledger.close()
    # The first one, and the three of the reconnect: two are not answered, and the third is.
    assert asked == [[("intended", True)], *[[("joined", True)]] * 3]
    assert set(visiting.listed().values()) == {"open_unanswered"}


@pytest.mark.parametrize("lost", [False, True])
def test_what_the_way_out_does_is_on_the_disk_before_it_is_done(lost: bool, tmp_path: Path) -> None:
    seen: list[tuple[str, list[tuple[str, bool]]]] = []
    late = Late(in_order(), late_s=lambda: 0.0)

    def serve(peer: Peer) -> None:
        receive = peer.receive

        def looking() -> dict[str, Any] | None:
            message = receive()
            if message is not None:
                left = [(one.state, one.asked_ns > 0) for one in read_leftovers(tmp_path)]
                seen.append((str(message.get("message", message)), left))
            return message

        peer.receive = looking  # type: ignore[method-assign]
        late.serve(peer)

    with FakeServer(serve) as server:
        visiting = Visits(late, tmp_path, port=server.port)
        visiting.ledger.close()
        slow = SlowStore(tmp_path / "ledger-slow.sqlite", {"worker": "slow"})
        visiting.ledger = Ledger(slow)
        with visiting.guest() as guest:
            guest.say("hello")
            guest.await_reply(within=5)
            if lost:
                guest.drop()
            seen.clear()
        visiting.ledger.close()
    assert guest._ending is Ending.CLEARED
    request, listed = seen[0]
    assert ("configureSession" if lost else "Clear") in request
    assert listed == [("clearing", lost)]
    assert all(rows[0][0] == "clearing" for request, rows in seen if "Clear" in request)


def test_what_was_asked_for_long_ago_is_opened_no_more(tmp_path: Path) -> None:
    late = Late(in_order("answer", "cut"), late_s=lambda: 0.1)
    with visits(late, tmp_path, late_within_s=0.3) as visiting:
        guest = visiting.guest()
        with guest:
            guest.say("hello")
            guest.drop()
            guest.reconnect()
            guest.idle(0.4)
        assert guest._ending is Ending.CLEARED
    assert late.open == set() == set(visiting.listed())


def test_guests_at_a_late_service_leave_nothing_that_is_on_no_list(tmp_path: Path) -> None:
    rng = random.Random(20_261_129)
    late = Late(
        at_random(rng, 0.3), late_s=lambda: rng.uniform(0, 0.6), cut=lambda: rng.random() < 0.2
    )
    with visits(late, tmp_path, late_within_s=1.0) as visiting:

        def visit() -> None:
            gevent.sleep(rng.uniform(0, 0.3))
            guest = visiting.guest()
            patience = gevent.Timeout(rng.choice([0.1, 0.3, 2.0]), exception=False)
            with contextlib.suppress(*STORY_ENDS), patience, guest:
                for _ in range(rng.randint(0, 3)):
                    guest.say("hello")
                    guest.await_reply(within=0.5)
                    if rng.random() < 0.2:
                        guest.connect_again()
                    if rng.random() < 0.3:
                        guest.drop()
                        guest.reconnect()

        gevent.joinall([gevent.spawn(visit) for _ in range(60)], raise_error=True)
    assert late.opened_late


def moves(kinds: Sequence[str], most: int, *, least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(kinds), min_size=least, max_size=most)


# What leads on is drawn more often: a story that ends at its first step tells little.
PLANS = st.builds(
    Plan,
    configures=moves([*["answer"] * 5, *["limit"] * 3, *CONFIGURES], 4, least=2),
    clears=moves([*["ignore"] * 3, *CLEARS], 2, least=1),
    lies=st.lists(moves(LIES, 2), max_size=3),
    lies_at_clear=moves(AT_CLEAR, 1),
)
STORIES = st.lists(
    st.one_of(moves(LIES, 2), st.sampled_from(["new", "new", "new", "drop", "again", "clear"])),
    min_size=1,
    max_size=4,
)


@at_most(60)
@example(plan=Plan(("answer", "limit"), ("ignore",)), acts=["new"])
@example(plan=Plan(("error without name, then answer",), ("ignore",)), acts=[[]])
@example(plan=Plan(clears=("ignore",)), acts=[["cleared"]])
@example(plan=Plan(clears=("ignore",)), acts=[["4006 foreign"]])
@example(plan=Plan(clears=("another's event",), lies_at_clear=("cleared",)), acts=[[]])
@given(plan=PLANS, acts=STORIES)
def test_what_is_open_at_a_service_that_lies_is_listed(
    plan: Plan, acts: list[str | list[str]]
) -> None:
    liar, listed, _, _ = play(plan, acts)
    assert liar.open <= listed
