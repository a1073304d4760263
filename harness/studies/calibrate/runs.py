"""The three runs of a calibration: with a rising rate of guests, with a rising rate of messages,
and with guests that stay. Each has a simulator of its own.

The processor time that other programs take meanwhile lowers the figures and makes a generator late,
so it is measured too. Our own part is that of this process and of all its children that have ended,
and theirs (``harness run`` waits for Locust and the simulator, Locust for its workers).
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.clock import utc_iso
from harness.config.run_config import ARRIVALS, OVER, PACE, RATE, SLO, child_environment
from harness.errors import ConfigError, expect
from harness.machine import (
    FILES_SPARE,
    LINGER_S,
    PORTS_SPARE,
    Machine,
    available_memory_mb,
    usable_cores,
)
from harness.measure.histogram import decoded
from harness.measure.model import Phase
from harness.measure.recorder import LAG_LOOP, service_tag
from harness.measure.snapshot import read_histograms, read_intervals
from harness.rundir.layout import RunDirectory
from harness.studies.calibrate.calibration import (
    Calibration,
    HeldSessions,
    MachineLimits,
    Rate,
    Second,
    find_limit,
    is_spoiled,
)
from harness.supervise.children import Say, watch_run
from harness.units import rate_per_s, seconds

BOT_MS = 1
FILL_PER_S = 100
"""Guests a second that come when they are to stay."""
KINDS = ("plain", "tls")
MAX_PROCESSES_PER_CORE = 4
MOST_GUESTS_PER_S = 10_000
MOST_MESSAGES_PER_S = 1_000_000
"""Higher than any machine has reached."""
MEMORY_SHARE = 0.5
"""The part of the free memory that held sessions may take."""
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
class Rises:
    """How the runs are made. ``top_guests_per_s`` and ``top_messages_per_s`` end the rises."""

    processes: int
    tls: bool
    rise_s: float
    top_guests_per_s: float
    top_messages_per_s: float
    speakers: int
    held: int


def read_rises(args: argparse.Namespace, machine: Machine) -> dict[str, Rises]:
    """What was asked for, by kind of connection. ConfigError names the option."""
    kinds = list(dict.fromkeys(part.strip() for part in args.kinds.split(",")))
    if not set(kinds) <= set(KINDS):
        raise ConfigError(f"--kinds: expected plain, tls or both, got {args.kinds!r}")
    processes = max(1, machine.cores - 1) if args.processes is None else args.processes
    at_once = {"speakers": args.speakers, "held": args.held}
    for name, number in {"processes": processes, **at_once}.items():
        expect(number >= 1, f"--{name}", "one or more", number)
    most = MAX_PROCESSES_PER_CORE * machine.cores
    allowed = f"up to {most} on {machine.cores} cores"
    expect(processes <= most, "--processes", allowed, processes)
    rise_s = seconds(args.rise, "--rise")
    expect(5 <= rise_s <= 600, "--rise", "5s to 10m", repr(args.rise))
    room = min(_sessions_that_fit(machine, processes).values())
    for name, number in at_once.items():
        if number > room:
            raise ConfigError(
                f"--{name}: {number:,} sessions at once are more than this machine's files and "
                f"ports allow ({room:,})"
            )
    # A port stays taken for a while after its connection was closed, and the slots take some.
    ports = (machine.ports - PORTS_SPARE) / (min(rise_s, LINGER_S) + 1)
    top, messages = min(ports, 900.0 * processes), 10_000.0 * processes
    if args.top is not None:
        top = rate_per_s(args.top, "--top")
    if args.top_messages is not None:
        messages = rate_per_s(args.top_messages, "--top-messages")
    for option, least, rate, most, text in (
        ("--top", 2, top, MOST_GUESTS_PER_S, args.top),
        ("--top-messages", 10, messages, MOST_MESSAGES_PER_S, args.top_messages),
    ):
        allowed = f"{least}/s or more, up to {most:,}/s"
        expect(least <= rate <= most, option, allowed, repr(text))
    return {
        kind: Rises(
            processes=processes,
            tls=kind == "tls",
            rise_s=rise_s,
            top_guests_per_s=float(int(top)),
            top_messages_per_s=messages,
            speakers=args.speakers,
            held=args.held,
        )
        for kind in kinds
    }


def calibrate(
    rises: Mapping[str, Rises], folder: Path, machine: Machine, say: Say
) -> Calibration | None:
    """Measure kind by kind; None where nothing could be measured."""
    kinds = {kind: _measure(kind, one, folder / kind, machine, say) for kind, one in rises.items()}
    if not any(one.guests or one.messages for one in kinds.values()):
        return None
    return Calibration(
        made=utc_iso(),
        host=platform.node(),
        cores=machine.cores,
        processes=next(iter(rises.values())).processes,
        kinds=kinds,
    )


def _measure(kind: str, rises: Rises, out: Path, machine: Machine, say: Say) -> MachineLimits:
    """The three runs over one kind of connection, one after the other, kept in ``out``."""
    meanwhile = OtherWork()
    say(f"{kind}: guests that come ever faster …")
    guests = _guests(rises, out / "guests")
    say(f"{kind}: guests that speak ever faster …")
    messages = _messages(rises, out / "messages")
    say(f"{kind}: {rises.held:,} guests that stay …")
    sessions = _sessions(rises, out / "sessions", machine)
    others = round(meanwhile.share(), 3)
    return MachineLimits(guests=guests, messages=messages, sessions=sessions, others=others)


def _sessions_that_fit(machine: Machine, processes: int) -> dict[str, int]:
    """How many sessions fit at once, by what ends it."""
    return {
        "open files": max(0, (machine.files - FILES_SPARE) * processes),
        "ports of one address": max(0, machine.ports - PORTS_SPARE),
    }


def _guests(rises: Rises, out: Path) -> Rate | None:
    """Short visits at a rising rate: how many a second before the generator lags."""
    low = max(1.0, rises.top_guests_per_s / 40)
    rates = f"({low:g}, {rises.top_guests_per_s:g})"
    story = STORY.format(
        arrivals=f'ramp(per_second={rates}, over="{rises.rise_s:g}s")',
        slots=max(50, round(rises.top_guests_per_s)),
        story=VISIT,
    )
    return _rise(rises, out, story, "clear", rises.rise_s)


def _messages(rises: Rises, out: Path) -> Rate | None:
    """Guests who speak ever faster: how many messages a second before the generator lags."""
    filled = rises.speakers / FILL_PER_S
    low = rises.top_messages_per_s / 40
    speaking = SPEAK.format(
        until=filled + rises.rise_s,
        low=low,
        slope=(rises.top_messages_per_s - low) / rises.rise_s,
        filled=filled,
        guests=rises.speakers,
    )
    story = _filling(rises.speakers, filled, speaking)
    return _rise(rises, out, story, "delivered", filled + rises.rise_s)


def _sessions(rises: Rises, out: Path, machine: Machine) -> HeldSessions:
    """Guests who stay: what one of them takes, how many would fit, and what ends it."""
    filled = rises.held / FILL_PER_S
    stay_s = filled + 15
    story = _filling(rises.held, filled, STAY.format(until=stay_s))
    room, memory_mb = _sessions_that_fit(machine, rises.processes), available_memory_mb()
    directory = _run(rises, out, story, stay_s, look=lambda _: False)
    sessions, lag_ms, kib_each = read_peak_sessions(directory)
    if memory_mb is not None and kib_each is not None:
        room["memory"] = int(memory_mb * MEMORY_SHARE * 1024 / kib_each)
    why = min(room, key=lambda name: room[name])
    return HeldSessions(
        held=sessions, lag_ms=lag_ms, kib_each=kib_each, room=room[why], room_ends_by=why
    )


def read_rise(directory: Path, operation: str) -> list[Second]:
    """The seconds of a run whose load rises, while it goes on or afterwards.

    ``operation`` is what counts as done. Lag is the worse of the loop's and the arrivals', answers
    are the service times of ``operation``. Only whole seconds of all processes are given.
    """
    done: dict[int, float] = {}
    last: dict[str, int] = {}
    for path in RunDirectory(directory).all_intervals():
        for interval in read_intervals(path):
            if interval.phase != Phase.RUNNING:
                continue
            at = int(interval.ended_s - interval.length_s / 2)
            last[interval.worker] = max(at, last.get(interval.worker, at))
            ok = interval.outcomes.get(operation, {}).get("ok", 0)
            done[at] = done.get(at, 0) + ok / interval.length_s
    lag: dict[int, float] = {}
    answers: dict[int, list[str]] = {}
    for path in RunDirectory(directory).all_histograms():
        for line in read_histograms(path):
            at = int(line.started_s + line.length_s / 2)
            if line.tag == LAG_LOOP:
                p99 = decoded([line.encoded]).percentile_ms(99.0) or 0.0
                lag[at] = max(lag.get(at, 0.0), p99)
            elif line.tag == service_tag(operation):
                answers.setdefault(at, []).append(line.encoded)
    whole = min(last.values(), default=0)
    return [
        Second(
            done=done[at],
            lag_ms=lag.get(at, 0.0),
            answer_ms=decoded(answers.get(at, [])).percentile_ms(50.0) or 0.0,
        )
        for at in sorted(done)
        if at <= whole
    ]


def read_peak_sessions(directory: Path) -> tuple[int, float, float | None]:
    """(sessions held at most, lag p99 in ms while they were, KiB that each took) of a run.

    Memory is the growth of all processes from their first second to the moment of the most
    sessions. Raises ConfigError when no session was held.
    """
    first: dict[str, float] = {}
    rows: dict[int, list[tuple[str, int, float]]] = {}
    for path in RunDirectory(directory).all_intervals():
        for interval in read_intervals(path):
            rss = interval.process.get("rss_mb", 0.0)
            first.setdefault(interval.worker, rss)
            at = int(interval.ended_s)
            sessions = interval.sessions.get("occupancy", 0)
            rows.setdefault(at, []).append((interval.worker, sessions, rss))
    most = max(rows.values(), key=lambda one: sum(row[1] for row in one), default=[])
    if not (sessions := sum(row[1] for row in most)):
        raise ConfigError(f"{directory.name}: no session was held")
    grown_mb = sum(rss - first[worker] for worker, _, rss in most)
    lags = [second.lag_ms for second in read_rise(directory, "health_check") if second.lag_ms]
    lag = sorted(lags)[len(lags) // 2] if lags else 0.0
    return sessions, lag, grown_mb * 1e6 / 1024 / sessions if grown_mb > 0 else None


def _filling(guests: int, filled_s: float, story: str) -> str:
    arrivals = f'steady(per_second={FILL_PER_S}, over="{filled_s:g}s")'
    return STORY.format(arrivals=arrivals, slots=guests, story=story)


def _rise(rises: Rises, out: Path, story: str, operation: str, length_s: float) -> Rate | None:
    def spoiled(run: Path) -> bool:
        return is_spoiled(read_rise(run, operation))

    rate = find_limit(read_rise(_run(rises, out, story, length_s, look=spoiled), operation))
    return rate if rate is not None and rate.per_s > 0 else None


def _run(
    rises: Rises, out: Path, story: str, length_s: float, *, look: Callable[[Path], bool]
) -> Path:
    """The directory of a run of this story in ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "story.py"
    path.write_text(story, encoding="utf-8")
    command = _command(rises, path, length_s + 2)
    return watch_run(command, out, look=look, environment=_environment())


def _command(rises: Rises, story: Path, length_s: float) -> list[str]:
    command = [
        sys.executable, "-m", "harness", "run", str(story), "--sim-bot-delay", f"{BOT_MS}ms",
        "--run-time", f"{length_s:.0f}s", "--stop-timeout", "1s", "--reports", str(story.parent),
    ]  # fmt: skip
    if rises.processes > 1:
        command += ["--processes", str(rises.processes)]
    return [*command, "--sim-tls"] if rises.tls else command


def _environment() -> dict[str, str]:
    unset = {one.variable: None for one in (RATE, OVER, ARRIVALS, SLO)}
    return child_environment({**unset, PACE.variable: "off"})


class OtherWork:
    """The processor time of others since it was made, as a share of all there was."""

    def __init__(self) -> None:
        self._cores = usable_cores()
        self._began_s = time.monotonic()
        self._busy_s = _busy_s(self._cores)
        self._own_s = _own_s()

    def share(self) -> float:
        """0 to 1; only valid once the children have ended."""
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
    kinds = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(
        getattr(every[core], kind, 0.0) for core in cores if core < len(every) for kind in kinds
    )


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
