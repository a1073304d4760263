"""What can be known of a locustfile's stories before anybody plays them: limits that would break.

A script is played on paper (:mod:`harness.workload.script.estimate`). A task in Python can't be,
so only its think time is looked at: what it would come to if the guest talked for a minute.
"""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from harness.judge.objective import Objective, Op, Unit
from harness.load.script import ScriptUser
from harness.load.user import GuestUser
from harness.protocol.names import (
    MESSAGES_PER_SESSION_PER_SECOND,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
)
from harness.units import duration_text, seconds
from harness.workload.script.estimate import estimate
from harness.workload.script.model import StepKind, walk
from harness.workload.think import parse_think

WAITS = (StepKind.WAIT_ANY, StepKind.WAIT_CONTAINING, StepKind.WAIT_MATCHING)
DRAWS = 200
"""From a function of unknown kind the mean is estimated."""


def would_break(users: Iterable[type]) -> list[str]:
    """One sentence for each limit that a script of these user classes breaks for certain."""
    return [
        f"{user.script}: {sentence}"
        for user in users
        if issubclass(user, ScriptUser)
        for sentence in estimate(user.opened().script).breaks
    ]


def origins_left_out(users: Iterable[type], origin: str | None) -> list[str]:
    """One sentence for each script that was written for another Origin than the run sends."""
    found = []
    for user in users:
        if not issubclass(user, ScriptUser):
            continue
        config = user.opened().script.config
        if config is not None and config.origin and config.origin != origin:
            found.append(
                f"{user.script} names the Origin {config.origin}, this run sends "
                f"{origin or 'none'}: say --origin where the deployment asks for one"
            )
    return found


def might_break(users: Iterable[type]) -> list[str]:
    """One sentence for each think time at which a longer conversation would break a limit.

    Raises ConfigError for what is no think time.
    """
    found = []
    for user in users:
        if not issubclass(user, GuestUser) or issubclass(user, ScriptUser):
            continue
        mean_s = mean_think_s(user.think_time, f"{user.__name__}.think_time")
        if mean_s is None or mean_s * REQUESTS_PER_CONNECTION_PER_MINUTE >= 60:
            continue
        per_min = "no end of" if mean_s == 0 else f"about {60 / mean_s:,.0f}"
        found.append(
            f"{user.__name__}: with a think time of {duration_text(round(mean_s, 3))} a guest who "
            f"talks for a minute and is answered at once makes {per_min} requests; the service "
            f"takes {REQUESTS_PER_CONNECTION_PER_MINUTE} a minute on one connection, and "
            f"{MESSAGES_PER_SESSION_PER_SECOND} messages a second"
        )
    return found


def beyond_waits(users: Iterable[type], objectives: Iterable[Objective]) -> list[str]:
    """One sentence for each objective on replies whose limit no wait of a script reaches.

    A wait that ends before the limit says only that the answer takes longer than the wait.
    """
    found = []
    for user in users:
        if not issubclass(user, ScriptUser):
            continue
        script = user.opened().script
        waits = [
            script.within_s(step)
            for scenario in script.scenarios.values()
            for step in walk(scenario.steps)
            if step.kind in WAITS
        ]
        for objective in objectives:
            upper = objective.op in (Op.LESS, Op.AT_MOST) and objective.unit is Unit.MS
            if not (waits and upper and objective.subject in ("reply", "turn", "greeting")):
                continue
            if objective.limit >= min(waits) * 1000:
                found.append(
                    f"{user.script}: a wait for a reply ends after "
                    f"{duration_text(min(waits))}, which is not longer than the limit of "
                    f"'{objective.text}': what takes longer is only known to take longer than that"
                )
    return found


def mean_think_s(think: Any, what: str) -> float | None:
    """The mean of a ``think_time`` in seconds; None when it can't be known beforehand.

    Raises ConfigError, beginning with ``what``, for a text that is no think time.
    """
    if isinstance(think, str | int | float):
        return parse_think(think, what).mean_s
    mean_s = getattr(think, "mean_s", None)
    if isinstance(mean_s, float):
        return mean_s
    return _drawn(think)


def check_rows(users: Iterable[type], guests: int) -> None:
    """ConfigError when the one script of an open workload has too few unique rows for it."""
    only = list(users)
    if len(only) != 1 or not issubclass(only[0], ScriptUser):
        return  # how many guests go to each class is drawn
    feeder = only[0].opened().feeder
    if feeder is not None:
        feeder.check_enough(guests)


def _drawn(think: Callable[[Any], float]) -> float | None:
    """The mean of one of Locust's functions; they ask nothing of the user, or it can't be told."""
    try:
        return sum(seconds(think(SimpleNamespace())) for _ in range(DRAWS)) / DRAWS
    except Exception:  # noqa: BLE001 - a locustfile's own function may want anything
        return None
