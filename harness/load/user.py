"""The Locust user of this harness: a slot with room for one guest at a time."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from locust import User, constant
from locust.exception import RescheduleTask, StopUser

from harness.errors import ConfigError, LedgerError
from harness.guest.session import STORY_ENDS, GuestSession
from harness.load.run import Run
from harness.units import seconds
from harness.workload.think import parse_think


class GuestUser(User):
    """Inherit from it, and open guests with :meth:`guest` inside a task.

    ``think_time`` is how long a guest thinks between messages: a callable such as Locust's
    ``between(4, 12)``, a distribution of this package such as ``lognormal("6s", p95="20s")``, a
    duration, or a written form such as ``"uniform(4s, 12s)"``.
    """

    abstract = True
    wait_time = constant(0)
    think_time: Any = "uniform(1s, 3s)"

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._think_s = _think_function(self, Run.rng_of(environment))

    @contextmanager
    def guest(self) -> Iterator[GuestSession]:
        """The next guest who arrives in this slot, in session; always cleared on the way out.

        In an open workload this waits until the next arrival is due. What the service or the
        network does to a guest ends its story here, quietly: it has been measured.
        """
        run = Run.of(self.environment)
        due_ns = run.next_arrival()
        session = run.new_session(due_ns, self._think_s)
        with run.occupied(session):
            try:
                with session:
                    yield session
            except STORY_ENDS as end:
                raise RescheduleTask from end
            except (LedgerError, ConfigError) as error:
                run.fail(str(error))
                raise StopUser from error


def _think_function(user: GuestUser, rng: random.Random) -> Callable[[], float]:
    think = type(user).think_time
    if isinstance(think, str | int | float):
        think = parse_think(think, f"{type(user).__name__}.think_time")
    if hasattr(think, "describe"):  # one of ours
        return lambda: float(think(rng))
    return lambda: seconds(think(user), f"{type(user).__name__}.think_time")
