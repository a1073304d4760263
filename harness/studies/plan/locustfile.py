"""The locustfile that is written for a plan: its guests, at whatever rate a run asks for."""

from pathlib import Path

from harness.errors import ConfigError
from harness.studies.plan.model import SPARE, LaunchPlan, Wanted
from harness.units import figure_text

TEMPLATE = '''"""The planned launch: {peak} guests a minute at the peak, {held} in session at once.

Written by ``harness plan``; the runs of the plan ask for their rate and length.
"""

from math import ceil, sqrt
from random import random
from time import monotonic

from locust import task

from harness.load import ArrivalShape, GuestUser, from_options, objective, poisson, rate

SESSION_S = {session}  # a chat, waiting included
MESSAGES = {messages}  # of a guest, on average
PACE_S = SESSION_S / MESSAGES  # from one to the next; the reply's time is part of it
AT_ONCE = rate("{rate}/min") * SESSION_S


class Launch(ArrivalShape):
    arrivals = poisson(from_options(rate="{rate}/min", over="{over}"))
    # What chance adds to the mean, and a tenth to spare.
    slots = ceil({spare} * (AT_ONCE + 3.1 * sqrt(AT_ONCE) + 3))


class Guest(GuestUser):
    @task
    def talk(self) -> None:
        with self.guest() as guest:
            for number in range(int(MESSAGES + random())):
                spoke = monotonic()
                guest.say(f"This is my message number {{number + 1}}.")
                guest.await_reply(within="30s")
                guest.think(max(0.0, PACE_S - (monotonic() - spoke)))


objective("reply p95 < 5s", "dropped == 0", "leftovers == 0")
'''


def locustfile_of(wanted: Wanted, plan: LaunchPlan) -> str:
    """A locustfile that runs the plan."""
    return TEMPLATE.format(
        peak=figure_text(plan.peak_per_min),
        held=f"{plan.occupancy:,.0f}",
        session=f"{plan.session_s:.5g}",
        messages=f"{wanted.messages:g}",
        rate=f"{plan.peak_per_min:.0f}"
        if plan.peak_per_min >= 1000
        else f"{plan.peak_per_min:.4g}",
        over=f"{wanted.test_s:g}s",
        spare=SPARE,
    )


def write_locustfile(path: Path, text: str) -> None:
    """Write it; refuses to replace a file."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"--locustfile: {path} is already there") from None
    except OSError as error:
        raise ConfigError(f"--locustfile: {path}: {error.strerror or error}") from None
