"""The three runs of a calibration: guests that come ever faster, guests that speak ever faster, and
guests that stay. Each is a run of its own against a simulator of its own.

How much of this machine others use while we measure what it can do.

What others take is missing from the figures, and they make a generator late. Our own part is that
of this process and of all its children that have ended, and theirs (``harness run`` waits for
Locust and the simulator, Locust for its workers).
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.config.run_config import ARRIVALS, OVER, PACE, RATE, SLO, child_environment
from harness.machine import usable_cores
from harness.measure.lag import LATE_MS
from harness.studies.calibrate.calibration import (
    HeldSessions,
    Rate,
    find_limit,
    is_spoiled,
    read_held,
    read_rise,
)
from harness.supervise.run_process import watch_run

SPOILED_MS = LATE_MS / 2
"""Half of what makes a run INVALID: there has to be room for a bad minute."""
SLOW_MS = 100.0
"""The simulator answers after a millisecond; where half of them take this, it is at fault."""
BOT_MS = 1
FILL_PER_S = 100
"""Guests a second that come when they are to stay."""
STORY = '''"""Written by harness calibrate."""

from time import monotonic

from locust import task

from harness.load import ArrivalShape, GuestUser, ramp, steady

BEGAN = monotonic()


class Coming(ArrivalShape):
    arrivals = {arrivals}
    slots = {slots}
    drop_after = "30s"


class Guest(GuestUser):
    @task
    def talk(self) -> None:
        with self.guest() as guest:
{story}
'''
VISIT = """\
            guest.say("Are you open on Sunday?")
            guest.await_reply(within="20s")
"""
SPEAK = """\
            while (left_s := {until} - (monotonic() - BEGAN)) > 0:
                asked = monotonic()
                guest.say("Are you open on Sunday?")
                guest.await_reply(within="20s")
                rate = {low} + {slope} * max(0.0, monotonic() - BEGAN - {filled})
                pause = {guests} / rate - (monotonic() - asked)
                guest.think(min(max(0.0, pause), left_s))
"""
STAY = """\
            guest.say("Just looking.")
            guest.await_reply(within="20s")
            while (left_s := {until} - (monotonic() - BEGAN)) > 0:
                guest.think(min(5.0, left_s))
                guest.health_check()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rising:
    """How the runs are made. ``top_guests_per_s`` and ``top_messages_per_s`` end the rises."""

    out: Path
    processes: int
    tls: bool
    rise_s: float
    top_guests_per_s: float
    top_messages_per_s: float
    speakers: int
    held: int


def measure_guests(asked: Rising) -> Rate | None:
    """Short visits at a rising rate: how many a second before the generator lags."""
    low = max(1.0, asked.top_guests_per_s / 40)
    story = STORY.format(
        arrivals=f"ramp(per_second=({low:g}, {asked.top_guests_per_s:g}), "
        f'over="{asked.rise_s:g}s")',
        slots=max(50, round(asked.top_guests_per_s)),
        story=VISIT,
    )
    return _rise(asked, "guests", story, "clear")


def measure_messages(asked: Rising) -> Rate | None:
    """Guests who speak ever faster: how many messages a second before the generator lags."""
    filled = asked.speakers / FILL_PER_S
    low = asked.top_messages_per_s / 40
    speaking = SPEAK.format(
        until=filled + asked.rise_s,
        low=low,
        slope=(asked.top_messages_per_s - low) / asked.rise_s,
        filled=filled,
        guests=asked.speakers,
    )
    return _rise(asked, "messages", _filling(asked.speakers, filled, speaking), "delivered")


def measure_sessions(
    asked: Rising, room: Callable[[float | None], tuple[int, str]]
) -> HeldSessions:
    """Guests who stay. ``room`` tells from the KiB of one how many would fit, and what ends it."""
    filled = asked.held / FILL_PER_S
    stay_s = filled + 15
    story = _filling(asked.held, filled, STAY.format(until=stay_s))
    directory = watch_run(
        _command(asked, _written(asked, "sessions", story), stay_s + 2),
        asked.out / "sessions",
        look=lambda _: False,
        environment=_environment(),
    )
    held, lag_ms, kib_each = read_held(directory)
    most, why = room(kib_each)
    return HeldSessions(held=held, lag_ms=lag_ms, kib_each=kib_each, room=most, room_ends_by=why)


def _filling(guests: int, filled_s: float, story: str) -> str:
    arrivals = f'steady(per_second={FILL_PER_S}, over="{filled_s:g}s")'
    return STORY.format(arrivals=arrivals, slots=guests, story=story)


def _rise(asked: Rising, name: str, story: str, operation: str) -> Rate | None:
    filled = asked.speakers / FILL_PER_S if operation == "delivered" else 0.0
    directory = watch_run(
        _command(asked, _written(asked, name, story), filled + asked.rise_s + 2),
        asked.out / name,
        look=lambda run: is_spoiled(
            read_rise(run, operation), lag_ms=SPOILED_MS, answer_ms=SLOW_MS
        ),
        environment=_environment(),
    )
    found = find_limit(read_rise(directory, operation), lag_ms=SPOILED_MS, answer_ms=SLOW_MS)
    if found is None:
        return None
    return Rate(per_s=found.per_s, lag_ms=found.lag_ms, limit=found.limit)


def _written(asked: Rising, name: str, story: str) -> Path:
    folder = asked.out / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "story.py"
    path.write_text(story)
    return path


def _command(asked: Rising, story: Path, length_s: float) -> list[str]:
    command = [
        sys.executable, "-m", "harness", "run", str(story), "--sim-bot-delay", f"{BOT_MS}ms",
        "--run-time", f"{length_s:.0f}s", "--stop-timeout", "1s", "--reports", str(story.parent),
    ]  # fmt: skip
    if asked.processes > 1:
        command += ["--processes", str(asked.processes)]
    return [*command, "--sim-tls"] if asked.tls else command


def _environment() -> dict[str, str]:
    given = {one.variable: None for one in (RATE, OVER, ARRIVALS, SLO)}
    return child_environment({**given, PACE.variable: "off"})


class OtherWork:
    """The processor time of others since it was made, as a share of all there was."""

    def __init__(self) -> None:
        self._cores = usable_cores()
        self._began_s = time.monotonic()
        self._busy_s = _busy_s(self._cores)
        self._own_s = _own_s()

    def share(self) -> float:
        """0 to 1; ask when the children have ended."""
        return share_of_others(
            busy_s=_busy_s(self._cores) - self._busy_s,
            own_s=_own_s() - self._own_s,
            all_s=(time.monotonic() - self._began_s) * len(self._cores),
        )


def share_of_others(*, busy_s: float, own_s: float, all_s: float) -> float:
    """Of ``all_s`` seconds of all cores ``busy_s`` were used, ``own_s`` of these by us."""
    return min(1.0, max(0.0, busy_s - own_s) / all_s) if all_s > 0 else 0.0


def _busy_s(cores: list[int]) -> float:
    every = psutil.cpu_times(percpu=True)
    found = 0.0
    for core in cores:
        if core < len(every):
            times = every[core]._asdict()
            kinds = ("user", "nice", "system", "irq", "softirq", "steal")
            found += sum(times.get(kind, 0.0) for kind in kinds)
    return found


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
