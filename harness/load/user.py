"""The Locust users of this harness: slots with room for one guest at a time.

A :class:`GuestUser` tells its story in Python, a :class:`ScriptUser` plays a conversation script.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import repeat
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import gevent
from locust import User, constant, task
from locust.exception import RescheduleTask, StopUser

from harness.clock import monotonic_ns
from harness.errors import ConfigError, LedgerError, NotPossible
from harness.guest.outcomes import STORY_ENDS, reason_of
from harness.guest.rest import exchange_sign_in
from harness.guest.session import GuestSession
from harness.guest.settings import SignIn
from harness.load.logs import LOG
from harness.load.options import max_age_s
from harness.load.run import Run
from harness.units import seconds
from harness.workload.data import NO_ROW, Mode, Row
from harness.workload.think import draws, parse_think

if TYPE_CHECKING:  # stories in Python do without scripts
    from harness.workload.script.file import Loaded

STARTED_AT_ONCE = 50
"""Slots that are started in one turn of the event loop: about 4 ms of work."""


class GuestUser(User):
    """A slot: room for one guest at a time. Inherit from it, and open guests inside a task.

    ::

        class Shopper(GuestUser):
            think_time = between(4, 12)

            @task
            def ask_about_an_order(self):
                with self.guest() as guest:
                    guest.say("Where is my order?")
                    guest.await_reply(within="20s")

    What a guest can do stands at :class:`GuestSession`. ``wait_time`` and ``weight`` are Locust's.
    Times are texts with a unit, or seconds.

    ``think_time`` is how long a guest thinks between messages: a callable such as Locust's
    ``between(4, 12)``, a distribution of this package such as ``lognormal("6s", p95="20s")``, a
    duration, or a written form such as ``"uniform(4s, 12s)"``.

    ``greets`` says whether the flow says something by itself, after Join or else before its first
    answer; None: it is not known, or the target says it.

    ``max_connection_age`` is for guests who stay for hours: a connection so old (``"110m"``) is
    replaced in the next silence, with the same session; ``--max-connection-age`` wins over it.

    What makes no sense is a ConfigError before the run, naming class and attribute.
    """

    abstract = True
    wait_time = constant(0)
    think_time: Any = "uniform(1s, 3s)"
    max_connection_age: str | float | None = None
    greets: bool | None = None

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._think_s = _think_function(self, Run.rng_of(environment).getrandbits(64))
        self._max_age_s = _max_age_s(type(self))
        self._stop_requested = False

    def start(self, group: Any) -> Any:
        """As in Locust; a slot that ends without being asked to is reported to the run."""
        if (run := Run.present(self.environment)) is not None:
            run.add_slot(type(self).__name__)
        greenlet = super().start(group)
        greenlet.link(self._on_end)
        if len(group) % STARTED_AT_ONCE == 0:  # Locust starts thousands without a pause
            gevent.sleep(0)
        return greenlet

    def stop(self, force: bool = False) -> bool:
        """As in Locust; a story that stops its own slot was not asked to."""
        if gevent.getcurrent() is not self._greenlet:
            self._stop_requested = True
        return bool(super().stop(force))

    def _on_end(self, greenlet: Any) -> None:
        if (run := Run.present(self.environment)) is not None:
            kind = type(self).__name__
            run.slot_ended(kind, greenlet.exception, by_request=self._stop_requested)

    def guest(self) -> AbstractContextManager[GuestSession]:
        """The next guest who arrives in this slot, in session; always cleared on the way out.

        ``with self.guest() as guest: guest.say("Hello.")``. In an open workload this waits until
        the next arrival is due. What the service or the network does to a guest ends its story
        here, quietly: it has been measured. What the story itself raises goes on to Locust.
        """
        run = Run.of(self.environment)
        return _KeptVisit(run.visits, self._visit(run))

    @contextmanager
    def _visit(self, run: Run) -> Iterator[GuestSession]:
        due_ns = run.next_arrival(self)
        began_ns = monotonic_ns()
        try:
            sign_in = self.sign_in()
        except STORY_ENDS as end:
            run.note_no_sign_in(due_ns, began_ns, end)
            raise RescheduleTask from end
        except Exception as error:
            run.note_no_sign_in(due_ns, began_ns, error)
            raise  # what is wrong with the locustfile is for Locust to show
        session = run.new_session(
            due_ns,
            self._think_s,
            sign_in=sign_in,
            max_age_s=self._max_age_s,
            greets=type(self).greets,
            stop_requested=lambda: self._stop_requested,
        )
        with run.occupied(session):
            try:
                with session:
                    yield session
            except STORY_ENDS as end:
                self.note_end(session, end)
                raise RescheduleTask from end
            except (LedgerError, ConfigError) as error:
                run.fail(str(error))
                raise StopUser from error

    def note_end(self, session: GuestSession, end: Exception) -> None:
        """A story has broken off by what the service or the network did."""
        LOG.debug("a story broke off in %s: %s", session.step, reason_of(end))
        if isinstance(end, NotPossible):
            sentence = f"a guest's story broke off in {session.step}: {end}"
            Run.of(self.environment).tell_once(f"{session.step}: {end.what}", sentence)

    def sign_in(self) -> SignIn:
        """The JWT of the next guest, empty for a stranger: by default the next of ``--sign-ins``.

        Override it where customers sign in: get an authorization code from their identity provider
        and return ``self.exchange_sign_in(code, redirect_uri)``. A JWT lives for 15 minutes; return
        a function for guests who may reconnect later: it is called whenever one connects. What it
        raises of the kinds of ServiceError and TransportError ends the guest's story, and counts.
        """
        return Run.of(self.environment).next_sign_in()

    def exchange_sign_in(self, code: str, redirect_uri: str, *, code_verifier: str = "") -> str:
        """The service's JWT for an authorization code of the customer's identity provider.

        ``return self.exchange_sign_in(code, "https://shop.example/back")``. Raises ServiceError
        where the code is refused, TransportError or RemoteProtocolError.
        """
        settings = Run.of(self.environment).settings
        return exchange_sign_in(settings, code, redirect_uri, code_verifier=code_verifier)


class _KeptVisit(AbstractContextManager[GuestSession]):
    """A guest's visit, which the run holds until it has ended.

    A story may enter a guest and never leave it. If that visit were garbage-collected, its end
    would wait for the ledger in any greenlet in which the collector runs; in the ledger's own it
    would wait for ever.
    """

    def __init__(self, visits: set[object], visit: AbstractContextManager[GuestSession]) -> None:
        self._visits = visits
        self._visit = visit

    def __enter__(self) -> GuestSession:
        session = self._visit.__enter__()
        self._visits.add(self)
        return session

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            return self._visit.__exit__(kind, error, trace)
        finally:
            self._visits.discard(self)


def _max_age_s(kind: type[GuestUser]) -> float:
    age = kind.max_connection_age
    return 0.0 if age is None else max_age_s(age, f"{kind.__name__}.max_connection_age")


def _think_function(user: GuestUser, seed: int) -> Callable[[], float]:
    think = type(user).think_time
    if isinstance(think, str | int | float):
        think = parse_think(think, f"{type(user).__name__}.think_time")
    if hasattr(think, "describe"):  # one of ours
        return partial(next, draws(think, seed))
    return lambda: seconds(think(user), f"{type(user).__name__}.think_time")


class ScriptUser(GuestUser):
    """A slot whose guests play a YAML script. Inherit from it and name the ``script``.

    ::

        class Shop(ScriptUser):
            script = "shop.yaml"

    The path counts from the locustfile's folder. The script and its data are read when the class is
    made: what is wrong with them is a ConfigError, naming file and line, before anything is sent.
    """

    abstract = True
    script: str = ""
    opened: ClassVar["Loaded"]
    """the script, read and checked"""
    _row: Row = NO_ROW

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if not vars(cls).get("abstract", False):
            cls.opened = open_script(cls.script, _folder_of(cls), cls.__name__)

    @task
    def play(self) -> None:
        """The next guest plays a scenario, chosen by weight."""
        from harness.guest.player import act

        rows, rng = self._shared()
        try:
            self._row = next(rows)
        except StopIteration:
            self._stop_requested = True  # each row was used once
            Run.of(self.environment).rows_used_up()
            raise StopUser from None
        opened, row = self.opened, self._row
        script, folder, texts = opened.script, opened.folder, opened.texts
        name = script.pick(rng)
        with self.guest() as guest:
            act(guest, script, name, row=row, rng=rng, folder=folder, texts=texts)

    def note_end(self, session: GuestSession, end: Exception) -> None:
        """Record the broken story, with the guest's row."""
        feeder = self.opened.feeder
        if isinstance(end, NotPossible) and feeder is not None:
            # the first row like it; the file's first line is its header
            line = feeder.table.rows.index(tuple(self._row.values())) + 2
            end = NotPossible(
                end.what, f"{end.details} ({Path(feeder.table.name).name}, line {line})"
            )
        super().note_end(session, end)

    @classmethod
    def rows_are_unique(cls) -> bool:
        """Whether each row may be used once only, so that they are shared out at the start."""
        feeder = cls.opened.feeder
        return feeder is not None and feeder.mode is Mode.UNIQUE

    def _shared(self) -> tuple[Iterator[Row], Random]:
        """The rows and the random generator that the guests of this script share in one process.

        Without a feeder there are endless empty rows.
        """
        run = Run.of(self.environment)
        shared: dict[type, tuple[Iterator[Row], Random]]
        shared = vars(self.environment).setdefault("harness_scripts", {})
        if type(self) not in shared:
            feeder = self.opened.feeder
            rows = repeat(NO_ROW) if feeder is None else feeder.rows_of(run.worker, run.workers)
            shared[type(self)] = rows, Run.rng_of(self.environment)
        return shared[type(self)]


def open_script(script: str, folder: Path, user: str) -> "Loaded":
    """The script of a user class. Raises ConfigError."""
    if not script:
        raise ConfigError(f"{user} names no script: write script = 'FILE.yaml'")
    import harness.guest.player  # noqa: F401 - now, and not in the middle of the run
    from harness.workload.script.file import read_script

    return read_script(folder / script)


def _folder_of(cls: type) -> Path:
    """The folder of the module whose class is being made; it may not be registered yet."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != cls.__module__:
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return Path(frame.f_globals["__file__"]).parent if frame is not None else Path()
