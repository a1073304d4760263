"""What a launch needs: load, connections, agents, machines, the test of it and what it costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt

from harness.errors import ConfigError, expect
from harness.limits import CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE as CONNECTIONS_PER_MINUTE
from harness.limits import REQUESTS_PER_CONNECTION_PER_MINUTE
from harness.machine import LINGER_S, too_many_workers
from harness.studies.queueing import (
    ImpatientQueue,
    Queue,
    at_once_percentile,
    poisson_quantile,
    servers_needed,
)
from harness.units import duration_text, figure_text

QUANTILE = 0.999
"""A random count is stated so that it is exceeded with a probability of one in a thousand."""
FIXED_REQUESTS = 3
"""Requests of a guest beside the messages: configure, the greeting's health check, clear."""
MAX_DIFFERENCE = 0.2
"""A measured capacity applies to a plan only if session length and messages differ by no more than
this share."""
SLOT_FACTOR = 1.1
"""The slots of the test are this many times what chance requires."""
DEFAULT_GUESTS_PER_S = 50.0
"""New guests per second of a machine that was not calibrated."""
NAT_CONNECTIONS = 55_000
"""At a time to one place, by one address of a cloud's NAT gateway (AWS says so of its own); an
address alone has ports for 64,512."""
MAX_AGENTS_BUSY = 0.9
MAX_GIVE_UP = 0.05
MAY_BE_ZERO = ("shrinkage", "ai tokens per guest")
MIN_TEST_SESSIONS = 3
"""A test that is shorter than so many chats has hardly reached its load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a deployment was found to carry; None where it is not known.

    ``session_s`` and ``messages`` are those of the guests it was found with; None for a figure that
    was typed in, of which it is assumed that they were the plan's.
    """

    per_min: float | None = None
    at_once: float | None = None
    messages_per_s: float | None = None
    session_s: float | None = None
    messages: float | None = None
    source: str = "as given"
    answer: str = ""
    """what the search itself says"""
    sure: bool = True
    """whether that is a limit, or a load that was met, and nothing spoke against it"""

    def figures(self) -> str:
        """What is known, in words."""
        parts = (
            (self.per_min, "guests/min"),
            (self.at_once, "guests at once"),
            (self.messages_per_s, "messages/s"),
        )
        return ", ".join(f"{figure_text(value)} {unit}" for value, unit in parts if value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is expected, with units in the names. Shares are 0 to 1.

    ``chats_per_h`` is the mean of the busy hour, ``peak_factor`` how much its worst quarter lies
    above it. ``handle_s`` is the length of a chat without waiting, ``bot_s`` the part of it before
    an agent is asked for. ``concurrency`` is chats per agent at a time; ``patience_s`` None means
    that nobody gives up waiting. ``to_agents`` is the share of chats that reach an agent,
    ``shrinkage`` the share of paid time in which an agent takes no chats. ``leftover_s`` is how
    long a chat that was left over keeps its place with an agent. ``most_per_min`` and
    ``most_sessions`` are the target's own caps.
    """

    chats_per_h: float
    handle_s: float
    messages: float
    peak_factor: float = 1.0
    bot_s: float = 0.0
    concurrency: float = 1.0
    to_agents: float = 1.0
    shrinkage: float = 0.0
    answer_within_s: float = 30.0
    service_level: float = 0.8
    patience_s: float | None = None
    test_s: float = 3600.0
    window_s: float = 6 * 3600.0
    leftover_share: float = 0.005
    leftover_s: float = 3600.0
    ai_tokens: float | None = None
    capacity: Capacity | None = None
    connections_per_min: int = CONNECTIONS_PER_MINUTE
    most_per_min: float | None = None
    most_sessions: int | None = None
    machine_guests: float = 5000.0
    machine_guests_per_s: float = DEFAULT_GUESTS_PER_S
    machine_messages_per_s: float = 1000.0
    machine_processes: int = 1

    def __post_init__(self) -> None:
        capacity = self.capacity or Capacity()
        for name, share in (
            ("to agents", self.to_agents),
            ("service level", self.service_level),
            ("leftover rate", self.leftover_share),
            ("shrinkage", self.shrinkage),
        ):
            expect(0 <= share <= 1, name, "0% to 100%", f"{share * 100:g}%")
        if not 0 < self.service_level < 1:
            raise ConfigError("service level: expected above 0% and below 100%")
        for name, value, least, most, text in (
            ("chats per hour", self.chats_per_h, 1, 36_000_000, "1 to 36,000,000"),
            ("peak factor", self.peak_factor, 1, 100, "1 to 100"),
            ("handle time", self.handle_s, 10, 86_400, "10s to a day"),
            ("messages", self.messages, 1, 10_000, "1 to 10,000 of one guest"),
            ("concurrency", self.concurrency, 1, 100, "1 to 100 chats of one agent"),
            ("shrinkage", self.shrinkage * 100, 0, 95, "0% to 95%"),
            ("answer within", self.answer_within_s, 0, 86_400, "up to a day"),
            ("patience", _one_if_unknown(self.patience_s), 1, 86_400, "1s to a day"),
            ("test duration", self.test_s, 60, 30 * 86_400, "1m to 30 days"),
            ("window", self.window_s, 60, 86_400, "1m to a day"),
            ("leftover time", self.leftover_s, 0, 7 * 86_400, "up to 7 days"),
            ("ai tokens per guest", self.ai_tokens or 0, 0, 1000, "0 to 1,000"),
            ("capacity", _one_if_unknown(capacity.per_min), 0, inf, ""),
            ("capacity at once", _one_if_unknown(capacity.at_once), 0, inf, ""),
            ("guests per machine", self.machine_guests, 0, inf, ""),
            ("rate per machine", self.machine_guests_per_s, 0, inf, ""),
            ("messages per machine", self.machine_messages_per_s, 0, inf, ""),
        ):
            may_be = name in MAY_BE_ZERO or 0 < value < inf
            expect(may_be, name, "more than zero", f"{value:g}")
            if not least <= value <= most:
                value_text = duration_text(value) if "d" in text.split()[-1] else f"{value:,.6g}"
                raise ConfigError(f"{name}: expected {text}, got {value_text}; is the unit right?")
        allowed = f"less than the handle time ({duration_text(self.handle_s)})"
        expect(0 <= self.bot_s < self.handle_s, "bot time", allowed, duration_text(self.bot_s))
        if self.peak_per_s > 10_000:
            raise ConfigError(
                f"chats per hour: {self.peak_per_s:,.6g} new guests a second; is the unit right?"
            )

    @property
    def peak_per_s(self) -> float:
        """New guests per second in the worst quarter of an hour."""
        return self.chats_per_h * self.peak_factor / 3600


def _one_if_unknown(figure: float | None) -> float:
    """The figure; or 1, which is always valid, if it is not known."""
    return 1.0 if figure is None else figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """``places`` are chats that ``on_duty`` agents hold at once; ``on_roster`` has shrinkage in."""

    places: int = 0
    on_duty: int = 0
    on_roster: int = 0
    answered_within: float = 1.0
    gives_up: float = 0.0
    mean_wait_s: float = 0.0
    busy: float = 0.0
    model: str = "none needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A command to type, what it is for, and what it sends; None where that can't be known."""

    command: str
    why: str
    workers: int = 0
    """processes on other machines, where one machine is not enough"""
    deploy: str = ""
    """what writes the same run for a cluster, where workers are needed"""
    guests: int | None = None
    messages: int | None = None
    ai_tokens: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """The answer.

    ``obstacles`` are sentences about what will not work as wanted, ``warnings`` about what is to be
    doubted, ``unknown`` about what the plan could not tell.
    """

    peak_per_min: float
    peak_minute: int
    session_s: float
    occupancy: float
    occupancy_high: int
    messages_per_s: float
    connections_share: float
    requests_per_min: float
    requests_share: float
    agents: Agents
    test_guests: int
    nights: int | None
    """how many nights a test takes; None if its start and end alone do not fit into one window"""
    machines: int
    machine_shares: dict[str, float]
    leftover_chats_per_h: float
    leftover_agents: float
    leftover_agent_hours_per_1000_chats: float
    headroom: float | None
    headroom_by: str
    slots: int
    runs: tuple[PlannedRun, ...]
    worker: str
    """what is typed on each further machine while a run of several goes on; empty for one"""
    deploy: str
    """what writes the peak for a cluster; empty for one machine, or a target without a name"""
    obstacles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...]
    unknown: tuple[str, ...]


def plan_launch(
    wanted: Wanted, *, locustfile: str = "launch_plan.py", target: str = "", guarded: bool = False
) -> LaunchPlan:
    """Everything that follows from the wanted load.

    The runs play ``locustfile``; ``target`` are the words that name it in a command, ``guarded``
    says that it needs a preflight.
    """
    per_min = wanted.peak_per_s * 60
    peak_minute = poisson_quantile(QUANTILE, per_min)
    agents, (occupancy, high) = _agents(wanted)
    session_s = occupancy / wanted.peak_per_s
    requests = (wanted.messages + FIXED_REQUESTS) / max(session_s / 60, 1.0) + 1
    # Each night has to fill up to the load and to drain again.
    usable_s = wanted.window_s - 2 * session_s
    nights = ceil(wanted.test_s / usable_s) if usable_s > 0 else None
    most_per_s = peak_minute / 60
    # What each need takes of one generator machine. It serves all of them, so they add up.
    shares = {
        "guests held": high / wanted.machine_guests,
        "new guests": most_per_s / wanted.machine_guests_per_s,
        "messages": most_per_s * wanted.messages / wanted.machine_messages_per_s,
    }
    machines = max(1, ceil(sum(shares.values())))
    leftovers_per_h = wanted.chats_per_h * wanted.leftover_share * wanted.to_agents
    # A leftover holds one of its agent's places for as long as it stays.
    busy = leftovers_per_h * wanted.leftover_s / 3600 / wanted.concurrency
    headroom, by, unlike = _headroom(wanted, per_min, occupancy, session_s)
    runs = _runs(wanted, per_min, peak_minute, session_s, f"{locustfile} {target}".strip(), shares)
    if guarded:
        first = PlannedRun(command=f"harness preflight {target}", why="may this target be loaded")
        runs = (first, *runs)
    processes = f" --processes {wanted.machine_processes}" if wanted.machine_processes > 1 else ""
    named = guarded and "://" not in target
    plan = LaunchPlan(
        peak_per_min=per_min,
        peak_minute=peak_minute,
        session_s=session_s,
        occupancy=occupancy,
        occupancy_high=high,
        messages_per_s=wanted.peak_per_s * wanted.messages,
        connections_share=peak_minute / wanted.connections_per_min,
        requests_per_min=requests,
        requests_share=requests / REQUESTS_PER_CONNECTION_PER_MINUTE,
        agents=agents,
        test_guests=ceil(wanted.peak_per_s * wanted.test_s - 1e-6),
        nights=nights,
        machines=machines,
        machine_shares=shares,
        leftover_chats_per_h=leftovers_per_h,
        leftover_agents=busy,
        leftover_agent_hours_per_1000_chats=busy / wanted.chats_per_h * 1000,
        headroom=headroom,
        headroom_by=by,
        slots=slots_for(occupancy),
        runs=runs,
        worker=f"harness worker MASTER{processes} --again" if _workers(runs) else "",
        deploy=next((run.deploy for run in runs if run.deploy), "") if named else "",
        assumptions=(*_assumptions(wanted),),
        unknown=(*unlike, *_unknown(wanted)),
    )
    obstacles, warnings = _obstacles(wanted, plan), _warnings(wanted, plan)
    return replace(plan, obstacles=(*obstacles,), warnings=(*warnings,))


def _workers(runs: Sequence[PlannedRun]) -> int:
    """The most that any of the runs needs on other machines."""
    return max(run.workers for run in runs)


def slots_for(at_once: float) -> int:
    """Slots for this many guests on average, with room for chance and a tenth to spare."""
    return ceil(SLOT_FACTOR * (at_once + 3.1 * sqrt(at_once) + 3))


def _agents(wanted: Wanted) -> tuple[Agents, tuple[float, int]]:
    """The agents, and (guests in session on average, at most by chance)."""
    arrivals = wanted.peak_per_s * wanted.to_agents
    alone = wanted.peak_per_s * wanted.handle_s  # if nobody waited
    if arrivals == 0:
        return Agents(), (alone, max(1, poisson_quantile(QUANTILE, alone)))
    service_s, patience_s = wanted.handle_s - wanted.bot_s, wanted.patience_s

    def queue(servers: int) -> Queue | ImpatientQueue:
        if patience_s is None:
            return Queue(arrivals_per_s=arrivals, service_s=service_s, servers=servers)
        return ImpatientQueue(
            arrivals_per_s=arrivals, service_s=service_s, servers=servers, patience_s=patience_s
        )

    def answered(servers: int) -> float:
        return queue(servers).served_within(wanted.answer_within_s)

    load = arrivals * service_s
    needed = servers_needed(load, lambda servers: answered(servers) >= wanted.service_level)
    on_duty = ceil(needed / wanted.concurrency - 1e-9)
    places = max(needed, int(on_duty * wanted.concurrency))
    staffed = queue(places)
    gives_up = staffed.abandon_probability if isinstance(staffed, ImpatientQueue) else 0.0
    agents = Agents(
        places=places,
        on_duty=on_duty,
        on_roster=ceil(on_duty / (1 - wanted.shrinkage) - 1e-9),
        answered_within=answered(places),
        gives_up=gives_up,
        mean_wait_s=staffed.mean_wait_s,
        busy=staffed.utilisation,
        model="Erlang C" if patience_s is None else "Erlang A",
    )
    elsewhere = alone - load  # with the bot
    occupancy = elsewhere + arrivals * staffed.mean_wait_s + load * (1 - gives_up)
    return agents, (occupancy, max(1, at_once_percentile(staffed, elsewhere, QUANTILE)))


def _headroom(
    wanted: Wanted, per_min: float, occupancy: float, session_s: float
) -> tuple[float | None, str, tuple[str, ...]]:
    """How far the capacity lies above the peak, as a share; by which figure; why not, if not."""
    capacity = wanted.capacity
    if capacity is None:
        return None, "", ()
    unlike = [
        f"{verb} {as_text(measured)}{what} (the plan's: {as_text(planned)})"
        for measured, planned, verb, as_text, what in (
            (capacity.session_s, session_s, "stay", duration_text, ""),
            (capacity.messages, wanted.messages, "have", figure_text, " messages answered each"),
        )
        if measured is not None
        and max(measured, planned) / min(measured, planned) > 1 + MAX_DIFFERENCE
    ]
    if unlike:
        return None, "", (
            f"The headroom: the guests of {capacity.source} {' and '.join(unlike)}. What it found "
            "holds for such guests only; search with the locustfile of this plan.",
        )  # fmt: skip
    measured = {
        "new guests": (capacity.per_min, per_min),
        "guests in session": (capacity.at_once, occupancy),
        "messages": (capacity.messages_per_s, wanted.peak_per_s * wanted.messages),
    }
    known = {name: has / needs - 1 for name, (has, needs) in measured.items() if has is not None}
    tightest = min(known, key=lambda name: known[name])
    return known[tightest], tightest, ()


def _runs(
    wanted: Wanted,
    per_min: float,
    peak_minute: int,
    session_s: float,
    what: str,
    shares: Mapping[str, float],
) -> tuple[PlannedRun, ...]:
    """The runs that a launch of this size asks for; ``what`` is their locustfile, and the target.

    None has more new guests in a minute than the limits allow, by chance neither.
    """
    even = min(float(wanted.connections_per_min), wanted.most_per_min or inf)
    random = min(_most_by_chance(wanted.connections_per_min), even)
    drain_s = ceil(session_s * 1.2 + 30)

    def workers_for(per_minute: float) -> int:
        # What it takes is in proportion to its rate; the shares are those of the worst minute.
        machines = ceil(sum(shares.values()) * per_minute / peak_minute - 1e-9)
        return machines * wanted.machine_processes if machines > 1 else 0

    def master_options(workers: int) -> str:
        return f" --master --bind 0.0.0.0 --expect-workers {workers}" if workers else ""

    def run(rate: float, limit: float, over_s: float, why: str, more: str = "") -> PlannedRun:
        limited = min(rate, limit)
        if limited < rate:
            why += f"; as much of {rate_text(rate)}/min as the limits allow"
        guests = ceil(float(rate_text(limited)) * over_s / 60 - 1e-9)
        workers = workers_for(limited)
        load = f"--rate {rate_text(limited)}/min --over {duration_text(over_s)}"
        drain = f"--stop-timeout {duration_text(drain_s)}"
        deploy = f"harness deploy kubernetes {what} --workers {workers} {load} --image IMAGE"
        return PlannedRun(
            command=f"harness run {what} {load} {drain}{more}{master_options(workers)}",
            why=why,
            workers=workers,
            deploy=f"{deploy} -- {drain}{more}" if workers else "",
            guests=guests,
            messages=round(guests * wanted.messages),
            ai_tokens=None if wanted.ai_tokens is None else guests * wanted.ai_tokens,
        )

    hold = duration_text(max(60.0, float(ceil(session_s))))
    highest = min(per_min * 3, random)
    search = PlannedRun(
        command=f"harness capacity {what} --start {rate_text(min(per_min / 4, highest))}/min "
        f"--highest {rate_text(highest)}/min "
        f"--warm-up {hold} --hold {hold}"
        + (f" --wanted {rate_text(per_min)}/min" if per_min <= highest else "")
        + master_options(workers_for(highest)),
        why="where the limit is",
        workers=workers_for(highest),
    )
    night_s = max(60.0, wanted.window_s - session_s - drain_s)
    # Of the first run: as many as shares and percentiles need to be judged at all.
    few = max(10, ceil(25 / wanted.messages))
    return (
        run(few, even, 60, "do a few guests get through", " --arrivals even"),
        run(per_min, random, wanted.test_s, "the peak, held"),
        run(peak_minute, even, 600, "the worst minute, for ten", " --arrivals even"),
        search,
        run(wanted.chats_per_h / 60, random, night_s, "a night at the mean: does anything drift"),
    )


def _most_by_chance(limit: int) -> float:
    """The highest mean of a Poisson minute that exceeds ``limit`` no more than once in 1,000."""
    low, high = 0.0, float(limit)
    while high - low > 1e-3 * limit:
        middle = (low + high) / 2
        enough = poisson_quantile(QUANTILE, middle) <= limit
        low, high = (middle, high) if enough else (low, middle)
    return low


def rate_text(per_min: float) -> str:
    """As ``--rate`` takes it: no separators, no exponents, never more than was meant."""
    return f"{int(per_min + 1e-9)}" if per_min >= 1000 else f"{float(f'{per_min:.4g}'):g}"


def _obstacles(wanted: Wanted, plan: LaunchPlan) -> Iterator[str]:
    limit, peak_minute = wanted.connections_per_min, plan.peak_minute
    if peak_minute > limit:
        yield (
            f"{peak_minute:,} new connections in the worst minute break the documented limit of "
            f"{limit:,} a minute per deployment: ask for more, or use "
            f"{ceil(peak_minute / limit)} deployments"
        )
    if plan.requests_per_min > REQUESTS_PER_CONNECTION_PER_MINUTE:
        yield (
            f"{plan.requests_per_min:.0f} requests a minute on one connection break the documented "
            f"limit of {REQUESTS_PER_CONNECTION_PER_MINUTE}: fewer messages, or longer "
            "conversations"
        )
    if plan.nights is None:
        yield (
            f"conversations of {duration_text(plan.session_s)} cannot fill up and drain within a "
            f"window of {duration_text(wanted.window_s)}"
        )
    if wanted.most_per_min is not None and plan.peak_per_min > wanted.most_per_min:
        yield (
            f"the target's max_rate is {figure_text(wanted.most_per_min)}/min, the peak is "
            f"{figure_text(plan.peak_per_min)}/min: a test of the peak would be refused"
        )
    if wanted.most_sessions is not None and plan.test_guests > wanted.most_sessions:
        yield (
            f"the target's max_sessions is {wanted.most_sessions:,}, a test at the peak has "
            f"{plan.test_guests:,} guests: it would be refused"
        )
    headroom = plan.headroom
    if headroom is not None and headroom < 0 and wanted.capacity is not None:
        below = f"{-headroom:.0%}" if headroom > -0.995 else "more than 99%"
        yield (
            f"the measured capacity of {wanted.capacity.figures()} is {below} below the peak: "
            "it will not hold"
        )


def _warnings(wanted: Wanted, plan: LaunchPlan) -> Iterator[str]:
    agents, workers = plan.agents, _workers(plan.runs)
    if wanted.test_s < MIN_TEST_SESSIONS * plan.session_s:
        yield (
            f"a test of {duration_text(wanted.test_s)} is shorter than three chats of "
            f"{duration_text(plan.session_s)}: it hardly reaches its load (--test-duration)"
        )
    capacity = wanted.capacity
    if capacity is not None and not capacity.sure:
        yield f"{capacity.source} has no sure answer ({capacity.answer}): search again"
    if agents.gives_up > MAX_GIVE_UP:
        yield (
            f"{agents.gives_up:.1%} of the guests who ask for an agent give up before one comes, "
            f"although {agents.answered_within:.0%} are answered in time: more agents, or a higher "
            "--service-level"
        )
    if agents.busy > MAX_AGENTS_BUSY:
        yield (
            f"the agents are {agents.busy:.0%} busy at the peak: nothing is left for a longer chat "
            "or a missing colleague"
        )
    if sentence := too_many_workers(workers):
        yield sentence
    ports = plan.occupancy_high + plan.peak_minute / 60 * LINGER_S
    if workers and ports > NAT_CONNECTIONS:
        yield (
            f"about {ports:,.0f} connections are open or just closed at a time: machines that "
            f"share one public address (NAT) have {NAT_CONNECTIONS:,} to one place; give them "
            f"{ceil(ports / NAT_CONNECTIONS)} addresses"
        )


def _assumptions(wanted: Wanted) -> Iterator[str]:
    yield (
        "Guests come independently of each other (Poisson), at the peak rate for long enough to "
        "settle."
    )
    yield (
        f"The documented limits hold: {wanted.connections_per_min:,} new connections a minute per "
        f"deployment, {REQUESTS_PER_CONNECTION_PER_MINUTE} requests a minute on one connection."
    )
    yield (
        "Every chat has the stated length on average, also one that stays with the bot; its "
        "messages are spread evenly over it."
    )
    if wanted.to_agents:
        yield (
            "Agents take chats from one queue in the order of arrival; their part of a chat is "
            "exponentially distributed, and just as long when they have "
            f"{wanted.concurrency:g} at a time."
        )
        yield (
            "Nobody gives up waiting."
            if wanted.patience_s is None
            else "Patience is exponentially distributed, and the same for all."
        )
    if wanted.shrinkage == 0 and wanted.to_agents:
        yield "Agents are never away (--shrinkage 0%)."
    capacity = wanted.capacity
    if capacity is not None and (capacity.session_s is None or capacity.messages is None):
        yield "The capacity was found with chats of this length and as many messages."


def _unknown(wanted: Wanted) -> Iterator[str]:
    yield "How many sessions at once the service allows: no such limit is published."
    if wanted.capacity is None:
        yield "What the deployment carries: measure it with harness capacity, plan again."
    if wanted.ai_tokens is None:
        yield "AI tokens: give --ai-tokens-per-guest where the flow is a virtual agent."
    yield "What the search for the limit sends: that depends on where it ends."
