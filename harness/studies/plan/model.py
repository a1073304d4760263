"""What a launch needs: load, connections, agents, the test of it, and what leftovers would cost."""

from dataclasses import dataclass, fields
from math import ceil, inf, isfinite

from scipy.stats import poisson

from harness.errors import ConfigError
from harness.studies.queueing import ImpatientQueue, Queue, servers_needed
from harness.units import duration_text, figure_text

# Documented limits of the service (vendor's "Web Messaging" limits page, October 2026).
CONNECTIONS_PER_MINUTE = 1000
REQUESTS_PER_CONNECTION_PER_MINUTE = 60
# A count that a Poisson minute exceeds once in a thousand.
ALLOWANCE = 0.999
# Requests of a guest beside the messages: configure, join, clear.
FIXED_REQUESTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is expected, with units in the names. Shares are 0 to 1.

    ``chats_per_h`` is the mean of the busy hour, ``peak_factor`` how much its worst minutes lie
    above it. ``concurrency`` is chats per agent at a time; ``patience_s`` None means that nobody
    gives up waiting. ``to_agents`` is the share of chats that reach an agent. ``leftover_s`` is how
    long a chat that was left over keeps its place with an agent. A measured capacity is of new
    guests a minute, or of guests at once.
    """

    chats_per_h: float
    handle_s: float
    messages: float
    peak_factor: float = 1.0
    concurrency: float = 1.0
    to_agents: float = 1.0
    answer_within_s: float = 30.0
    service_level: float = 0.8
    patience_s: float | None = None
    test_s: float = 3600.0
    window_s: float = 6 * 3600.0
    leftover_share: float = 0.005
    leftover_s: float = 3600.0
    capacity_per_min: float | None = None
    capacity_at_once: float | None = None
    machine_guests: float = 5000.0
    machine_guests_per_s: float = 50.0
    machine_messages_per_s: float = 1000.0

    def __post_init__(self) -> None:
        above_zero = {
            "chats per hour": self.chats_per_h,
            "handle time": self.handle_s,
            "messages": self.messages,
            "peak factor": self.peak_factor,
            "concurrency": self.concurrency,
            "answer within": self.answer_within_s,
            "patience": 1.0 if self.patience_s is None else self.patience_s,
            "test duration": self.test_s,
            "window": self.window_s,
            "leftover time": self.leftover_s,
            "capacity": 1.0 if self.capacity_per_min is None else self.capacity_per_min,
            "capacity at once": 1.0 if self.capacity_at_once is None else self.capacity_at_once,
            "guests per machine": self.machine_guests,
            "new guests per second and machine": self.machine_guests_per_s,
            "messages per second and machine": self.machine_messages_per_s,
        }
        for name, value in above_zero.items():
            if not isfinite(value) or value <= 0:
                raise ConfigError(f"{name}: expected more than zero, got {value:g}")
        for name, share in (
            ("to agents", self.to_agents),
            ("service level", self.service_level),
            ("leftover rate", self.leftover_share),
        ):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name}: expected 0% to 100%, got {share * 100:g}%")
        if not 0 < self.service_level < 1:
            raise ConfigError("service level: expected above 0% and below 100%")
        for name, value, least, most, text in (
            ("peak factor", self.peak_factor, 1, 100, "1 to 100"),
            ("chats per hour", self.chats_per_h, 1, 36_000_000, "1 to 36,000,000"),
            ("handle time", self.handle_s, 10, 86_400, "10s to a day"),
            ("messages", self.messages, 0, 10_000, "up to 10,000 of one guest"),
            ("concurrency", self.concurrency, 1, 100, "1 to 100 chats of one agent"),
            ("answer within", self.answer_within_s, 0, 86_400, "up to a day"),
            ("patience", self.patience_s or 1, 1, 86_400, "1s to a day"),
            ("test duration", self.test_s, 60, 30 * 86_400, "1m to 30 days"),
            ("window", self.window_s, 60, 86_400, "1m to a day"),
            ("leftover time", self.leftover_s, 0, 7 * 86_400, "up to 7 days"),
        ):
            if not least <= value <= most:
                told = duration_text(value) if "d" in text.split()[-1] else f"{value:,.6g}"
                raise ConfigError(f"{name}: expected {text}, got {told}; is the unit right?")
        if self.peak_per_s > 10_000:
            raise ConfigError(
                f"chats per hour: {self.peak_per_s:,.6g} new guests a second; is the unit right?"
            )

    @property
    def peak_per_s(self) -> float:
        """New guests per second in the worst minutes."""
        return self.chats_per_h * self.peak_factor / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """The answer. ``warnings`` are sentences about what will not work as wanted."""

    peak_per_min: float
    peak_minute: int
    occupancy: float
    occupancy_high: int
    connections_share: float
    requests_per_min: float
    requests_share: float
    agent_slots: int
    agents: int
    answered_within: float
    abandoned: float
    model: str
    test_guests: int
    nights: int | None
    machines: int
    machines_for: str
    leftover_chats_per_h: float
    leftover_agents: float
    leftover_agent_hours_per_1000_chats: float
    headroom: float | None
    arrivals: str
    slots: int
    commands: tuple[tuple[str, str], ...]
    """runs to make: (command, what it is for)"""
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For ``--json``."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        commands = [{"command": command, "why": why} for command, why in self.commands]
        return found | {"warnings": list(self.warnings), "commands": commands}


def plan_launch(wanted: Wanted) -> LaunchPlan:
    """Everything that follows from the wanted load."""
    per_min = wanted.peak_per_s * 60
    peak_minute = int(poisson.ppf(ALLOWANCE, per_min))
    occupancy = wanted.peak_per_s * wanted.handle_s
    high = max(1, int(poisson.ppf(ALLOWANCE, occupancy)))
    requests = (wanted.messages + FIXED_REQUESTS) / max(wanted.handle_s / 60, 1.0) + 1
    slots, answered, abandoned, model = _agents(wanted)
    guests = ceil(wanted.peak_per_s * wanted.test_s)
    nights = _nights(wanted)
    machines, machines_for = _machines(wanted, high, peak_minute)
    leftovers_per_h = wanted.chats_per_h * wanted.leftover_share * wanted.to_agents
    # A leftover holds one of its agent's places for as long as it stays.
    busy = leftovers_per_h * wanted.leftover_s / 3600 / wanted.concurrency
    headroom, tight = _headroom(wanted, per_min, occupancy)
    ramp_s = max(60, min(600, round(wanted.test_s / 6)))
    return LaunchPlan(
        peak_per_min=per_min,
        peak_minute=peak_minute,
        occupancy=occupancy,
        occupancy_high=high,
        connections_share=peak_minute / CONNECTIONS_PER_MINUTE,
        requests_per_min=requests,
        requests_share=requests / REQUESTS_PER_CONNECTION_PER_MINUTE,
        agent_slots=slots,
        agents=ceil(slots / wanted.concurrency),
        answered_within=answered,
        abandoned=abandoned,
        model=model,
        test_guests=guests,
        nights=nights,
        machines=machines,
        machines_for=machines_for,
        leftover_chats_per_h=leftovers_per_h,
        leftover_agents=busy,
        leftover_agent_hours_per_1000_chats=busy / wanted.chats_per_h * 1000,
        headroom=headroom,
        arrivals=_arrivals(per_min, ramp_s, wanted.test_s),
        slots=high,
        commands=_commands(wanted, per_min, peak_minute),
        warnings=(*_warnings(wanted, peak_minute, requests, nights), *tight),
    )


def _headroom(
    wanted: Wanted, per_min: float, occupancy: float
) -> tuple[float | None, tuple[str, ...]]:
    """How far the measured capacity lies above the peak, as a share, and the warning if below."""
    if wanted.capacity_per_min is not None:
        headroom = wanted.capacity_per_min / per_min - 1
        capacity = f"{figure_text(wanted.capacity_per_min)} guests/min"
    elif wanted.capacity_at_once is not None:
        headroom = wanted.capacity_at_once / occupancy - 1
        capacity = f"{wanted.capacity_at_once:,.0f} guests at once"
    else:
        return None, ()
    if headroom >= 0:
        return headroom, ()
    below = f"{-headroom:.0%}" if headroom > -0.995 else "more than 99%"
    return headroom, (
        f"the measured capacity of {capacity} is {below} below the peak: it will not hold",
    )


def _machines(wanted: Wanted, held: int, peak_minute: int) -> tuple[int, str]:
    """How many generator machines, and what for."""
    per_s = peak_minute / 60
    needs = {
        "guests held": held / wanted.machine_guests,
        "new guests per second": per_s / wanted.machine_guests_per_s,
        "messages per second": per_s * wanted.messages / wanted.machine_messages_per_s,
    }
    most = max(needs, key=lambda what: ceil(needs[what]))
    return max(1, ceil(needs[most])), most


def _commands(wanted: Wanted, per_min: float, peak_minute: int) -> tuple[tuple[str, str], ...]:
    """The runs that a launch of this size asks for, with the ready locustfiles."""
    mean = wanted.chats_per_h / 60
    hold = duration_text(wanted.test_s)
    night = duration_text(max(60.0, wanted.window_s - 2 * wanted.handle_s))
    return (
        ("harness run locustfiles/smoke.py -u 1 -t 1m", "does one guest get through"),
        (
            f"harness run locustfiles/load.py --rate {_rate(per_min)}/min --over {hold}",
            "the peak, held",
        ),
        (
            f"harness run locustfiles/spike.py --rate {peak_minute}/min --over 10m",
            "the worst minute by chance",
        ),
        (
            f"harness capacity locustfiles/load.py --objective 'reply p95 < 5s' "
            f"--start {_rate(per_min / 4)}/min --highest {_rate(per_min * 3)}/min",
            "where the limit is",
        ),
        (
            f"harness run locustfiles/soak.py --rate {_rate(mean)}/min --over {night}",
            "a night at the mean: does anything drift",
        ),
    )


def _rate(per_min: float) -> str:
    """As ``--rate`` takes it: no separators, no exponents."""
    return f"{per_min:.0f}" if per_min >= 1000 else f"{per_min:.4g}"


def _arrivals(per_min: float, ramp_s: int, test_s: float) -> str:
    """The test's arrivals as a locustfile writes them."""
    high = float(f"{per_min:.4g}")
    hold = max(1, round(test_s) - ramp_s)
    return (
        f"ramp(per_minute=({float(f'{high / 10:.3g}'):g}, {high:g}), "
        f'over="{duration_text(ramp_s)}") + '
        f'steady(per_minute={high:g}, over="{duration_text(hold)}")'
    )


def _agents(wanted: Wanted) -> tuple[int, float, float, str]:
    """Places with agents, share answered in time, share that gives up, and by which model."""
    arrivals = wanted.peak_per_s * wanted.to_agents
    if arrivals == 0:
        return 0, 1.0, 0.0, "none needed"
    service = {"arrivals_per_s": arrivals, "service_s": wanted.handle_s}
    patience = wanted.patience_s
    if patience is None:

        def waiting(servers: int) -> float:
            queue = Queue(**service, servers=servers)
            return 1 - queue.wait_above(wanted.answer_within_s)

        slots = servers_needed(
            arrivals * wanted.handle_s, lambda n: waiting(n) >= wanted.service_level
        )
        return slots, waiting(slots), 0.0, "Erlang C"

    def with_patience(servers: int) -> ImpatientQueue:
        return ImpatientQueue(**service, servers=servers, patience_s=patience)

    slots = servers_needed(
        arrivals * wanted.handle_s,
        lambda n: with_patience(n).served_within(wanted.answer_within_s) >= wanted.service_level,
    )
    found = with_patience(slots)
    served = found.served_within(wanted.answer_within_s)
    return slots, served, found.abandon_probability, "Erlang A"


def _nights(wanted: Wanted) -> int | None:
    """Nights that a test takes; None when not even its start and end fit into one window."""
    # Each night has to fill up to the load and to drain again.
    usable = wanted.window_s - 2 * wanted.handle_s
    return ceil(wanted.test_s / usable) if usable > 0 else None


def _warnings(
    wanted: Wanted, peak_minute: int, requests: float, nights: int | None
) -> tuple[str, ...]:
    found = []
    if peak_minute > CONNECTIONS_PER_MINUTE:
        found.append(
            f"{peak_minute:,} new connections in the worst minute break the documented limit of "
            f"{CONNECTIONS_PER_MINUTE:,} a minute per deployment: ask for more, or use "
            f"{ceil(peak_minute / CONNECTIONS_PER_MINUTE)} deployments"
        )
    if requests > REQUESTS_PER_CONNECTION_PER_MINUTE:
        found.append(
            f"{requests:.0f} requests a minute on one connection break the documented limit of "
            f"{REQUESTS_PER_CONNECTION_PER_MINUTE}: fewer messages, or longer conversations"
        )
    if nights is None:
        found.append(
            f"conversations of {duration_text(wanted.handle_s)} cannot fill up and drain within a "
            f"window of {duration_text(wanted.window_s)}"
        )
    return tuple(found)


def peak_of_intervals(guests: list[float], interval_s: float) -> tuple[float, float]:
    """(guests per hour of the busiest hour, peak factor in it) from guests per interval.

    ConfigError when nobody came at all.
    """
    if not guests or interval_s <= 0 or max(guests) <= 0:
        raise ConfigError("the profile has no guests to plan for")
    per_hour = max(1, round(3600 / interval_s))
    busiest, at = -inf, 0
    for start in range(max(1, len(guests) - per_hour + 1)):
        total = sum(guests[start : start + per_hour])
        if total > busiest:
            busiest, at = total, start
    hour = guests[at : at + per_hour]
    mean = busiest / (len(hour) * interval_s) * 3600
    return mean, max(hour) / interval_s * 3600 / mean
