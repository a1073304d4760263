"""The simulator's options: from the command line and a profile to ``Settings``.

A profile is a TOML file; the command line wins over it. Everything wrong is one sentence that names
the option, or the file and the key.

Filling settings from text or TOML values, by the type of each field.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from harness.clock import KERNEL_STAMPS
from harness.errors import ConfigError
from harness.simulator.dialogue import (
    Distribution,
    read_dialogue,
    read_distribution,
    read_rehearsal,
    read_toml,
)
from harness.simulator.frames import Ids
from harness.simulator.settings import (
    DOCUMENTED,
    LIFELIKE,
    LIVE,
    MOST,
    OFF,
    AgentSettings,
    ApiClient,
    BotSettings,
    DeploymentSettings,
    Knobs,
    Limits,
    Settings,
    number,
    read_fault,
)
from harness.units import seconds

Filled = TypeVar("Filled")

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
    known = {item.name for item in fields(settings)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        field = name if name in known else f"{name}_s"
        if field not in known or field in left_out:
            names = ", ".join(sorted(known - left_out))
            raise ConfigError(f"{where}: {name!r} is not known; there are: {names}")
        changes[field] = _value(settings, field, value, f"{where}: {name}")
    return replace(settings, **changes)  # type: ignore[type-var]


def _value(settings: object, field: str, value: object, where: str) -> object:
    """What was written for one field, by the field's type. Raises ConfigError."""
    kind = get_type_hints(type(settings))[field]
    low, high = BOUNDS.get(field, (0, MOST))
    if field.endswith("_s"):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigError(f"{where}: expected a duration, got {value!r}")
        return seconds(value, where)
    if kind in (Distribution, Distribution | None):
        return read_distribution(str(value), where)
    if field == "messages":
        return read_messages(where, value)
    if field == "clear_order" and sorted(str(value).split(",")) != ["cleared", "closed", "echo"]:
        raise ConfigError(f"{where}: expected echo,cleared,closed in some order, got {value!r}")
    if get_origin(kind) is Literal:
        chosen = next((one for one in get_args(kind) if str(one) == str(value)), None)
        if chosen is None:
            names = ", ".join(map(str, get_args(kind)))
            raise ConfigError(f"{where} is one of {names}, got {value!r}")
        return chosen
    if kind is bool:
        word = str(value).lower()
        if word not in (*TRUE, *FALSE):
            raise ConfigError(f"{where}: expected true or false, got {value!r}")
        return word in TRUE
    if kind is float:
        return number(float, where, value, 0, MOST_PER_HOUR if field.endswith("_per_hour") else 1)
    if kind is int:
        return number(int, where, value, low, high)
    if get_origin(kind) in (tuple, frozenset):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ConfigError(f"{where}: expected a list of texts, got {value!r}")
        return get_origin(kind)(part.strip() for part in parts if part.strip())
    if isinstance(value, str):
        return value
    raise ConfigError(f"{where}: expected a text, got {value!r}")


MOST_MESSAGES = 20
HOST = "127.0.0.1"
BOUNDS = {
    "workers": (0, 100_000),
    "more_workers": (0, 100_000),
    "hand_over_after": (0, 1_000_000),
    "number": (0, 100_000),
    "concurrency": (1, MOST),
}
"""Of whole numbers, where these are not any from 0 on."""
BOT_OPTIONS = {
    "bot_delay": "time",
    "bot_gap": "gap",
    "greeting_delay": "greeting_time",
    "bot_messages": "messages",
    "bot_greets": "greets",
    "bot_workers": "workers",
    "hand_over_after": "hand_over_after",
}
AGENT_OPTIONS = {
    "agents": "number",
    "agent_concurrency": "concurrency",
    "agent_time": "time",
    "wrapup": "wrapup_s",
}
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
    seed = None if seed_text is None else number(int, "--seed", seed_text, 0, 2**63)
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
        port=number(int, "--port", said.port or 0, 0, 65535),
        tls=bool(said.tls),
        stamps=bool(said.stamps),
        tls_names=tuple(said.tls_name or ()),
        questions=None if said.questions is None else Path(said.questions),
        seed=seed,
        limits=read_limits(base, limits),
        knobs=fill(knobs, pairs("--knob", said.knob), "knob"),
        bot=_bot(said, profile.get("bot", {})),
        agents=_overridden(
            fill(AgentSettings(), profile.get("agents", {}), "profile: agents"), said, AGENT_OPTIONS
        ),
        clients=_clients(profile.get("client", [])),
        faults=faults,
    )


def read_limits(base: str, changes: Mapping[str, Any]) -> Limits:
    """``documented`` or ``off``, then single limits by name. Raises ConfigError."""
    if base not in ("documented", "off"):
        raise ConfigError(f"limits: expected documented or off, got {base!r}")
    return fill(DOCUMENTED if base == "documented" else OFF, changes, "limit")


def read_profile(path: Path) -> dict[str, Any]:
    """The profile's tables; raises ConfigError naming the file."""
    found = read_toml(path)
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
    for place, entry in enumerate(profile.get("deployment", [{}]), 1):
        fresh = DeploymentSettings(id=ids.uuid(), flow_id=ids.uuid(), queue_id=ids.uuid())
        made.append(fill(fresh, entry, f"profile: deployment {place}"))
    first = fill(made[0], pairs("--deployment", said.deployment), "--deployment")
    if said.deployment_id:
        first = replace(first, id=said.deployment_id)
    made[0] = first
    if len({item.id for item in made}) < len(made):
        raise ConfigError("profile: two deployments have the same id")
    return tuple(made)


def _bot(said: Said, table: Mapping[str, Any]) -> BotSettings:
    table = dict(table)
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
    bot = fill(bot, table, "profile: bot", leave=("dialogue",))
    if said.bot is not None:
        bot = replace(bot, on=said.bot != ["off"])
    bot = _overridden(bot, said, BOT_OPTIONS)
    if (bot.contention or bot.coherency) and not bot.workers:
        raise ConfigError(
            "profile: bot: contention and coherency are between workers: say how many"
        )
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
    fewest = number(int, where, low.strip(), 1, MOST_MESSAGES)
    most = number(int, where, high.strip(), fewest, MOST_MESSAGES) if dash else fewest
    return fewest, most


def _overridden(settings: Filled, said: Said, options: Mapping[str, str]) -> Filled:
    """``settings`` with what the command line says of them: by option, the field that it sets."""
    changes: dict[str, Any] = {
        field: _value(settings, field, value, f"--{option.replace('_', '-')}")
        for option, field in options.items()
        if (value := getattr(said, option)) is not None
    }
    return replace(settings, **changes)  # type: ignore[type-var]


def _clients(tables: list[Any]) -> tuple[ApiClient, ...]:
    if not tables:
        return (ApiClient(),)
    return tuple(
        fill(ApiClient(), table, f"profile: client {place}")
        for place, table in enumerate(tables, 1)
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
