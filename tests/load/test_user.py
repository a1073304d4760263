"""Slots: think times in every form, and stories that end quietly when the service ends them."""

import random
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust import between, task
from locust.env import Environment
from locust.exception import RescheduleTask, StopUser

from harness.errors import ConfigError, ConnectionLost, LedgerError, ServiceError
from harness.load.user import GuestUser
from harness.workload.think import lognormal
from tests.turns import turns


class Session:
    def __init__(self, enter: BaseException | None = None) -> None:
        self._enter = enter
        self.left = False
        self.step = ""

    def __enter__(self) -> "Session":
        if self._enter is not None:
            raise self._enter
        return self

    def __exit__(self, *_: object) -> None:
        self.left = True


class FakeRun:
    seeds = random.Random(1)

    """Stands for the run: what a slot asks of it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.failures: list[str] = []
        self.refused: list[Exception] = []
        self.visits: set[object] = set()
        self.inside = 0

    def next_arrival(self, user: object) -> int:  # noqa: ARG002 - the run's form
        return 5

    def next_sign_in(self) -> str:
        return "a.b.c"

    def note_no_sign_in(self, due_ns: int, began_ns: int, error: Exception) -> None:
        assert due_ns == 5 < began_ns
        self.refused.append(error)

    def new_session(
        self,
        due_ns: int,
        think_s: Any,
        *,
        sign_in: Any,
        max_age_s: float,
        greets: bool | None,
        stop_requested: Any,
    ) -> Session:
        assert due_ns == 5
        assert not stop_requested()
        assert greets is None
        self.max_age_s = max_age_s
        self.signed_in_by = sign_in
        assert think_s() == 1
        return self.session

    def occupied(self, session: Session) -> Any:
        assert session is self.session
        run = self

        class Occupied:
            def __enter__(self) -> None:
                run.inside += 1

            def __exit__(self, *_: object) -> None:
                run.inside -= 1

        return Occupied()

    def fail(self, why: str) -> None:
        self.failures.append(why)


def slot(run: FakeRun | None, think: Any = "1s") -> GuestUser:
    kind = type("Slot", (GuestUser,), {"think_time": think, "abstract": True})
    made: GuestUser = kind(SimpleNamespace(harness_run=run, events=None))
    return made


@pytest.mark.parametrize(
    "think", ["1s", 1, "uniform(1s, 1s)", lognormal("1s", sigma=0.0001), between(1, 1)]
)
def test_think_times_in_every_form(think: Any) -> None:
    assert slot(None, think)._think_s() == pytest.approx(1, rel=0.01)


def test_a_bad_think_time_is_refused_with_its_class() -> None:
    with pytest.raises(ConfigError, match=r"Slot\.think_time"):
        slot(None, "a while")


def test_a_class_may_say_how_old_a_connection_gets() -> None:
    for age, wanted in ((None, 0.0), ("110m", 6600.0)):
        run = FakeRun(Session())
        kind = type("Dweller", (GuestUser,), {"max_connection_age": age, "think_time": "1s"})
        with kind(SimpleNamespace(harness_run=run, events=None)).guest():
            assert run.max_age_s == wanted
    with pytest.raises(ConfigError, match=r"Dweller\.max_connection_age: expected 500ms or more"):
        type("Dweller", (GuestUser,), {"max_connection_age": "1ms"})(
            SimpleNamespace(harness_run=None, events=None)
        )


def test_the_end_of_a_story_by_the_service_is_quiet() -> None:
    run = FakeRun(Session())
    with pytest.raises(RescheduleTask), slot(run).guest():
        raise ConnectionLost(1001)
    assert (run.session.left, run.inside, run.failures) == (True, 0, [])
    entering = FakeRun(Session(enter=ConnectionLost(None)))
    with pytest.raises(RescheduleTask), slot(entering).guest():
        pass
    assert entering.inside == 0


@pytest.mark.parametrize("error", [LedgerError("disk full"), ConfigError("a text of 5000 bytes")])
def test_what_is_wrong_with_us_ends_the_run(error: Exception) -> None:
    run = FakeRun(Session())
    with pytest.raises(StopUser), slot(run).guest():
        raise error
    assert run.failures == [str(error)]


def test_guests_are_signed_in_by_the_run_or_by_their_locustfile() -> None:
    run = FakeRun(Session())
    with slot(run).guest():
        assert run.signed_in_by == "a.b.c"
    own = slot(run)
    own.sign_in = lambda: "own"  # type: ignore[method-assign]
    with own.guest():
        assert run.signed_in_by == "own"


@pytest.mark.parametrize(
    ("error", "leads_to"),
    [(ServiceError(401, "no"), RescheduleTask), (ZeroDivisionError(), ZeroDivisionError)],
)
def test_a_guest_who_can_not_be_signed_in_is_counted(
    error: Exception, leads_to: type[Exception]
) -> None:
    run = FakeRun(Session())
    own = slot(run)

    def refuse() -> str:
        raise error

    own.sign_in = refuse  # type: ignore[method-assign]
    with pytest.raises(leads_to), own.guest():
        pass
    assert run.refused == [error]
    assert run.inside == 0


def test_between_two_tests_a_slot_stops() -> None:
    with pytest.raises(StopUser), slot(None).guest():
        pass


class Waiting(GuestUser):
    """A slot for which no guest comes."""

    @task
    def wait_for_ever(self) -> None:
        gevent.sleep(3600)


def test_slots_are_started_a_few_at_a_time() -> None:
    """They may come while guests are in session: a worker was lost, or the users are more now."""
    runner = Environment(user_classes=[Waiting]).create_local_runner()
    with turns(lambda: runner.user_count) as counted, gevent.Timeout(20):
        runner.start(1000, spawn_rate=1000)
        runner.spawning_greenlet.join()
    assert sum(counted.portions) == 1000
    assert max(counted.portions) <= 100
    runner.quit()
