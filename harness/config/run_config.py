"""What may be asked of a run, each with its option, its variable and its default: one list.

A run is asked for by options, or by variables of the environment. ``harness run`` writes what was
asked as one file into the run's directory and tells Locust's process where that lies; that process
takes the file as a whole, and no variable beside it. No other module spells a variable, or looks
into the environment of this process.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import orjson

from harness.errors import ConfigError

ENVIRONMENT: Mapping[str, str] = os.environ
"""That of this process: where variables are looked for which a target names for itself."""

SCHEDULE_SPARE_S = 10.0
"""A run may take so much longer than its schedule. Locust's clock starts before the first guest can
come, on a busy machine by seconds. The run ends by itself when the last guest has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Something that can be asked of a run; its value is a text until it is needed."""

    variable: str
    option: str = ""
    default: str = ""
    help: str = ""

    @property
    def key(self) -> str:
        """The name under which a parser of options keeps it."""
        return self.option.removeprefix("--").replace("-", "_")


def _option(option: str, default: str, help_text: str) -> Setting:
    variable = f"HARNESS_{option.removeprefix('--').replace('-', '_').upper()}"
    return Setting(variable=variable, option=option, default=default, help=help_text)


# Where, by which rules, and what is judged.
TARGET = _option("--target", "", "name of a target, or ws://host:port/v1?deploymentId=…")
TARGETS = _option("--targets", "targets.toml", "TOML file of named targets")
OVERRIDE = _option("--override", "", "RULE=REASON;… against rules for real targets")
CA_FILE = _option("--ca-file", "", "PEM file of a private CA for wss targets")
ORIGIN = _option("--origin", "", "Origin header of the upgrade, if the deployment asks")
METRICS_PORT = _option("--metrics-port", "", "serve Prometheus metrics on this port")
METRICS_ADDRESS = _option("--metrics-address", "127.0.0.1", "address of the metrics port")
REPORTS = _option("--reports", "reports", "folder for run directories")
DISK_GUARD = _option("--disk-guard", "on", "'off': start and go on even if the disk may fill up")
SLO = _option("--slo", "", "TOML file of objectives")
# Docker kills ten seconds after SIGTERM, and the record takes a moment as well.
TERM_GRACE = _option("--term-grace", "8s", "time to clear after SIGTERM")
WARM_UP = _option("--warm-up", "", "time at the beginning that is not judged")
CONFIDENT = _option(
    "--confident", "off", "'on': an objective that chance alone may have met gives NO_DATA"
)
WEB_HOST_NAME = _option("--web-host-name", "", "names of the web UI, with commas")
LOG_FORMAT = _option("--log-format", "text", "'json': one JSON object a line")

# How guests behave.
PACE = _option("--pace", "documented", "'off': guests may exceed the service's limits")
CONNECTIONS = _option(
    "--connections",
    "",
    "new connections per minute, of all workers together; 'off': no limit (default: as the targets "
    "file says, or the documented 1000 for a target that is not on this machine)",
)
HISTORY = _option("--history", "on", "'off': don't fetch missed messages after a reconnect")
MAX_CONNECTION_AGE = _option(
    "--max-connection-age",
    "",
    "replace connections of this age, such as 110m; 'off': never (default: as the guests' class "
    "says)",
)
AUTO_JOIN = _option(
    "--auto-join", "", "'on': guests join when their session opens, as a widget does with autoStart"
)
REPLIES = _option(
    "--replies",
    "",
    "'off': nobody answers what guests say, as where only agents answer; expect_reply=True in a "
    "story wins",
)
GREETS = _option(
    "--greets",
    "",
    "'on' or 'off': does the flow send a greeting, after Join or before its first answer? "
    "(default: as the guests' class or the targets file says)",
)
TURNS = _option(
    "--turns",
    "",
    "'on': guests wait for all messages of an answer, as await_reply(turn=True) does",
)
TURN_SILENCE = _option(
    "--turn-silence", "1s", "an answer is complete after this time without a message"
)
LISTEN = _option(
    "--listen",
    "on",
    "'off': guests clear at once; 'on': some listen for late messages before Clear (the first 20 "
    "of each process, and one in 20 after that), for as long as the slowest answer took, at most "
    "30 s, and never while another guest waits for the slot",
)
WEBSOCKETS = _option(
    "--websockets",
    "fast",
    "'library': the websockets library reads and writes all frames, at a greater cost, to compare",
)
SIGN_INS = _option("--sign-ins", "", "file of JWTs, one per line: guests sign in with them in turn")

# What a ready locustfile asks for; it names the defaults.
RATE = _option("--rate", "", "arrival rate, such as 30/min")
OVER = _option("--over", "", "length of the schedule, such as 10m")
ARRIVALS = _option(
    "--arrivals", "", "poisson or even: spacing of arrivals, whatever the locustfile says"
)
STAY = _option("--stay", "", "how long the long-staying guests stay")
SILENCE = _option("--silence", "", "how long these guests say nothing at a time")
SEED = _option("--seed", "", "repeats the arrivals, tasks and think times of an earlier run")
OCCUPANCY = _option("--occupancy", "", "keep so many guests in session, instead of a schedule")

# What one process of ours tells another that it starts.
RUN_ID = Setting(variable="HARNESS_RUN_ID", help="the name of the run's directory")
SIMULATOR = Setting(
    variable="HARNESS_SIMULATOR", help="admin url of the simulator that was started for the run"
)
SIMULATOR_NAME = "simulator"
"""What the target of such a run is called: its port is new in each run and tells nobody anything"""
SEARCH = Setting(
    variable="HARNESS_SEARCH", help="whoever started the run ends it as soon as it has said enough"
)
FROM_MASTER = Setting(
    variable="HARNESS_FROM_MASTER", help="a worker's parameters are those of its master"
)
HANDED_OUT = Setting(
    variable="HARNESS_HANDED_OUT", help="folder of the files that a worker has from its master"
)

BEHAVIOUR = (
    PACE, CONNECTIONS, HISTORY, MAX_CONNECTION_AGE, AUTO_JOIN, REPLIES, GREETS, TURNS,
    TURN_SILENCE, LISTEN, WEBSOCKETS, SIGN_INS,
)  # fmt: skip
LOCUST_OPTIONS = (
    TARGET, TARGETS, OVERRIDE, CA_FILE, ORIGIN, METRICS_PORT, METRICS_ADDRESS, REPORTS, DISK_GUARD,
    SLO, TERM_GRACE, WARM_UP, CONFIDENT, WEB_HOST_NAME, LOG_FORMAT, *BEHAVIOUR,
)  # fmt: skip
"""Those that Locust's own command line takes, so that a master hands them on to its workers."""
PARAMETERS = (RATE, OVER, ARRIVALS, STAY, SILENCE, SEED, OCCUPANCY)
"""Those that ready locustfiles ask for while they are imported."""
SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        one.variable: one
        for one in (
            *LOCUST_OPTIONS,
            *PARAMETERS,
            RUN_ID,
            SIMULATOR,
            SEARCH,
            FROM_MASTER,
            HANDED_OUT,
        )
    }
)

LIFELINE = "HARNESS_LIFELINE"
"""The variable with the descriptor of the pipe's end that a started process watches."""
CONFIG_FILE = "HARNESS_CONFIG"
"""The variable that names the file which a process takes as a whole."""
SCRIPT = "HARNESS_SCRIPT"
"""The variable by which the ready locustfile for scripts finds the script: a locustfile's own."""
CLIENT_ID, CLIENT_SECRET = "HARNESS_CLIENT_ID", "HARNESS_CLIENT_SECRET"
"""Where the Platform API's credentials are looked for, if a target names no others. No settings:
they are secrets, so they are never written into a file or handed to another process by us."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What was asked of a run. A setting that nobody gave is not in it."""

    given: Mapping[str, str] = field(default_factory=dict)
    """variable → text"""

    @classmethod
    def of_process(cls, environment: Mapping[str, str] = ENVIRONMENT) -> "RunConfig":
        """From the file that this process was given, or else from its variables.

        Raises ConfigError.
        """
        if file := environment.get(CONFIG_FILE):
            return cls.read(Path(file))
        return cls({name: environment[name] for name in SETTINGS if environment.get(name)})

    @classmethod
    def read(cls, path: Path) -> "RunConfig":
        """What :attr:`given` of another process was written as. Raises ConfigError."""
        try:
            found = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise ConfigError(f"{path}: what was asked of the run can't be read: {error}") from None
        if not isinstance(found, dict):
            raise ConfigError(f"{path}: expected a JSON object of settings")
        for name, text in found.items():
            if name not in SETTINGS or not isinstance(text, str):
                raise ConfigError(f"{path}: {name}: expected a known setting with a text")
        return cls(found)

    def with_given(self, more: Mapping[str, object]) -> "RunConfig":
        """The same with more; what is None or empty takes a setting away."""
        texts = {name: "" if text is None else str(text) for name, text in more.items()}
        return RunConfig({name: text for name, text in {**self.given, **texts}.items() if text})

    def get(self, setting: Setting) -> str:
        """What was asked, or the setting's default."""
        return self.given.get(setting.variable) or setting.default


def child_environment(
    given: Mapping[str, object] | None = None, *, config: Path | None = None
) -> dict[str, str]:
    """The environment of a process that this one starts.

    With ``config`` it takes that file for all settings; else it sees our own, changed by ``given``
    (None takes one away).
    """
    found = dict(ENVIRONMENT)
    if config is not None:
        return {
            **{name: text for name, text in found.items() if name not in SETTINGS},
            CONFIG_FILE: str(config),
        }
    for name, text in (given or {}).items():
        found.pop(name, None)
        if text is not None:
            found[name] = str(text)
    return found


def take_variable(name: str) -> str:
    """A variable that is meant for this process alone: what it starts does not see it."""
    return os.environ.pop(name, "")


def replace_environment(environment: Mapping[str, str]) -> None:
    """Give this process another environment: it becomes another program."""
    os.environ.clear()
    os.environ.update(environment)
