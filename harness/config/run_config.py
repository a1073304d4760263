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
"""The environment of this process, for reading variables whose names a target gives."""

SCHEDULE_SPARE_S = 10.0
"""A run may take so much longer than its schedule. Locust's clock starts before the first guest can
come, on a busy machine by seconds. The run ends by itself when the last guest has left."""
STOP_TIMEOUT = "15s"
"""The default of ``--stop-timeout``: how long conversations may go on after the end of a run."""
MASTER_PORT = 5557
"""The default port of a master, as in Locust."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Something that can be asked of a run; its value is a text until it is needed."""

    variable: str
    option: str = ""
    takes: str = ""
    """what stands behind the option: a word for it, or the choices with bars between them"""
    default: str = ""
    help: str = ""
    """the same for ``harness run`` and for plain Locust"""

    @property
    def key(self) -> str:
        """The name under which a parser of options keeps it."""
        return self.option.removeprefix("--").replace("-", "_")

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that can be said, where they are counted."""
        return tuple(self.takes.split("|")) if "|" in self.takes else ()


def _option(words: str, help_text: str, *, default: str = "") -> Setting:
    """``words`` as the help shows them: ``--targets FILE``, ``--pace documented|off``."""
    option, _, takes = words.partition(" ")
    variable = f"HARNESS_{option.removeprefix('--').replace('-', '_').upper()}"
    if default and "default" not in help_text:
        help_text = f"{help_text} (default: {default})"
    return Setting(variable=variable, option=option, takes=takes, default=default, help=help_text)


# Where, by which rules, and what is judged.
TARGET = _option(
    "--target TARGET", "where guests go: a name from the targets file, or a URL on this machine"
)
TARGETS = _option("--targets FILE", "file of named targets", default="targets.toml")
OVERRIDE = _option(
    "--override RULE=REASON",
    "ignore one rule (approval, window, cap, preflight, limits); the report shows the reason",
)
CA_FILE = _option("--ca-file PEM", "private CA of a wss target")
ORIGIN = _option("--origin ORIGIN", "Origin header of the upgrade")
METRICS_PORT = _option("--metrics-port PORT", "serve Prometheus metrics on this port of 127.0.0.1")
METRICS_ADDRESS = _option(
    "--metrics-address ADDRESS", "address of the metrics port", default="127.0.0.1"
)
REPORTS = _option("--reports DIR", "folder that holds the run directories", default="reports")
DISK_GUARD = _option(
    "--disk-guard on|off", "off: start and go on even if the disk may fill up", default="on"
)
SLO = _option("--slo FILE", "more objectives (TOML), in addition to those of the locustfile")
TERM_GRACE = _option(
    "--term-grace TIME",
    "time to clear after SIGTERM (default: 8s; Docker kills after 10s)",
    default="8s",
)
WARM_UP = _option("--warm-up TIME", "do not judge this much of the beginning")
CHANCE_IS_NO_DATA = "an objective that chance alone may have met gives NO_DATA"
CONFIDENT = _option("--confident on|off", CHANCE_IS_NO_DATA, default="off")
WEB_HOST_NAME = _option("--web-host-name NAMES", "names of the web UI, with commas")
LOG_FORMAT = _option(
    "--log-format text|json",
    "json: each line that is printed or logged is a JSON object (default: HARNESS_LOG_FORMAT, or "
    "text)",
    default="text",
)

# How guests behave.
CONNECTIONS = _option(
    "--connections N",
    "new connections per minute, of all workers together; off: no limit (default: as the targets "
    "file says, or 1000 for a target that is not on this machine)",
)
PACE = _option(
    "--pace documented|off", "off: guests may exceed the documented limits", default="documented"
)
HISTORY = _option(
    "--history on|off", "off: do not fetch missed messages after a reconnect", default="on"
)
MAX_CONNECTION_AGE = _option(
    "--max-connection-age TIME",
    "replace connections of this age, such as 110m; off: never (default: as the locustfile says)",
)
AUTO_JOIN = _option(
    "--auto-join on|off", "join as soon as the session is open, as a widget with autoStart does"
)
SIGN_INS = _option(
    "--sign-ins FILE", "JWTs of signed-in guests, one per line: guests use them in turn"
)
GREETS = _option(
    "--greets on|off",
    "does the flow send a greeting, after Join or before its first answer? (default: as the "
    "locustfile or the targets file says)",
)
TURNS = _option(
    "--turns on|off", "on: a guest waits for all messages of an answer, not only the first"
)
TURN_SILENCE = _option(
    "--turn-silence TIME",
    "an answer is complete after this time without a message",
    default="1s",
)
REPLIES = _option(
    "--replies on|off",
    "off: nobody answers what guests say; expect_reply=True in a story wins",
)
WEBSOCKETS = _option(
    "--websockets fast|library",
    "library: the websockets library reads and writes all frames, to compare",
    default="fast",
)
LISTEN = _option(
    "--listen on|off",
    "off: guests clear at once, without listening for late messages",
    default="on",
)

# What a ready locustfile asks for; it names the defaults.
RATE = _option("--rate RATE", "arrival rate of a ready locustfile: 30/min or 2/s")
OVER = _option("--over TIME", "length of a ready locustfile's schedule: 10m")
STAY = _option("--stay TIME", "soak.py: how long the long-staying guests stay")
SILENCE = _option("--silence TIME", "soak.py: how long these guests say nothing at a time")
OCCUPANCY = _option(
    "--occupancy N",
    "ignore the schedule; keep N guests in session, each followed by the next",
)
ARRIVALS = _option(
    "--arrivals poisson|even",
    "spacing of arrivals, whatever the file says: independent (poisson) or even",
)
SEED = _option("--seed N", "repeat the arrivals, tasks and think times of an earlier run")

# What one process of ours tells another that it starts.
RUN_ID = Setting(variable="HARNESS_RUN_ID", help="the name of the run's directory")
SIMULATOR = Setting(
    variable="HARNESS_SIMULATOR", help="admin url of the simulator that was started for the run"
)
SIMULATOR_NAME = "simulator"
"""The name of the target of such a run. Its port is a new one in each run, so it is of no use as a
name."""
SEARCH = Setting(
    variable="HARNESS_SEARCH", help="whoever started the run ends it as soon as it has said enough"
)
FROM_MASTER = Setting(
    variable="HARNESS_FROM_MASTER", help="a worker's parameters are those of its master"
)
HANDED_OUT = Setting(
    variable="HARNESS_HANDED_OUT", help="folder of the files that a worker has from its master"
)

BETWEEN_PROCESSES = (RUN_ID, SIMULATOR, SEARCH, FROM_MASTER, HANDED_OUT)
BEHAVIOUR = (
    CONNECTIONS, PACE, HISTORY, MAX_CONNECTION_AGE, AUTO_JOIN, SIGN_INS, GREETS, TURNS,
    TURN_SILENCE, REPLIES, WEBSOCKETS, LISTEN,
)  # fmt: skip
LOCUST_OPTIONS = (
    TARGET, TARGETS, OVERRIDE, CA_FILE, ORIGIN, METRICS_PORT, METRICS_ADDRESS, REPORTS, DISK_GUARD,
    SLO, TERM_GRACE, WARM_UP, CONFIDENT, WEB_HOST_NAME, LOG_FORMAT, *BEHAVIOUR,
)  # fmt: skip
"""Those that Locust's own command line takes, so that a master hands them on to its workers."""
PARAMETERS = (RATE, OVER, STAY, SILENCE, OCCUPANCY, ARRIVALS, SEED)
"""Those that ready locustfiles ask for while they are imported."""
SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {one.variable: one for one in (*LOCUST_OPTIONS, *PARAMETERS, *BETWEEN_PROCESSES)}
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

    values: Mapping[str, str] = field(default_factory=dict)
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
        """Read a file that another process wrote from its :attr:`values`. Raises ConfigError."""
        try:
            values = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise ConfigError(f"{path}: what was asked of the run can't be read: {error}") from None
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: expected a JSON object of settings")
        for name, text in values.items():
            if name not in SETTINGS or not isinstance(text, str):
                raise ConfigError(f"{path}: {name}: expected a known setting with a text")
        return cls(values)

    def with_values(self, more: Mapping[str, object]) -> "RunConfig":
        """A copy with more settings; a value that is None or empty removes the setting."""
        texts = {name: "" if text is None else str(text) for name, text in more.items()}
        return RunConfig({name: text for name, text in {**self.values, **texts}.items() if text})

    def get(self, setting: Setting) -> str:
        """What was asked, or the setting's default."""
        return self.values.get(setting.variable) or setting.default


def child_environment(
    changes: Mapping[str, object] | None = None, *, config: Path | None = None
) -> dict[str, str]:
    """The environment of a process that this one starts.

    With ``config`` it takes that file for all settings; else it sees our own with ``changes`` (None
    takes one away).
    """
    if config is not None:
        changes = {**dict.fromkeys(SETTINGS), CONFIG_FILE: config}
    environment = {**ENVIRONMENT, **(changes or {})}
    return {name: str(text) for name, text in environment.items() if text is not None}


def take_variable(name: str) -> str:
    """A variable that is meant for this process alone: what it starts does not see it."""
    return os.environ.pop(name, "")


def suggest_variable(name: str, text: str) -> None:
    """Set a variable for this process and those that it starts, unless its user has set it."""
    os.environ.setdefault(name, text)


def replace_environment(environment: Mapping[str, str]) -> None:
    """Give this process another environment: it becomes another program."""
    os.environ.clear()
    os.environ.update(environment)
