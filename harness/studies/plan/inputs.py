"""The inputs of ``harness plan``: options, a CSV of arrivals, a calibration, a search."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from harness.config.target import FILE, Terms, resolve_target
from harness.errors import ConfigError, UsageError, expect
from harness.rundir.layout import CALIBRATION
from harness.studies.calibrate.calibration import read_calibration
from harness.studies.capacity.answer import highest_met
from harness.studies.capacity.runner import resume_search
from harness.studies.capacity.search import AnswerKind, Quantity, answer
from harness.studies.plan.model import DEFAULT_GUESTS_PER_S, Capacity, Wanted
from harness.units import duration_text, rate_per_s, seconds
from harness.workload.schedule import BusyHour, busy_hour, read_profile


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option}: expected a number, got {text!r}") from None


def _share(text: str, option: str) -> float:
    """``5%`` → 0.05. A number without the sign is refused: 0.5 could mean either."""
    expect(text.strip().endswith("%"), option, "a share such as 5%", repr(text))
    return _number(text.strip().removesuffix("%"), option) / 100


PARSED: Mapping[str, tuple[str, Callable[[str, str], float]]] = {
    "handle_s": ("handle-time", seconds),
    "bot_s": ("bot-time", seconds),
    "messages": ("messages", _number),
    "concurrency": ("concurrency", _number),
    "to_agents": ("to-agents", _share),
    "shrinkage": ("shrinkage", _share),
    "answer_within_s": ("answer-within", seconds),
    "service_level": ("service-level", _share),
    "patience_s": ("patience", seconds),
    "test_s": ("test-duration", seconds),
    "leftover_share": ("leftover-rate", _share),
    "leftover_s": ("leftover-time", seconds),
    "ai_tokens": ("ai-tokens-per-guest", _number),
    "machine_guests": ("guests-per-machine", _number),
    "machine_guests_per_s": ("rate-per-machine", rate_per_s),
    "machine_messages_per_s": ("messages-per-machine", rate_per_s),
}
"""A field of :class:`Wanted`, its option, and how that is parsed."""
OPTIONS = {"chats-per-hour", "peak-factor", "window", "capacity"} | {
    name for name, _ in PARSED.values()
}
"""What a plan may find wrong, which it calls by the same words without hyphens."""
DEFAULT_WINDOW_S = 6 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The inputs of a plan, and the sources of the machines' and the arrivals' figures. ``target``
    holds the options that name the target in a command; ``guarded``: a run against it needs a
    preflight."""

    wanted: Wanted
    machines: str
    arrivals: str
    target: str
    guarded: bool


def read_inputs(args: argparse.Namespace) -> Inputs:
    """All of it, nothing written yet. ConfigError names the option, or file and line."""
    carries, machines = _read_machines(args)
    if (args.chats_per_hour is None) == (args.profile is None):
        raise UsageError("give either --chats-per-hour or --from CSV")
    if args.profile is None:
        chats_per_h = _number(args.chats_per_hour, "--chats-per-hour")
        hour = BusyHour(chats_per_h=chats_per_h, peak_factor=1.0, how="")
    else:
        hour = _read_busy_hour(args.profile)
    peak, how = hour.peak_factor, hour.how
    if args.peak_factor is not None:
        peak, how = _number(args.peak_factor, "--peak-factor"), ""
    if args.profile is not None and how:
        how = f"{args.profile.name} {how}"
    target, terms = "", None
    if args.target is not None:
        terms = resolve_target(args.target, args.targets)
        target = f"--target {quote(args.target)}"
        if args.targets != FILE:
            target += f" --targets {quote(str(args.targets))}"
    written: dict[str, Any] = {
        name: read(text, f"--{option}")
        for name, (option, read) in PARSED.items()
        if (text := getattr(args, option.replace("-", "_"))) is not None
    }
    with _named(args):
        wanted = Wanted(
            chats_per_h=hour.chats_per_h,
            peak_factor=peak,
            window_s=_window_s(args.window, terms),
            capacity=None if args.capacity is None else read_capacity(args.capacity),
            **carries | written | _caps(terms),
        )
    return Inputs(
        wanted=wanted,
        machines=machines,
        arrivals=how,
        target=target,
        guarded=terms is not None and terms.guarded,
    )


def read_capacity(text: str) -> Capacity:
    """A rate as written, or what the folder of a search has proved."""
    folder = Path(text)
    if not folder.is_dir():
        try:
            return Capacity(per_min=rate_per_s(text) * 60)
        except ConfigError:
            raise ConfigError(
                "--capacity: expected a rate such as 390/min or the folder of a capacity search, "
                f"got {text!r}"
            ) from None
    search = resume_search(folder)
    proved = answer(search.plan, search.tried)
    if proved.low <= 0:
        raise ConfigError(f"--capacity: the search in {folder} has not found any load that is met")
    level = highest_met(search.by, proved, search.levels)
    per_s, at_once = level.get("arrivals_per_s"), level.get("occupancy")
    replies, session_s = level.get("replies_per_s"), level.get("session_s")
    # What the level showed, at the load that was proved.
    more = proved.low / search.by.load_of(level) if level else 1.0
    by_rate = search.by is Quantity.RATE
    return Capacity(
        per_min=proved.low * 60 if by_rate else None,
        at_once=proved.low if not by_rate else at_once * more if at_once else None,
        messages_per_s=replies * more if replies else None,
        session_s=session_s or None,
        messages=replies / per_s if replies and per_s else None,
        source=f"the search in {folder}",
        answer=proved.text(search.by.unit, search.by.shown(1.0)),
        sure=proved.kind in (AnswerKind.KNEE, AnswerKind.AT_LEAST, AnswerKind.GENERATOR),
    )


def _read_machines(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The limits of one generator machine, as fields of :class:`Wanted`, and their source.

    From a calibration, else defaults; options override both.
    """
    path = args.calibration or args.reports / CALIBRATION
    carries: dict[str, Any] = {}
    source = "not calibrated: harness calibrate measures this machine"
    if args.calibration is not None or path.is_file():
        calibration = read_calibration(path)
        best = calibration.best()
        carries["machine_processes"] = calibration.processes
        calibrated = {
            "machine_guests": best.sessions and float(best.sessions.room),
            "machine_guests_per_s": best.guests and best.guests.safe_per_s,
            "machine_messages_per_s": best.messages and best.messages.safe_per_s,
        }
        carries |= {name: figure for name, figure in calibrated.items() if figure is not None}
        source = (
            f"machines like {calibration.host or 'this one'}, calibrated {calibration.made[:10]}"
        )
        if best.disturbed:
            source += f" {best.disturbed}"
        if best.guests is None:
            source += (
                f"; new guests a second were not measured, {DEFAULT_GUESTS_PER_S:g} are assumed"
            )
    return carries, source


def _read_busy_hour(file: Path) -> BusyHour:
    profile = read_profile(file)
    interval_s = profile.interval_ns / 1e9
    if not 1 <= interval_s <= 3600:
        raise ConfigError(
            f"{file}: intervals of {duration_text(interval_s)} do not show the busy "
            "hour; expected 1s to 1h"
        )
    try:
        return busy_hour([float(guests) for guests in profile.guests], interval_s)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _window_s(text: str | None, terms: Terms | None) -> float:
    """The length of the window: as given, or that of the target's window, or six hours."""
    if text is not None:
        return seconds(text, "--window")
    if terms is None or not terms.guarded:
        return DEFAULT_WINDOW_S
    if terms.window is None:
        return 86_400.0
    opens, ends = (moment.hour * 3600 + moment.minute * 60 for moment in terms.window)
    return float((ends - opens) % 86_400 or 86_400)


def _caps(terms: Terms | None) -> dict[str, Any]:
    """What the target's own terms allow."""
    if terms is None:
        return {}
    most = terms.max_rate_per_s
    caps = {
        "most_per_min": None if most is None else most * 60,
        "most_sessions": terms.max_sessions,
        "connections_per_min": terms.connections_per_minute,
    }
    return {name: value for name, value in caps.items() if value}


@contextmanager
def _named(args: argparse.Namespace) -> Iterator[None]:
    """What a plan finds wrong, by the option (or file) that it was written in."""
    try:
        yield
    except ConfigError as error:
        what, _, why = str(error).partition(": ")
        option = what.replace(" ", "-")
        if option not in OPTIONS:
            raise
        option = f"--{option}"
        if what == "chats per hour" and args.profile is not None:
            option = f"{args.profile}: chats in the busy hour"
        raise ConfigError(f"{option}: {why}") from None
