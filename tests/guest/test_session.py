"""The whole guest against the simulator: what it may have left open is always in the ledger."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from harness.config import parse_target
from harness.errors import ConfigError, ConnectFailed, ConnectionLost, LedgerError, ReplyTimeout
from harness.guest.session import GuestSession
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import Ledger
from harness.ledger.leftovers import read_account, read_leftovers
from harness.ledger.store import Stage, Store
from harness.measure.recorder import Recorder
from harness.measure.sample import Outcome

pytestmark = pytest.mark.process


class Rig:
    """Guests with a ledger, and the comparison of that ledger with the simulator's truth."""

    def __init__(self, simulator: Any, directory: Path) -> None:
        self.simulator = simulator
        self.directory = directory
        self.recorder = Recorder()
        self.store = Store(directory / "ledger-w.sqlite", {"worker": "w"})
        self.ledger = Ledger(self.store)
        self.settings = GuestSettings(
            target=parse_target(simulator.url),
            clear_within_s=0.5,
            close_within_s=0.3,
            end_backoff_s=0.05,
            custom_attributes={"runId": "r-1"},
        )
        self.before = set(simulator.truth()["open_tokens"])

    def guest(self, **settings: Any) -> GuestSession:
        changed = GuestSettings(
            **{
                name: settings.get(name, getattr(self.settings, name))
                for name in self.settings.__slots__
            }
        )
        return GuestSession(
            changed,
            str(uuid.uuid4()),
            ledger=self.ledger,
            recorder=self.recorder,
            think_s=lambda: 0.01,
        )

    def still_open(self) -> set[str]:
        return set(self.simulator.truth()["open_tokens"]) - self.before

    def leftovers(self) -> dict[str, str]:
        self.ledger.secure()
        return {left.token: left.reason for left in read_leftovers(self.directory)}

    def outcomes(self, operation: str) -> dict[Outcome, int]:
        return dict(self.recorder.take().outcomes.get(operation, {}))


@pytest.fixture
def rig(simulator: Any, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(simulator, tmp_path)
    yield made
    assert made.still_open() <= made.leftovers().keys()
    assert read_account(tmp_path).balanced
    made.ledger.close()


def test_a_whole_conversation(rig: Rig) -> None:
    with rig.guest() as guest:
        guest.join()
        greeting = guest.await_reply(within="5s")
        guest.say("Where is my order?")
        answer = guest.await_reply(within="5s")
        guest.think()
        guest.health_check()
        guest.say("Thanks")
        guest.await_reply(within="5s")
    assert greeting
    assert answer
    assert rig.still_open() == set()
    assert rig.leftovers() == {}
    taken = rig.recorder.take()
    counted = {name: dict(outcomes) for name, outcomes in taken.outcomes.items()}
    expected = {"connect": 1, "session_open": 1, "join": 1, "delivered": 2, "reply": 3, "clear": 1}
    for operation, count in expected.items():
        assert counted[operation] == {Outcome.OK: count}, operation
    assert counted["health_check"] == {Outcome.OK: 1}
    for operation in expected:
        service = taken.histograms[f"{operation}.service"]
        corrected = taken.histograms[f"{operation}.corrected"]
        assert corrected.count == service.count
        assert (corrected.max_ms or 0) >= (service.max_ms or 0)


def test_a_token_is_on_disk_before_the_service_hears_of_it(rig: Rig) -> None:
    guest = rig.guest()
    write = rig.store.write

    def refuse(*_: Any) -> None:
        raise LedgerError("disk full")

    rig.store.write = refuse  # type: ignore[method-assign]
    before = rig.simulator.truth()["sessions"]["opened"]
    with pytest.raises(LedgerError, match="disk full"), guest:
        pass
    assert rig.simulator.truth()["sessions"]["opened"] == before
    rig.store.write = write  # type: ignore[method-assign]
    rig.ledger = Ledger(rig.store)


def test_a_story_that_raises_ends_the_session_all_the_same(rig: Rig) -> None:
    with pytest.raises(ZeroDivisionError), rig.guest() as guest:
        guest.say("hello")
        raise ZeroDivisionError
    assert rig.still_open() == set()


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.005, 0.01, 0.03])
def test_a_killed_guest_still_ends_its_session(rig: Rig, after_s: float) -> None:
    def story() -> None:
        with rig.guest() as guest:
            for _ in range(50):
                guest.say("hello")
                guest.await_reply()

    greenlet = gevent.spawn(story)
    gevent.sleep(after_s)
    for _ in range(3):  # impatient
        greenlet.kill(block=False)
        gevent.sleep(0.001)
    greenlet.join(10)
    assert greenlet.dead
    assert rig.still_open() == set()
    assert rig.leftovers() == {}


def test_an_ignored_clear_is_a_leftover(rig: Rig) -> None:
    rig.simulator.faults(ignore_clear=1)
    with rig.guest() as guest:
        guest.say("hello")
    assert list(rig.leftovers().values()) == ["clear_unanswered"]
    assert rig.still_open() == rig.leftovers().keys()
    assert rig.outcomes("clear") == {Outcome.TIMEOUT: 1}


def test_a_lost_answer_to_clear_is_no_proof(rig: Rig) -> None:
    rig.simulator.faults(lose_clear_reply=1)
    with rig.guest() as guest:
        guest.say("hello")
    assert rig.still_open() == set()
    assert list(rig.leftovers().values()) == ["clear_unanswered"]


def test_a_refused_clear_has_its_own_reason(rig: Rig) -> None:
    rig.simulator.faults(forbid_clear=1)
    with rig.guest() as guest:
        guest.say("hello")
    assert list(rig.leftovers().values()) == ["clear_refused"]
    assert rig.outcomes("clear") == {Outcome.FORBIDDEN: 1}


def test_a_cut_session_is_ended_from_a_new_connection(rig: Rig) -> None:
    rig.simulator.faults(cut=1)
    with pytest.raises(ConnectionLost), rig.guest() as guest:
        guest.say("hello")
        rig.simulator.faults()
        guest.await_reply(within="5s")
    assert rig.still_open() == set()
    assert rig.leftovers() == {}
    assert rig.outcomes("resume") == {Outcome.OK: 1}


def test_a_session_whose_service_is_gone_is_a_leftover(rig: Rig) -> None:
    with pytest.raises(ConnectionLost), rig.guest() as guest:
        rig.simulator.faults(cut=1, refuse_503=1)
        guest.say("hello")
        guest.await_reply(within="5s")
    assert list(rig.leftovers().values()) == ["unreachable"]
    assert rig.still_open() == rig.leftovers().keys()


def test_a_guest_that_never_connected_never_existed(rig: Rig) -> None:
    nowhere = parse_target(rig.simulator.url.replace("127.0.0.1", "127.0.0.2", 1))
    with pytest.raises(ConnectFailed), rig.guest(target=nowhere):
        pass
    assert rig.leftovers() == {}
    assert rig.ledger.tally[Stage.NEVER_CONFIGURED] == 1
    assert rig.outcomes("connect") == {Outcome.REFUSED: 1}


def test_no_reply_says_what_did_come_and_counts_the_wait(rig: Rig) -> None:
    with (
        pytest.raises(ReplyTimeout, match=r"no reply within 0\.3 s; seen meanwhile: '"),
        rig.guest() as guest,
    ):
        guest.say("hello")
        guest.await_reply(within=0.3, containing="something the bot never says")
    assert rig.outcomes("reply") == {Outcome.TIMEOUT: 1}


def test_what_can_not_be_said_is_refused_before_it_leaves(rig: Rig) -> None:
    with rig.guest() as guest:
        with pytest.raises(ConfigError, match="4098 bytes"):
            guest.say("é" * 2049)
        with pytest.raises(ConfigError, match=r"matching='\['"):
            guest.await_reply(matching="[")
    assert rig.outcomes("delivered") == {}


def test_clearing_by_hand_is_enough(rig: Rig) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        assert guest.clear() is True
        assert guest.clear() is True
    assert rig.outcomes("clear") == {Outcome.OK: 1}
