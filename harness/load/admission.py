"""May this run begin? Checks options, shape, limits, the guard's permission and the machines.

Anything wrong ends the process with one sentence and an exit code, before anything is sent. Limits
that stories would break are reported: for a script they are estimated in full
(:mod:`harness.workload.script.estimate`), for a task in Python only from the think time.
"""

import ast
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from textwrap import dedent
from types import SimpleNamespace
from typing import Any, NoReturn

import gevent

from harness.clock import monotonic_ns
from harness.config.run_config import LOCUST_OPTIONS, SCHEDULE_SPARE_S
from harness.errors import ConfigError, ExitCode, PreflightRefused
from harness.guest.settings import REPLY_WITHIN_S
from harness.judge.objective import Objective, Op, Unit, parse_objective
from harness.judge.reading import read_objectives
from harness.limits import (
    MAY_BREAK,
    MESSAGES_PER_SESSION_PER_SECOND,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
    WOULD_BREAK,
)
from harness.load.arrivals import ArrivalShape, check_only_one, no_arrivals, peak_per_s
from harness.load.cluster.handshake import Handshake, facts_of
from harness.load.options import RunOptions, occupancy, own_objectives, read_options
from harness.load.user import GuestUser, ScriptUser
from harness.machine import LINGER_S, Share, shortfalls, this_machine
from harness.measure.model import QUESTIONS
from harness.preflight.disk import Forecast, as_dict, check_room, forecast, notable
from harness.preflight.guard import Intent, Permit, Rule, permit
from harness.rundir.layout import WAITING
from harness.units import duration_text, seconds
from harness.workload.think import parse_think

DRAWS = 200
"""How many values are drawn from an unknown function to estimate its mean."""


def would_break(users: Iterable[type]) -> list[str]:
    """One sentence for each limit that a script of these user classes breaks for certain."""
    scripted = [user for user in users if issubclass(user, ScriptUser)]
    if not scripted:
        return []
    from harness.workload.script.estimate import estimate

    return [
        f"{user.script}: {sentence}"
        for user in scripted
        for sentence in estimate(user.opened.script).breaks
    ]


def origins_left_out(users: Iterable[type], origin: str | None) -> list[str]:
    """One sentence for each script that was written for another Origin than the run sends."""
    sentences = []
    for user in users:
        if not issubclass(user, ScriptUser):
            continue
        config = user.opened.script.config
        if config is not None and config.origin and config.origin != origin:
            sentences.append(
                f"{user.script} names the Origin {config.origin}, this run sends "
                f"{origin or 'none'}: say --origin where the deployment asks for one"
            )
    return sentences


def might_break(users: Iterable[type]) -> list[str]:
    """One sentence for each think time at which a longer conversation would break a limit.

    Raises ConfigError for an invalid think time.
    """
    sentences = []
    for user in users:
        if not issubclass(user, GuestUser) or issubclass(user, ScriptUser):
            continue
        mean_s = mean_think_s(user.think_time, f"{user.__name__}.think_time")
        if mean_s is None or mean_s * REQUESTS_PER_CONNECTION_PER_MINUTE >= 60:
            continue
        per_min = "no end of" if mean_s == 0 else f"about {60 / mean_s:,.0f}"
        sentences.append(
            f"{user.__name__}: with a think time of {duration_text(round(mean_s, 3))} a guest who "
            f"talks for a minute and is answered at once makes {per_min} requests; the service "
            f"takes {REQUESTS_PER_CONNECTION_PER_MINUTE} a minute on one connection, and "
            f"{MESSAGES_PER_SESSION_PER_SECOND} messages a second"
        )
    return sentences


def beyond_waits(users: Iterable[type], objectives: Iterable[Objective]) -> list[str]:
    """One sentence for each objective on replies with a limit that is longer than a story's wait.

    A wait that ends before the limit shows only that the answer takes longer than the wait. In a
    story in Python the known waits are those with a time in the source (``within="2s"``), and those
    without one.
    """
    sentences = []
    upper = [
        objective
        for objective in objectives
        if objective.op in (Op.LESS, Op.AT_MOST)
        and objective.unit is Unit.MS
        and objective.subject in QUESTIONS
    ]
    for user in users:
        if issubclass(user, ScriptUser):
            where, waits = str(user.script), _script_waits_s(user)
        else:
            where, waits = user.__name__, _source_waits_s(user)
        shortest = min(waits, default=math.inf)
        sentences += [
            f"{where}: a wait for a reply ends after "
            f"{duration_text(shortest)}, which is not longer than the limit of "
            f"'{objective.text}': what takes longer is only known to take longer than that"
            for objective in upper
            if objective.limit >= shortest * 1000
        ]
    return sentences


def _script_waits_s(user: type[ScriptUser]) -> list[float]:
    from harness.workload.script.model import WAITS, walk

    script = user.opened.script
    return [
        script.within_s(step)
        for scenario in script.scenarios.values()
        for step in walk(scenario.steps)
        if step.kind in WAITS
    ]


def _source_waits_s(user: type) -> list[float]:
    """The lengths of the waits for a reply that are written in a user class's source (seconds)."""
    try:
        tree = ast.parse(dedent(inspect.getsource(user)))
    except (OSError, TypeError, SyntaxError):
        return []  # a class made at run time has no source
    waits_s = []
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr not in ("await_reply", "await_greeting"):
            continue
        within = next((word.value for word in call.keywords if word.arg == "within"), None)
        if within is None:
            waits_s.append(REPLY_WITHIN_S)
        elif isinstance(within, ast.Constant) and isinstance(within.value, str | int | float):
            with suppress(ConfigError):  # an invalid time is reported when a guest waits
                waits_s.append(seconds(within.value, "within"))
    return waits_s


def mean_think_s(think: Any, what: str) -> float | None:
    """The mean of a ``think_time`` in seconds; None if it can't be known beforehand.

    Raises ConfigError, beginning with ``what``, for an invalid think time.
    """
    if isinstance(think, str | int | float):
        return parse_think(think, what).mean_s
    mean_s = getattr(think, "mean_s", None)
    if isinstance(mean_s, float):
        return mean_s
    return _drawn(think)


def check_rows(users: Iterable[type], guests: int) -> None:
    """Raise ConfigError if the only script of an open workload has too few unique rows for it."""
    only = list(users)
    if len(only) != 1 or not issubclass(only[0], ScriptUser):
        return  # the number of guests of each class is drawn at random
    feeder = only[0].opened.feeder
    if feeder is not None:
        feeder.check_enough(guests)


def _drawn(think: Callable[[Any], float]) -> float | None:
    """The mean of one of Locust's functions; None if the function needs its user."""
    try:
        return sum(seconds(think(SimpleNamespace())) for _ in range(DRAWS)) / DRAWS
    except Exception:  # noqa: BLE001 - a locustfile's own function may want anything
        return None


def refuse(why: str, code: ExitCode) -> NoReturn:
    """End the process with one sentence."""
    print(f"error: {why}", file=sys.stderr, flush=True)
    sys.exit(code)


@contextmanager
def refusing() -> Iterator[None]:
    """Errors in the user's input, and refusals of the guard, end the process."""
    try:
        yield
    except ConfigError as error:
        refuse(str(error), ExitCode.CONFIG)
    except PreflightRefused as error:
        refuse(str(error), ExitCode.PREFLIGHT)


SILENT_WAIT_S = 1.5
WAIT_LOOK_S = 0.25


class Admission:
    """The checks of a run before it begins."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self.handshake: Handshake | None = None
        """the master's"""
        self._began = False
        self._peak_per_s: float | None = None
        self.shape: type[ArrivalShape] | None = None
        self.objectives: tuple[Objective, ...] = ()
        """those of the ``--slo`` file"""
        self.foreseen: list[str] = []
        """sentences about limits that the guests' stories would or may break"""
        self.expected: Forecast | None = None
        """how much the run will write, if the disk is watched"""

    @refusing()
    def check_options(self) -> RunOptions:
        """The options and target; ends the process with one sentence if they are invalid."""
        options = read_options(self._environment.parsed_options)
        self.objectives = () if options.slo is None else read_objectives(options.slo)
        return options

    @refusing()
    def take_shape(self) -> None:
        """Take an ArrivalShape over from Locust: its users become slots, all started at once.

        Locust would run a shape in a way that makes the process ignore SIGTERM. If an occupancy is
        asked for, that many guests are kept in session instead.
        """
        environment, shape = self._environment, self._environment.shape_class
        if not isinstance(shape, ArrivalShape):
            return
        check_only_one((environment.available_shape_classes or {}).values())
        environment.shape_class = None
        guests = occupancy()
        if guests is not None:
            environment.parsed_options.num_users = guests
            return
        self.shape = checked = type(shape).checked()
        options = environment.parsed_options
        options.enable_rebalancing = True  # slots go where their arrivals go when a worker is lost
        options.num_users = options.num_users or checked.slots
        options.spawn_rate = options.num_users
        options.run_time = options.run_time or math.ceil(
            checked.arrivals.duration_s + SCHEDULE_SPARE_S
        )
        self._peak_per_s = peak_per_s(checked.arrivals)
        check_rows(environment.user_classes, checked.arrivals.count)

    @refusing()
    def tell_breaks(self, options: RunOptions) -> None:
        """Warn before the run about limits that scripts would break."""
        users = self._environment.user_classes
        warnings = [f"{WOULD_BREAK}{sentence}" for sentence in would_break(users)]
        perhaps = [f"{MAY_BREAK}{sentence}" for sentence in might_break(users)]
        if options.terms.guarded:
            warnings += perhaps
            warnings += origins_left_out(users, options.terms.target.origin)
        own = [parse_objective(text) for text in own_objectives()]
        warnings += beyond_waits(users, [*own, *self.objectives])
        if self.shape is not None and (nobody := no_arrivals(self.shape.arrivals)):
            warnings.append(nobody)
        self.foreseen = warnings
        for sentence in warnings:
            print(sentence, file=sys.stderr, flush=True)

    @refusing()
    def ask_permission(self, options: RunOptions) -> Permit:
        """The guard's permission for this run; its refusal ends the process."""
        return permit(
            options.terms, self._intent(), reports=options.reports, overrides=options.overrides
        )

    def _intent(self) -> Intent:
        environment, shape = self._environment, self.shape
        return Intent(
            sessions=None if shape is None else shape.arrivals.count,
            at_once=environment.parsed_options.num_users or 1,
            peak_per_s=self._peak_per_s,
            stop_timeout_s=float(environment.stop_timeout or 0),
            breaks=list(would_break(environment.user_classes)),
        )

    def check_room(self, options: RunOptions, workers: int) -> dict[str, Any] | None:
        """The forecast of how much the run will write; ends the process if that does not fit.

        None if the disk is not watched.
        """
        if not options.disk_guard:
            return None
        self.expected = forecast(
            self._intent(),
            duration_s=self._environment.parsed_options.run_time,
            processes=max(1, workers),
        )
        try:
            free = check_room(options.reports, self.expected)
        except ConfigError as error:
            if self.handshake is not None:
                self.handshake.dismiss()
            refuse(str(error), ExitCode.CONFIG)
        if warning := notable(options.reports, self.expected, free):
            print(warning, flush=True)
        return as_dict(self.expected, free)

    def await_workers(self) -> None:
        """Show how many workers a master waits for, each time one has come, until all are here.

        After Locust's time limit the process ends with one sentence.
        """
        parsed, handshake = self._environment.parsed_options, self.handshake
        if handshake is None or not parsed.headless:
            return  # the web UI shows the workers
        began_ns, before = monotonic_ns(), -1
        within_s = float(parsed.expect_workers_max_wait or 0)
        gevent.sleep(SILENT_WAIT_S)
        while (here := len(handshake.ready())) < parsed.expect_workers and not self._began:
            if here != before:
                print(f"{WAITING}{here} of {parsed.expect_workers}", flush=True)
                before = here
            if within_s and monotonic_ns() - began_ns > (within_s - WAIT_LOOK_S) * 1e9:
                handshake.dismiss()
                came = f"only {here} of {parsed.expect_workers} workers came"
                refuse(f"{came} within {duration_text(within_s)}", ExitCode.CONFIG)
            gevent.sleep(WAIT_LOOK_S)

    def end(self) -> None:
        """The run is over."""
        if self.handshake is not None:
            self.handshake.end()

    def check_strength(self, options: RunOptions) -> None:
        """Whether this machine, or each worker's, can carry its share."""
        self._began = True
        parsed, shape = self._environment.parsed_options, self.shape
        share = Share(
            at_once=parsed.num_users or 1,
            per_s=self._peak_per_s,
            sources=max(1, len(options.target.sources)),
            over_s=LINGER_S if shape is None else shape.arrivals.duration_s,
        )
        if self.handshake is None:
            problems = list(shortfalls(this_machine(), share))
        else:
            users = self._environment.user_classes
            if any(issubclass(user, ScriptUser) and user.rows_are_unique() for user in users):
                self.handshake.no_room_because = "the rows of the script's feeder are unique"
            values = {one.key: getattr(parsed, one.key, None) for one in LOCUST_OPTIONS}
            problems = self.handshake.problems(
                {key: value for key, value in values.items() if value is not None},
                facts_of(self._environment, options),
                share,
                workers=parsed.expect_workers if parsed.headless else 1,
            )
        if problems:
            why = "; ".join(problems)
            if self.handshake is not None:
                self.handshake.dismiss(why)
            refuse(why, ExitCode.CONFIG)


def check_tasks(environment: Any) -> None:
    """Check that each user class that Locust runs has a task. Raises ConfigError."""
    for user in environment.user_classes:
        if not user.tasks:
            parsed = environment.parsed_options
            tags = [*(getattr(parsed, "tags", None) or ()), *(environment.tags or ())]
            fit = f" that fits the tags {', '.join(sorted(set(tags)))}" if tags else ""
            raise ConfigError(f"{user.__name__} has no task{fit}: its guests would do nothing")


def warm_up_s(options: RunOptions, shape: type[ArrivalShape] | None, run_time_s: Any) -> float:
    """The length of the warm-up, which is not judged. Raises ConfigError if it is the whole run."""
    if options.warm_up_s is not None:
        length_s, what = options.warm_up_s, "--warm-up"
    else:
        length_s = 0.0 if shape is None else seconds(shape.warm_up, f"{shape.__name__}.warm_up")
        what = "warm_up" if shape is None else f"{shape.__name__}.warm_up"
    limits = [float(run_time_s)] if run_time_s else []
    if shape is not None:
        limits.append(shape.arrivals.duration_s)
    if length_s and limits and length_s >= min(limits):
        raise ConfigError(
            f"{what}: {duration_text(length_s)} is all of the run, which lasts "
            f"{duration_text(min(limits))}: nothing would be judged"
        )
    return length_s


def closed_limits(
    options: RunOptions, shape: type[ArrivalShape] | None, place: int | None, places: int
) -> tuple[int | None, float | None]:
    """One process's part of a closed workload's cap on sessions and highest rate (guests a second).

    For an open workload the guard has compared the whole schedule with both. ``place`` is None for
    a worker that joins during the run: no part of the cap is left for it.
    """
    terms = options.terms
    if shape is not None or not terms.guarded or Rule.CAP in options.overrides:
        return None, None
    cap, rate = terms.max_sessions, terms.max_rate_per_s
    if place is None:
        return None if cap is None else 0, None
    part = None if cap is None else len(range(place, cap, places))
    return part, None if rate is None else rate / places


def tell_shortly(before: Callable[..., Any]) -> Callable[..., Any]:
    """An excepthook: an unusable locustfile is reported in one sentence, as by ``harness run``.

    Any other error than a ConfigError goes to the previous hook.
    """

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if isinstance(error, ConfigError):
            refuse(str(error), ExitCode.CONFIG)
        before(kind, error, trace)

    return hook
