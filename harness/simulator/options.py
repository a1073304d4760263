"""The simulator's options: from the command line and a profile to ``Settings``.

A profile is a TOML file; the command line wins over it. Everything wrong is one sentence that names
the option, or the file and the key.

Filling settings from text or TOML values, by the type of each field.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from harness.clock import KERNEL_STAMPS
from harness.errors import ConfigError
from harness.simulator.dialogue import read_dialogue, read_distribution, read_rehearsal
from harness.simulator.frames import Ids
from harness.simulator.settings import (
    LIFELIKE,
    LIVE,
    AgentSettings,
    ApiClient,
    BotSettings,
    DeploymentSettings,
    Knobs,
    Settings,
    read_fault,
    read_limits,
)
from harness.units import seconds

Filled = TypeVar("Filled")

CHOICES: dict[str, tuple[object, ...]] = {
    "clear_echo_type": ("message", "response"),
    "connection_rate_reply": (429, 403),
    "malformed_reply": ("gateway", "error", "silence"),
    "unknown_deployment_reply": ("http", "in_band"),
    "session_expired_type": ("message", "response"),
    "generate_url_error_form": ("response", "message"),
    "typing_field": ("duration", "durationMs"),
    "message_id_form": ("any", "hex", "uuid"),
    "search_fields": ("documented", "any"),
    "purpose_in_analytics": ("customer", "external"),
    "purpose_in_conversation": ("customer", "external"),
    "purpose_in_search": ("customer", "external"),
    "direct_view": ("shown", "missing"),
    "configure_limit_code": (429, 4029),
    "strangers": ("403", "401", "silence", "allowed"),
    "error_class": ("string", "Error"),
    "closed_reason_field": ("reason", "reasonCode"),
}
MOST_PER_HOUR = 100
"""What changes in a day's soak has to change as much within minutes in an accelerated one."""
TRUE = ("true", "on", "yes", "1")
FALSE = ("false", "off", "no", "0")


def fill(
    settings: Filled, values: Mapping[str, Any], where: str, *, leave: Iterable[str] = ()
) -> Filled:
    """``settings`` with some fields replaced. Raises ConfigError naming ``where`` and the field.

    ``values`` holds texts (command line) or TOML values; a field whose name ends in ``_s`` takes a
    duration and may be named without that ending.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a table")
    left_out = set(leave)
    known = {item.name: getattr(settings, item.name) for item in fields(settings)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        field = name if name in known else f"{name}_s"
        if field not in known or field in left_out:
            names = ", ".join(sorted(set(known) - left_out))
            raise ConfigError(f"{where}: {name!r} is not known; there are: {names}")
        changes[field] = _value(field, known[field], value, f"{where}: {name}")
    return replace(settings, **changes)  # type: ignore[type-var]


def _value(field: str, default: object, value: object, where: str) -> object:
    result: object
    if field.endswith("_s"):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigError(f"{where}: expected a duration, got {value!r}")
        result = seconds(value, where)
    elif isinstance(default, bool):
        result = _flag(value, where)
    elif isinstance(default, float):
        result = _number(value, MOST_PER_HOUR if field.endswith("_per_hour") else 1, where)
    elif isinstance(default, int):
        result = whole(where, value, 0, 2**53)
    elif isinstance(default, tuple | frozenset):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ConfigError(f"{where}: expected a list of texts, got {value!r}")
        result = type(default)(part.strip() for part in parts if part.strip())
    elif isinstance(value, str):
        result = value
    else:
        raise ConfigError(f"{where}: expected a text, got {value!r}")
    if field == "clear_order":
        _check_order(str(result), where)
    choices = CHOICES.get(field)
    if choices is not None and result not in choices:
        raise ConfigError(f"{where}: one of {', '.join(map(str, choices))}, got {value!r}")
    return result


def _check_order(text: str, where: str) -> None:
    if sorted(text.split(",")) != ["cleared", "closed", "echo"]:
        raise ConfigError(f"{where}: expected echo,cleared,closed in some order, got {text!r}")


def _flag(value: object, where: str) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ConfigError(f"{where}: expected true or false, got {value!r}")


def _number(value: object, most: int, where: str) -> float:
    """A number from 0 to ``most``: a share, unless it is said otherwise."""
    try:
        number = float(str(value)) if not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise ConfigError(f"{where}: expected a number from 0 to {most}, got {value!r}")
    return number


def whole(where: str, value: object, low: int, high: int) -> int:
    """A whole number within bounds."""
    try:
        number = int(str(value)) if not isinstance(value, bool) else low - 1
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise ConfigError(f"{where}: expected a whole number from {low} to {high}, got {value!r}")
    return number


MOST_MESSAGES = 20
HOST = "127.0.0.1"
GREETS = ("join", "text", "either", "off")
PROFILE_KEYS = ("seed", "bot", "agents", "limits", "knobs", "faults", "deployment", "client")


class Said:
    """What the command line says, by option; None for what it leaves out."""

    def __init__(self, **said: Any) -> None:
        self._said = said

    def __getattr__(self, option: str) -> Any:
        return self._said.get(option)


def read(said: Said) -> Settings:
    """Raises ConfigError for anything that makes no sense."""
    profile = read_profile(Path(said.profile)) if said.profile else {}
    if said.tls_name and not said.tls:
        raise ConfigError("--tls-name: there is no certificate without --tls")
    seed_text = said.seed if said.seed is not None else profile.get("seed")
    seed = None if seed_text is None else whole("--seed", seed_text, 0, 2**63)
    limits = dict(profile.get("limits", {}))
    written = str(limits.pop("base", "documented"))
    base = said.limits or written
    limits |= pairs("--limit", said.limit)
    faults = {**profile.get("faults", {}), **pairs("--fault", said.fault)}
    for name, value in faults.items():
        read_fault(name, value)
    if said.stamps and (said.tls or not KERNEL_STAMPS):
        raise ConfigError("--stamps needs Linux and a connection without TLS")
    knobs = fill(LIVE if said.like else Knobs(), profile.get("knobs", {}), "profile: knobs")
    return Settings(
        deployments=_deployments(said, profile, seed),
        host=said.host or HOST,
        port=whole("--port", said.port or 0, 0, 65535),
        tls=bool(said.tls),
        stamps=bool(said.stamps),
        tls_names=tuple(said.tls_name or ()),
        questions=None if said.questions is None else Path(said.questions),
        seed=seed,
        limits=read_limits(base, limits),
        knobs=fill(knobs, pairs("--knob", said.knob), "knob"),
        bot=_bot(said, profile.get("bot", {})),
        agents=_agents(said, profile.get("agents", {})),
        clients=_clients(profile.get("client", [])),
        faults=faults,
    )


def read_profile(path: Path) -> dict[str, Any]:
    """The profile's tables; raises ConfigError naming the file."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from None
    for key, value in found.items():
        if key not in PROFILE_KEYS:
            raise ConfigError(f"{path}: {key!r} is not known; there are: {', '.join(PROFILE_KEYS)}")
        expected = {"seed": int, "deployment": list, "client": list}.get(key, dict)
        if not isinstance(value, expected):
            kind = {int: "a whole number", list: f"[[{key}]] tables", dict: f"a [{key}] table"}
            raise ConfigError(f"{path}: {key}: expected {kind[expected]}")
    return found


def _deployments(
    said: Said, profile: Mapping[str, Any], seed: int | None
) -> tuple[DeploymentSettings, ...]:
    ids = Ids(None if seed is None else seed + 1)
    made = []
    for number, entry in enumerate(profile.get("deployment", [{}]), 1):
        fresh = DeploymentSettings(id=ids.uuid(), flow_id=ids.uuid(), queue_id=ids.uuid())
        made.append(fill(fresh, entry, f"profile: deployment {number}"))
    first = fill(made[0], pairs("--deployment", said.deployment), "--deployment")
    if said.deployment_id:
        first = replace(first, id=said.deployment_id)
    made[0] = first
    for item in made:
        if item.disconnect not in ("off", "send", "read_only"):
            raise ConfigError(
                f"deployment: disconnect is off, send or read_only, got {item.disconnect!r}"
            )
    if len({item.id for item in made}) < len(made):
        raise ConfigError("profile: two deployments have the same id")
    return tuple(made)


def _bot(said: Said, table: Mapping[str, Any]) -> BotSettings:
    table = dict(table)
    times = {name: table.pop(name, None) for name in ("time", "gap", "greeting_time")}
    messages = table.pop("messages", None)
    script = table.pop("script", None)
    bot = LIFELIKE if said.like else BotSettings()
    match said.bot:
        case None:
            pass
        case ["default"]:
            bot, script = BotSettings(), None
        case ["lifelike"]:
            bot, script = LIFELIKE, None
        case ["off"]:
            script = None
        case ["script", file]:
            bot, script = BotSettings(), file
        case other:
            words = " ".join(other)
            raise ConfigError(
                f"--bot: expected default, lifelike, off or script FILE, got {words!r}"
            )
    left = ("time", "gap", "greeting_time", "messages", "dialogue")
    bot = fill(bot, table, "profile: bot", leave=left)
    if said.bot is not None:
        bot = replace(bot, on=said.bot != ["off"])
    given = {"time": said.bot_delay, "gap": said.bot_gap, "greeting_time": said.greeting_delay}
    options = {"time": "--bot-delay", "gap": "--bot-gap", "greeting_time": "--greeting-delay"}
    for name, text in given.items():
        written = times[name] if text is None else text
        if written is not None:
            where = options[name] if text is not None else f"profile: bot: {name}"
            change: dict[str, Any] = {name: read_distribution(str(written), where)}
            bot = replace(bot, **change)
    if said.bot_messages is not None:
        bot = replace(bot, messages=read_messages("--bot-messages", said.bot_messages))
    elif messages is not None:
        bot = replace(bot, messages=read_messages("profile: bot: messages", messages))
    if said.bot_greets is not None:
        bot = fill(bot, {"greets": said.bot_greets}, "--bot-greets")
    if bot.greets not in GREETS:
        raise ConfigError(f"bot: greets is one of {', '.join(GREETS)}, got {bot.greets!r}")
    if said.bot_workers is not None:
        bot = replace(bot, workers=whole("--bot-workers", said.bot_workers, 0, 100_000))
    if said.hand_over_after is not None:
        after = whole("--hand-over-after", said.hand_over_after, 0, 1_000_000)
        bot = replace(bot, hand_over_after=after)
    if (bot.contention or bot.coherency) and not bot.workers:
        raise ConfigError(
            "profile: bot: contention and coherency are between workers: say how many"
        )
    whole("profile: bot: more_workers", bot.more_workers, 0, 100_000)
    if bot.more_workers and not bot.workers:
        raise ConfigError("profile: bot: more_workers are added to workers: say how many")
    if said.recording is not None:
        if said.bot is not None or script is not None:
            raise ConfigError("--from and --bot do not go together")
        return replace(bot, dialogue=read_rehearsal(Path(said.recording)))
    return bot if script is None else replace(bot, dialogue=read_dialogue(Path(str(script))))


def read_messages(where: str, value: object) -> tuple[int, int]:
    """How many messages an answer has: ``2`` or ``1-3``."""
    low, dash, high = str(value).partition("-")
    fewest = whole(where, low.strip(), 1, MOST_MESSAGES)
    most = whole(where, high.strip(), fewest, MOST_MESSAGES) if dash else fewest
    return fewest, most


def _agents(said: Said, table: Mapping[str, Any]) -> AgentSettings:
    table = dict(table)
    written = table.pop("time", None)
    delay = said.agent_time if said.agent_time is not None else written
    given = {
        "number": said.agents,
        "concurrency": said.agent_concurrency,
        "wrapup_s": said.wrapup,
    }
    agents = fill(AgentSettings(), table, "profile: agents", leave=("time",))
    agents = fill(agents, {k: v for k, v in given.items() if v is not None}, "agents")
    if agents.number > 100_000 or agents.concurrency < 1:
        raise ConfigError("agents: at most 100000, each with at least one conversation at once")
    if delay is not None:
        agents = replace(agents, time=read_distribution(str(delay), "--agent-time"))
    return agents


def _clients(tables: list[Any]) -> tuple[ApiClient, ...]:
    if not tables:
        return (ApiClient(),)
    return tuple(
        fill(ApiClient(), table, f"profile: client {number}")
        for number, table in enumerate(tables, 1)
    )


def pairs(option: str, texts: Iterable[str] | None) -> dict[str, str]:
    """NAME=VALUE, several times."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ConfigError(f"{option}: expected NAME=VALUE, got {text!r}")
        found[name.strip()] = value.strip()
    return found
