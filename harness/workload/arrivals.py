"""When guests arrive: schedules that are pure functions of the arrival's index.

Written in locustfiles::

    ramp(per_minute=(2, 20), over="20m") + steady(per_minute=20, over="1h")

The i-th arrival (from 0) is due when the area under the rate reaches ``i``; the first guest thus
comes as soon as the rate leaves zero, and there are as many arrivals as the area, rounded up.
``poisson(schedule, seed=1)`` gives the same mean rate with arrivals that are independent.
Everything that makes no sense is a ConfigError that names the function and the argument.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import isfinite
from pathlib import Path

from harness.errors import ConfigError
from harness.units import duration_text, seconds
from harness.workload.schedule import NS, Poisson, Rates, Schedule, Segment, chain, read_profile

__all__ = ["Schedule", "from_csv", "poisson", "ramp", "spike", "steady", "steps", "then"]

MAX_PER_SECOND = 1_000_000
MAX_DURATION_S = 366 * 86400.0

Rate = float | int
Duration = str | float | int


def steady(
    *, per_minute: Rate | None = None, per_second: Rate | None = None, over: Duration
) -> Schedule:
    """The same rate throughout: ``steady(per_minute=30, over="10m")``.

    Give the rate either ``per_minute`` or ``per_second`` (guests), and ``over`` as a text with its
    unit or as seconds. Raises ConfigError for what makes no schedule.
    """
    rates, unit = _rates("steady()", per_minute, per_second, one=True)
    length_ns = _length_ns("steady(): over", over)
    words = f"{_number(rates[0], unit)} guests/{unit} over {duration_text(length_ns / NS)}"
    return _pieces("steady()", [Segment(length_ns, rates[0], rates[0])], words)


def ramp(
    *,
    per_minute: Sequence[Rate] | None = None,
    per_second: Sequence[Rate] | None = None,
    over: Duration,
) -> Schedule:
    """A straight line from one rate to another: ``ramp(per_minute=(2, 20), over="20m")``.

    Give the rates either ``per_minute`` or ``per_second`` (guests), and ``over`` as a text with its
    unit or as seconds. Raises ConfigError for what makes no schedule.
    """
    rates, unit = _rates("ramp()", per_minute, per_second, many=2)
    length_ns = _length_ns("ramp(): over", over)
    words = (
        f"{_number(rates[0], unit)} to {_number(rates[1], unit)} guests/{unit} "
        f"over {duration_text(length_ns / NS)}"
    )
    return _pieces("ramp()", [Segment(length_ns, rates[0], rates[1])], words)


def steps(
    *,
    per_minute: Sequence[Rate] | None = None,
    per_second: Sequence[Rate] | None = None,
    each: Duration,
) -> Schedule:
    """A stair: ``steps(per_minute=[10, 20, 40], each="5m")``.

    Give the rates either ``per_minute`` or ``per_second`` (guests), and ``each``, the length of one
    step, as a text with its unit or as seconds. Raises ConfigError for what makes no schedule.
    """
    rates, unit = _rates("steps()", per_minute, per_second)
    length_ns = _length_ns("steps(): each", each)
    shown = ", ".join(_number(rate, unit) for rate in rates)
    words = f"steps of {shown} guests/{unit}, {duration_text(length_ns / NS)} each"
    return _pieces("steps()", [Segment(length_ns, rate, rate) for rate in rates], words)


def spike(
    *,
    per_minute: Sequence[Rate] | None = None,
    per_second: Sequence[Rate] | None = None,
    over: Duration,
    at: Duration,
    hold: Duration,
    rise: Duration = 0,
) -> Schedule:
    """A usual rate with one peak: ``spike(per_minute=(10, 200), over="15m", at="5m", hold="1m")``.

    The rate leaves the usual one at ``at``, takes ``rise`` to reach the peak, stays there for
    ``hold`` and takes ``rise`` again to come back. Times are texts with a unit, or seconds. Raises
    ConfigError where they don't fit into ``over``.
    """
    (usual, peak), unit = _rates("spike()", per_minute, per_second, many=2)
    total = _length_ns("spike(): over", over)
    before, holding, rising = (
        round(seconds(value, f"spike(): {name}") * NS)
        for name, value in (("at", at), ("hold", hold), ("rise", rise))
    )
    after = total - before - holding - 2 * rising
    if after < 0:
        raise ConfigError(
            f"spike(): at + hold + twice rise is {duration_text((total - after) / NS)}, "
            f"longer than over ({duration_text(total / NS)})"
        )
    if peak == usual or holding + rising == 0:
        raise ConfigError("spike(): there is no peak; give two different rates and a hold")
    segments = [
        Segment(before, usual, usual),
        Segment(rising, usual, peak),
        Segment(holding, peak, peak),
        Segment(rising, peak, usual),
        Segment(after, usual, usual),
    ]
    words = (
        f"{_number(usual, unit)} guests/{unit} over {duration_text(total / NS)} with a spike to "
        f"{_number(peak, unit)} at {duration_text(before / NS)} for {duration_text(holding / NS)}"
    )
    return _pieces("spike()", [s for s in segments if s.length_ns], words)


def poisson(schedule: Schedule, *, seed: int) -> Schedule:
    """Independent arrivals with the mean rate of ``schedule``; the same seed, the same arrivals."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"poisson(): seed: expected a whole number, got {seed!r}")
    if not isinstance(schedule, Rates):
        raise ConfigError("poisson(): expected steady, ramp, steps, spike or from_csv inside")
    return Poisson(schedule, seed)


def then(*schedules: Schedule) -> Schedule:
    """One schedule after the other; ``a + b`` is the same as ``then(a, b)``.

    ``then(ramp(per_minute=(0, 30), over="5m"), steady(per_minute=30, over="1h"))``. Raises
    ConfigError for no schedule at all, and for more than a year.
    """
    if not schedules:
        raise ConfigError("then(): expected at least one schedule")
    whole = chain(*schedules)
    _check_duration("then()", whole.duration_s)
    return whole


def from_csv(path: Path | str, *, scale: float = 1.0, over: Duration | None = None) -> Schedule:
    """Guests per interval, from a CSV file: ``from_csv("monday.csv", scale=2, over="2h")``.

    The file has a header line ``start,guests`` and one interval a line, all of the same length;
    ``start`` is a time of day (``09:15``), a date and time, or a time from the beginning (``15m``).
    ``scale`` multiplies the guests. ``over`` (a text with its unit, or seconds) plays the same
    number of guests in another time, so that last Monday's day can be run in two hours. Raises
    ConfigError naming file and line.
    """
    if isinstance(scale, bool) or not isfinite(scale) or scale <= 0:
        raise ConfigError(f"from_csv(): scale: expected a number above zero, got {scale!r}")
    profile = read_profile(Path(path))
    total = len(profile.guests)
    length = Fraction(profile.interval_ns)
    if over is not None:
        length = Fraction(_length_ns("from_csv(): over", over), total)
    edges = [int(length * i) for i in range(total + 1)]
    segments = []
    for guests, start, end in zip(profile.guests, edges, edges[1:], strict=False):
        rate = guests * Fraction(str(scale)) * NS / (end - start)
        _check_rate(f"{path}: {float(guests):g} guests in one interval", rate)
        segments.append(Segment(end - start, rate, rate))
    times = "" if scale == 1 else f" times {scale:g}"
    words = f"{Path(path).name}{times} over {duration_text(edges[-1] / NS)}"
    return _pieces(f"from_csv(): {path}", segments, words)


def _pieces(place: str, segments: Sequence[Segment], words: str) -> Rates:
    schedule = Rates(tuple(segments), words)
    _check_duration(place, schedule.duration_s)
    if schedule.areas[-1] == 0:
        raise ConfigError(f"{place}: the rate is zero throughout, no guest would ever arrive")
    return schedule


def _rates(
    place: str,
    per_minute: Rate | Sequence[Rate] | None,
    per_second: Rate | Sequence[Rate] | None,
    *,
    one: bool = False,
    many: int | None = None,
) -> tuple[list[Fraction], str]:
    """The rates in guests per second, and the unit in which they were given."""
    if (per_minute is None) == (per_second is None):
        raise ConfigError(f"{place}: give either per_minute or per_second")
    raw, name, divisor, unit = (
        (per_minute, "per_minute", 60, "min")
        if per_minute is not None
        else (per_second, "per_second", 1, "s")
    )
    values = [raw] if one else raw
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise ConfigError(f"{place}: {name}: expected several rates such as (2, 20), got {raw!r}")
    if not values or (many is not None and len(values) != many):
        wanted = "at least one rate" if many is None else f"{many} rates"
        raise ConfigError(f"{place}: {name}: expected {wanted}, got {len(values)}")
    rates = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ConfigError(f"{place}: {name}: expected a number of guests, got {value!r}")
        rate = Fraction(str(value)) / divisor
        _check_rate(f"{place}: {name}", rate)
        rates.append(rate)
    return rates, unit


def _check_rate(place: str, rate: Fraction) -> None:
    if not 0 <= rate <= MAX_PER_SECOND:
        raise ConfigError(
            f"{place}: expected zero to {MAX_PER_SECOND} guests/s, got {float(rate):g}/s"
        )


def _check_duration(place: str, duration_s: float) -> None:
    if duration_s > MAX_DURATION_S:
        raise ConfigError(f"{place}: {duration_text(duration_s)} is longer than a year")


def _length_ns(place: str, duration: Duration) -> int:
    length_ns = round(seconds(duration, place) * NS)
    if length_ns <= 0:
        raise ConfigError(f"{place}: expected a time above zero, got {duration!r}")
    return length_ns


def _number(rate: Fraction, unit: str) -> str:
    return f"{float(rate * 60 if unit == 'min' else rate):g}"
