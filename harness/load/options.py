"""The options of a run: from Locust's command line, the environment, and the locustfile.

They are Locust options, so a master passes them on to its workers; none of them is secret. A
locustfile reads some of them itself, with a default for each::

    arrivals = from_options(rate="30/min", over="10m")
"""

import argparse
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import orjson
from locust import argument_parser

from harness.config.run_config import (
    ARRIVALS,
    CONFIG_FILE,
    FROM_MASTER,
    HANDED_OUT,
    LOCUST_OPTIONS,
    OCCUPANCY,
    OVER,
    RATE,
    REPORTS,
    SEED,
    SILENCE,
    STAY,
    RunConfig,
    Setting,
    child_environment,
)
from harness.config.run_config import RUN_ID as HANDED_RUN_ID
from harness.config.target import Target, Terms, resolve_target
from harness.errors import ConfigError
from harness.guest.settings import (
    DOCUMENTED,
    UNLIMITED,
    ConnectionBudget,
    GuestBehaviour,
    GuestSettings,
    SignIn,
    read_sign_ins,
)
from harness.judge.objective import parse_objective
from harness.ledger.ledger import guest_tag
from harness.limits import CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE
from harness.load.arrivals import peak_per_s
from harness.preflight.guard import Learned, Rule, parse_overrides, read_learned
from harness.rundir.layout import HANDED_OUT_FILES
from harness.units import duration_text, rate_per_s, seconds
from harness.workload import arrivals
from harness.workload.arrivals import Schedule, steady
from harness.workload.schedule import Poisson

Meaning = TypeVar("Meaning")
ON_OFF: Mapping[str, bool] = MappingProxyType({"on": True, "off": False})
LEAST_AGE_S = 0.5
"""Lowest age at which a connection is replaced: a younger one would carry hardly any messages."""
LEAST_SILENCE_S, MOST_SILENCE_S = 0.05, 60.0
"""Limits of the silence that ends a turn: shorter ones split turns, no guest waits for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOptions(GuestBehaviour):
    """``connections_per_minute`` is the limit of the whole deployment; 0: no limit."""

    paced: bool = True
    connections_per_minute: int = 0
    age_of_all_s: float | None = None
    """age at which a connection is replaced; 0: never; None: the value of the guest's class"""
    greets_all: bool | None = None
    """None: the value of the guest's class, or else what a preflight has learnt"""
    learned_greets: bool | None = None
    listen: bool = True
    sign_ins: tuple[str, ...] = field(default=(), repr=False)
    """JWTs, each the key to a customer's account"""
    sign_ins_file: Path | None = None
    """the file from which they were read"""

    def settings(self, terms: Terms, *, workers: int, run_id: str) -> GuestSettings:
        """The settings that the guests of one of n workers share. Raises ConfigError."""
        limit = self.connections_per_minute
        return GuestSettings(
            target=terms.target,
            tls=terms.target.tls_context(),
            budget=DOCUMENTED if self.paced else UNLIMITED,
            connections=ConnectionBudget(limit, share=1 / workers) if limit else None,
            max_connection_age_s=self.age_of_all_s or 0.0,
            greets=self.learned_greets if self.greets_all is None else self.greets_all,
            **{each.name: getattr(self, each.name) for each in fields(GuestBehaviour)},
            custom_attributes={"runId": run_id},
            tag_of=guest_tag,
        )

    def of_guest(
        self,
        settings: GuestSettings,
        *,
        sign_in: SignIn,
        max_age_s: float,
        greets: bool | None = None,
    ) -> GuestSettings:
        """The run's settings with those of one guest; options of the run come first."""
        own: dict[str, Any] = {"sign_in": sign_in} if sign_in else {}
        if max_age_s and self.age_of_all_s is None:
            own["max_connection_age_s"] = max_age_s
        if greets is not None and self.greets_all is None:
            own["greets"] = greets
        return replace(settings, **own) if own else settings

    def sign_in_of(self, guest: int) -> str:
        """The JWT of guest number n, counted from 0 over all workers; empty if there are none.

        After the last JWT the first is used again; that ends its customer's earlier session.
        """
        return self.sign_ins[guest % len(self.sign_ins)] if self.sign_ins else ""


def read_guest_options(
    parsed: argparse.Namespace, terms: Terms, learned: Learned | None = None
) -> GuestOptions:
    """The guest options: from the command line, else the target's terms, else the preflights.

    Raises ConfigError.
    """
    paced = _one_of("--pace", parsed.pace, {"documented": True, "off": False})
    joins = _one_of("--auto-join", parsed.auto_join, {**ON_OFF, "": terms.auto_join})
    replies = {**ON_OFF, "": True if terms.replies is None else terms.replies}
    greets: dict[str, bool | None] = {**ON_OFF, "": terms.greets}
    # A flow that greets after Join may be silent before its first answer, and the other way round.
    same = learned is not None and learned.joined == joins
    many = learned is not None and (learned.turn_messages or 0) > 1
    turns = many if terms.turns is None else terms.turns
    file = Path(parsed.sign_ins) if parsed.sign_ins else terms.sign_ins
    return GuestOptions(
        paced=paced,
        connections_per_minute=_connections(parsed.connections, terms, paced=paced),
        history=_one_of("--history", parsed.history, ON_OFF),
        auto_join=joins,
        age_of_all_s=_max_age_s(parsed.max_connection_age),
        replies=_one_of("--replies", parsed.replies, replies),
        greets_all=_one_of("--greets", parsed.greets, greets),
        learned_greets=learned.greets if learned is not None and same else None,
        turns=_one_of("--turns", parsed.turns, {**ON_OFF, "": turns}),
        turn_silence_s=_silence_s(parsed.turn_silence),
        listen=_one_of("--listen", parsed.listen, ON_OFF),
        library=_one_of("--websockets", parsed.websockets, {"fast": False, "library": True}),
        sign_ins=() if file is None else read_sign_ins(file),
        sign_ins_file=file,
    )


def _silence_s(text: str) -> float:
    silence_s = seconds(text, "--turn-silence")
    if not LEAST_SILENCE_S <= silence_s <= MOST_SILENCE_S:
        raise ConfigError(
            f"--turn-silence: expected a time from {duration_text(LEAST_SILENCE_S)} to "
            f"{duration_text(MOST_SILENCE_S)}, got {text!r}"
        )
    return silence_s


def _connections(text: str, terms: Terms, *, paced: bool) -> int:
    if text == "off":
        return 0
    if text:
        if not text.isdecimal() or not int(text):
            raise ConfigError(f"--connections: expected a number above zero or off, got {text!r}")
        return int(text)
    if terms.connections_per_minute is not None:
        return terms.connections_per_minute
    return CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE if terms.guarded and paced else 0


def _max_age_s(text: str) -> float | None:
    if not text or text == "off":
        return 0.0 if text else None
    return max_age_s(text, "--max-connection-age")


def max_age_s(text: str | float, what: str) -> float:
    """The age of a connection (seconds) from its written form. Raises ConfigError naming
    ``what``."""
    age_s = seconds(text, what)
    if age_s < LEAST_AGE_S:
        least = duration_text(LEAST_AGE_S)
        raise ConfigError(f"{what}: expected {least} or more, got {text!r}")
    return age_s


def _one_of(option: str, text: str, meanings: Mapping[str, Meaning]) -> Meaning:
    if text not in meanings:
        words = " or ".join(word for word in meanings if word)
        raise ConfigError(f"{option}: expected {words}, got {text!r}")
    return meanings[text]


HOW_TO_SIMULATE = (
    "no target: say where the guests go, for example\n"
    "  harness run LOCUSTFILE                  (starts the simulator by itself)\n"
    "or start the simulator in another terminal and name its target:\n"
    "  harness simulate\n"
    "  HARNESS_TARGET='ws://127.0.0.1:PORT/v1?deploymentId=UUID' locust -f LOCUSTFILE"
)

RUN_ID = "harness_run_id"
SHARES = "harness_shares"
LEARNED = "harness_learned"
"""Attributes that the master adds to Locust's options; they travel to the workers with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a run."""

    terms: Terms
    reports: Path
    overrides: dict[Rule, str] = field(default_factory=dict)
    metrics: tuple[str, int] | None = None
    """address and port of the Prometheus endpoint"""
    slo: Path | None = None
    """a TOML file of objectives beside those of the locustfile"""
    warm_up_s: float | None = None
    """length of the beginning that is not judged; None: the value of the shape"""
    confident: bool = False
    """an objective that is met only within chance is NO_DATA"""
    disk_guard: bool = True
    """refuse a run that does not fit on the disk, and end one before the disk is full"""
    run_id: str | None = None
    """given by the master or by ``harness run``; otherwise made at the start"""
    term_grace_s: float = 8.0
    """time after SIGTERM in which all sessions must be cleared, before the sender kills us"""
    learned: Learned | None = None
    """what preflights of the target have learnt, if anything"""
    guest_options: GuestOptions = field(default_factory=GuestOptions)
    """how guests keep to limits, join, sign in and reconnect"""

    @property
    def target(self) -> Target:
        """The target of the guests."""
        return self.terms.target


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the harness's options to Locust's parser (whose groups can't take Locust's extras)."""
    try:
        config = RunConfig.of_process()
    except ConfigError as error:
        parser.error(str(error))
    for one in LOCUST_OPTIONS:
        arguments: dict[str, Any] = {
            "env_var": one.variable,
            "include_in_web_ui": False,
            "default": config.get(one),
            "help": one.help,
            "metavar": one.takes,
        }
        parser.add_argument(one.option, **arguments)
    # Locust's own default is every interface of the machine, without a login.
    parser.set_defaults(web_host="127.0.0.1")


def read_options(parsed: argparse.Namespace) -> RunOptions:
    """The options of this process. Raises ConfigError, which says what to do."""
    url = getattr(parsed, "target", "")
    if not url:
        raise ConfigError(HOW_TO_SIMULATE)
    _one_of("--log-format", parsed.log_format, {"text": False, "json": True})
    here = _Handed.of_process()
    terms = resolve_target(
        url,
        Path(here.path("targets", parsed.targets)),
        ca_file=here.path("ca_file", parsed.ca_file) or None,
        origin=parsed.origin or None,
    )
    if terms.target.ca_file is not None:  # the targets file may name it
        ca_file = Path(here.path("ca_file", str(terms.target.ca_file)))
        terms = replace(terms, target=replace(terms.target, ca_file=ca_file))
    # The web UI's form posts the host that it shows, which is the target's.
    if getattr(parsed, "host", None) not in (None, "", terms.target.netloc):
        raise ConfigError(f"--host: got {parsed.host!r}; name the target with --target instead")
    reports = Path(here.reports or parsed.reports)
    from_master = getattr(parsed, LEARNED, None)  # by the master, who has the reports folder
    learned = read_learned(reports, terms) if from_master is None else Learned.of(from_master)
    return RunOptions(
        terms=terms,
        overrides=parse_overrides([part for part in parsed.override.split(";") if part.strip()]),
        reports=reports,
        metrics=_metrics(parsed.metrics_address, parsed.metrics_port),
        slo=Path(here.path("slo", parsed.slo)) if parsed.slo else None,
        warm_up_s=seconds(parsed.warm_up, "--warm-up") if parsed.warm_up else None,
        confident=_one_of("--confident", parsed.confident, ON_OFF),
        disk_guard=_one_of("--disk-guard", parsed.disk_guard, ON_OFF),
        run_id=getattr(parsed, RUN_ID, None) or RunConfig.of_process().get(HANDED_RUN_ID) or None,
        term_grace_s=seconds(parsed.term_grace, "--term-grace"),
        learned=learned,
        guest_options=read_guest_options(parsed, terms, learned),
    )


@dataclass(frozen=True, slots=True)
class _Handed:
    """Finds the files that this process's options name: a worker may have them from its master.

    The worker's reports are in its own folder: the master's may not exist here.
    """

    paths: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reports: str = ""

    @classmethod
    def of_process(cls) -> "_Handed":
        config = RunConfig.of_process()
        folder = config.get(HANDED_OUT)
        if not folder:
            return cls()
        try:
            paths = orjson.loads((Path(folder) / HANDED_OUT_FILES).read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise ConfigError(f"what the master handed out is gone: {error}") from None
        return cls(paths, config.get(REPORTS))

    def path(self, option: str, text: str) -> str:
        """The path of a file that an option names, on this machine."""
        return self.paths.get(option, {}).get(str(Path(text)), text) if text else text


def _metrics(address: str, port: str) -> tuple[str, int] | None:
    if not port:
        return None
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"--metrics-port: expected a port, got {port!r}")
    return address, int(port)


ROOM = 1.5
"""Slots beyond the mean occupancy: arrivals come in clusters and sessions differ in length."""


def rate(default: str) -> float:
    """Guests per second: what ``--rate`` says, or ``default`` such as ``"30/min"``.

    ``arrivals = ramp(per_second=(0, rate("30/min")), over="10m")``. Raises ConfigError for what is
    no rate.
    """
    return rate_per_s(_value(RATE, default), RATE.variable)


def over(default: str) -> float:
    """Seconds that arrivals go on: what ``--over`` says, or ``default`` such as ``"10m"``.

    ``arrivals = ramp(per_minute=(0, 30), over=over("10m"))``. Raises ConfigError for what is no
    time.
    """
    return seconds(_value(OVER, default), OVER.variable)


def stay(default: str) -> float:
    """Seconds that guests who stay for long remain: what ``--stay`` says, or ``default``.

    ``slots = slots_for(arrivals, stay("3h"))``. Raises ConfigError for what is no time.
    """
    return seconds(_value(STAY, default), STAY.variable)


def silence(default: str) -> float:
    """Seconds that such a guest is silent at a time: what ``--silence`` says, or ``default``.

    ``guest.idle(silence("10m"))``. Raises ConfigError for what is no time.
    """
    return seconds(_value(SILENCE, default), SILENCE.variable)


def occupancy() -> int | None:
    """Guests to keep in session instead of the locustfile's schedule: what ``--occupancy`` says."""
    text = _value(OCCUPANCY, "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise ConfigError(
            f"{OCCUPANCY.variable}: expected a number of guests at once, got {text!r}"
        )
    return int(text) if text else None


def seed() -> int:
    """The seed of this run: what ``--seed`` says, or one drawn now and recorded.

    ``dice = random.Random(seed())``. Processes that are forked later, and the run itself, see the
    same one. Raises ConfigError for what is no whole number.
    """
    _process().used_variables.add(SEED.variable)
    return run_seed()


def run_seed() -> int:
    """The seed for the run itself; :func:`seed` is the one for locustfiles, which also notes its
    use."""
    text = RunConfig.of_process().values.get(SEED.variable) or _process().seed
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{SEED.variable}: expected a whole number, got {text!r}") from None


def poisson(schedule: Schedule, *, seed: int | None = None) -> Schedule:
    """Independent arrivals with the mean rate of a schedule: ``poisson(steady(...))``.

    They are drawn from the run's seed, or from ``seed``. ``--arrivals even`` spaces them evenly
    again. Raises ConfigError for what can't be drawn from.
    """
    return schedule if _arrivals() == "even" else _drawn(schedule, seed)


def from_options(*, rate: str, over: str) -> Schedule:
    """A rate that is held for a time, evenly spaced: ``from_options(rate="30/min", over="10m")``.

    ``--rate`` and ``--over`` win over what is given here. ``--arrivals poisson`` makes the arrivals
    independent, as :func:`poisson` does. A rate says per what, a time has its unit. Raises
    ConfigError for what is no rate or no time.
    """
    per_second = rate_per_s(_value(RATE, rate), RATE.variable)
    schedule = steady(per_second=per_second, over=seconds(_value(OVER, over), OVER.variable))
    return _drawn(schedule, None) if _arrivals() == "poisson" else schedule


def _drawn(schedule: Schedule, own_seed: int | None) -> Schedule:
    if isinstance(schedule, Poisson) and _arrivals() == "poisson":
        return schedule  # from_options has drawn it already
    return arrivals.poisson(schedule, seed=seed() if own_seed is None else own_seed)


def _arrivals() -> str:
    kind = _value(ARRIVALS, "")
    if kind not in ("", "poisson", "even"):
        raise ConfigError(f"{ARRIVALS.variable}: expected poisson or even, got {kind!r}")
    return kind


def slots_for(arrivals: Schedule | float, in_session: str | float) -> int:
    """How many slots a schedule needs: ``slots = slots_for(arrivals, "2m")``.

    ``arrivals`` is a schedule or guests per second; ``in_session`` is how long a guest stays on
    average, a text with its unit or seconds. There is room for clusters of guests beyond the mean.
    Raises ConfigError for what is no time.
    """
    per_second = peak_per_s(arrivals) if isinstance(arrivals, Schedule) else arrivals
    return max(10, ceil(per_second * seconds(in_session, "slots_for()") * ROOM) + 5)


@dataclass(slots=True)
class _Process:
    """State that lasts as long as a process; forked processes begin with a copy."""

    seed: str = field(default_factory=lambda: str(secrets.randbelow(2**31)))
    used_variables: set[str] = field(default_factory=set)
    objectives: list[str] = field(default_factory=list)
    """the objectives of the locustfile"""


@cache
def _process() -> _Process:
    return _Process()


def parameters() -> dict[str, str]:
    """The parameters that the locustfile read while it was imported, and the seed: variable →
    text."""
    values = RunConfig.of_process().values
    used = {name: values.get(name, "") for name in _process().used_variables}
    return {**used, SEED.variable: values.get(SEED.variable) or _process().seed}


def remember_locusts_options() -> None:
    """Let Locust parse its own options once, not for every option of every order.

    A worker gets an order each second while users are ramped up or handed over. Each would stall
    its guests for a fifth of a second.
    """
    if not hasattr(argument_parser.default_args_dict, "cache_info"):
        argument_parser.default_args_dict = cache(argument_parser.default_args_dict)


def take_parameters(masters: Mapping[str, str]) -> bool:
    """Take the seed of the master's parameters. False if it is too late for that, or if other
    parameters differ too.

    This process must then restart with the master's parameters.
    """
    own = parameters()
    differs = {name for name, text in masters.items() if own.get(name, "") != text}
    used = (
        SEED.variable in _process().used_variables or SEED.variable in RunConfig.of_process().values
    )
    if differs and (differs != {SEED.variable} or used):
        return False
    _process().seed = masters.get(SEED.variable, own[SEED.variable])
    return True


def has_masters_parameters() -> bool:
    """Whether this process was restarted with a master's parameters."""
    return bool(RunConfig.of_process().get(FROM_MASTER))


def restart_environment(masters: Mapping[str, str]) -> dict[str, str]:
    """The environment with which this process restarts with a master's parameters."""
    values = RunConfig.of_process().with_values({**masters, FROM_MASTER.variable: "1"}).values
    taken_away = dict.fromkeys([CONFIG_FILE, *masters])
    return child_environment({**taken_away, **values})


def used_variables() -> list[str]:
    """The variables that this process has read, so that a variable which is ignored is refused."""
    return sorted(_process().used_variables)


def _value(setting: Setting, default: str) -> str:
    _process().used_variables.add(setting.variable)
    return RunConfig.of_process().values.get(setting.variable) or default


def objective(*texts: str) -> None:
    """State what the run has to meet: ``objective("reply p95 < 5s", "leftovers == 0")``.

    A limit on a time has its unit (``us``, ``ms``, ``s``, ``m``). Raises ConfigError at once when
    a text can't be understood.
    """
    for text in texts:
        parse_objective(text)
    _process().objectives.extend(texts)


def own_objectives() -> list[str]:
    """The objectives that the locustfile has stated, as texts."""
    return list(_process().objectives)
