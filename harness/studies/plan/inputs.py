"""What ``harness plan`` is told, as values: options, a CSV of arrivals, a calibration, a search."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigError
from harness.studies.calibrate.calibration import CALIBRATION, read_calibration
from harness.studies.capacity.runner import resume_search
from harness.studies.capacity.search import Raised, answer
from harness.studies.plan.model import Wanted, peak_of_intervals
from harness.units import duration_text, rate_per_s, seconds
from harness.workload.schedule import read_profile

OPTIONS = {
    **{
        name: f"--{name.replace(' ', '-')}"
        for name in (
            "chats per hour", "peak factor", "handle time", "messages", "concurrency", "to agents",
            "answer within", "service level", "patience", "test duration", "window", "capacity",
            "leftover rate", "leftover time", "guests per machine",
        )
    },
    "new guests per second and machine": "--rate-per-machine",
    "messages per second and machine": "--messages-per-machine",
}  # fmt: skip
"""In which option it is written what a plan may find wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What one generator machine carries, and who says so."""

    guests: float
    guests_per_s: float
    messages_per_s: float
    source: str


def read_machines(args: argparse.Namespace) -> Machines:
    """By the options, else by a calibration, else by defaults. ConfigError names the option."""
    path = args.calibration or args.reports / CALIBRATION
    guests, guests_per_s, messages_per_s = 5000.0, 50.0, 1000.0
    source = "not calibrated: harness calibrate measures this machine"
    if args.calibration is not None or path.is_file():
        found = read_calibration(path)
        best = found.best()
        if best.sessions is not None:
            guests = float(best.sessions.room)
        if best.guests is not None:
            guests_per_s = best.guests.safe_per_s
        if best.messages is not None:
            messages_per_s = best.messages.safe_per_s
        source = f"machines like {found.host or 'this one'}, calibrated {found.made[:10]}"
        if best.disturbed:
            source += f" {best.disturbed}"
        if best.guests is None:
            source += f"; new guests a second were not measured, {guests_per_s:g} are assumed"
    if args.guests_per_machine is not None:
        guests = _number("--guests-per-machine", args.guests_per_machine)
    if args.rate_per_machine is not None:
        guests_per_s = rate_per_s(args.rate_per_machine, "--rate-per-machine")
    if args.messages_per_machine is not None:
        messages_per_s = rate_per_s(args.messages_per_machine, "--messages-per-machine")
    return Machines(
        guests=guests, guests_per_s=guests_per_s, messages_per_s=messages_per_s, source=source
    )


def read_capacity(text: str) -> dict[str, float]:
    """Guests a minute or at once: a rate as written, or what the folder of a search has proved."""
    folder = Path(text)
    if not folder.is_dir():
        try:
            return {"capacity_per_min": rate_per_s(text) * 60}
        except ConfigError:
            raise ConfigError(
                "--capacity: expected a rate such as 390/min or the folder of a capacity search, "
                f"got {text!r}"
            ) from None
    search = resume_search(folder)
    found = answer(search.plan, search.tried)
    if found.low <= 0:
        raise ConfigError(f"--capacity: the search in {folder} has not found any load that is met")
    name = "capacity_per_min" if search.by is Raised.RATE else "capacity_at_once"
    return {name: search.by.shown(found.low)}


def read_wanted(args: argparse.Namespace, machines: Machines) -> Wanted:
    """The options as values. ConfigError names the option."""
    if (args.chats_per_hour is None) == (args.profile is None):
        raise ConfigError("give either --chats-per-hour or --from CSV")
    if args.profile is None:
        chats = _number("--chats-per-hour", args.chats_per_hour)
        peak = 1.0
    else:
        profile = read_profile(args.profile)
        interval_s = profile.interval_ns / 1e9
        if not 1 <= interval_s <= 3600:
            raise ConfigError(
                f"{args.profile}: intervals of {duration_text(interval_s)} do not show the busy "
                "hour; expected 1s to 1h"
            )
        try:
            chats, peak = peak_of_intervals(
                [float(guests) for guests in profile.guests], interval_s
            )
        except ConfigError as error:
            raise ConfigError(f"{args.profile}: {error}") from None
    if args.peak_factor is not None:
        peak = _number("--peak-factor", args.peak_factor)
    patience = args.patience
    capacity = args.capacity
    with _named(args):
        return Wanted(
            chats_per_h=chats,
            peak_factor=peak,
            handle_s=seconds(args.handle_time, "--handle-time"),
            messages=_number("--messages", args.messages),
            concurrency=_number("--concurrency", args.concurrency),
            to_agents=_share("--to-agents", args.to_agents),
            answer_within_s=seconds(args.answer_within, "--answer-within"),
            service_level=_share("--service-level", args.service_level),
            patience_s=None if patience is None else seconds(patience, "--patience"),
            test_s=seconds(args.test_duration, "--test-duration"),
            window_s=seconds(args.window, "--window"),
            leftover_share=_share("--leftover-rate", args.leftover_rate),
            leftover_s=seconds(args.leftover_time, "--leftover-time"),
            **({} if capacity is None else read_capacity(capacity)),
            machine_guests=machines.guests,
            machine_guests_per_s=machines.guests_per_s,
            machine_messages_per_s=machines.messages_per_s,
        )


@contextmanager
def _named(args: argparse.Namespace) -> Iterator[None]:
    """What a plan finds wrong, by the option (or file) that it was written in."""
    try:
        yield
    except ConfigError as error:
        what, _, why = str(error).partition(": ")
        if what not in OPTIONS:
            raise
        option = OPTIONS[what]
        if what == "chats per hour" and args.profile is not None:
            option = f"{args.profile}: chats in the busy hour"
        if what == "peak factor" and args.peak_factor is None:
            option = f"{args.profile}: the busiest interval over its hour's mean"
        raise ConfigError(f"{option}: {why}") from None


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option}: expected a number, got {text!r}") from None


def _share(option: str, text: str) -> float:
    """``5%`` → 0.05. A number without the sign is refused: 0.5 could mean either."""
    if not text.strip().endswith("%"):
        raise ConfigError(f"{option}: expected a share such as 5%, got {text!r}")
    return _number(option, text.strip().removesuffix("%")) / 100
