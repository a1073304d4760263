"""The simulator's options: from the command line and a profile to ``Settings``.

A profile is a TOML file; the command line wins over it. Everything wrong is one sentence that names
the option, or the file and the key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.clock import KERNEL_STAMPS
from harness.errors import ConfigError, UsageError
from harness.foreign import read_toml
from harness.simulator.dialogue import read_dialogue, read_rehearsal
from harness.simulator.faults import read_fault
from harness.simulator.frames import Ids
from harness.simulator.settings import (
    DOCUMENTED,
    LIFELIKE,
    LIVE,
    OFF,
    AgentSettings,
    ApiClient,
    BotSettings,
    DeploymentSettings,
    Filled,
    Knobs,
    Limits,
    Settings,
    field_value,
    fill,
    number,
)

HOST = "127.0.0.1"
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


class Options:
    """What the command line says, by option; None for what it leaves out."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def __getattr__(self, option: str) -> Any:
        return self._values.get(option)


def read(options: Options) -> Settings:
    """Raises ConfigError for anything invalid."""
    profile = read_profile(Path(options.profile)) if options.profile else {}
    if options.tls_name and not options.tls:
        raise ConfigError("--tls-name: there is no certificate without --tls")
    seed_text = options.seed if options.seed is not None else profile.get("seed")
    seed = None if seed_text is None else number(int, "--seed", seed_text, 0, 2**63)
    limits = dict(profile.get("limits", {}))
    written = str(limits.pop("base", "documented"))
    base = options.limits or written
    limits |= pairs("--limit", options.limit)
    faults = {**profile.get("faults", {}), **pairs("--fault", options.fault)}
    for name, value in faults.items():
        read_fault(name, value)
    if options.stamps and (options.tls or not KERNEL_STAMPS):
        raise ConfigError("--stamps needs Linux and a connection without TLS")
    knobs = fill(LIVE if options.like else Knobs(), profile.get("knobs", {}), "profile: knobs")
    return Settings(
        deployments=_deployments(options, profile, seed),
        host=options.host or HOST,
        port=number(int, "--port", options.port or 0, 0, 65535),
        tls=bool(options.tls),
        stamps=bool(options.stamps),
        tls_names=tuple(options.tls_name or ()),
        questions=None if options.questions is None else Path(options.questions),
        seed=seed,
        limits=read_limits(base, limits),
        knobs=fill(knobs, pairs("--knob", options.knob), "knob"),
        bot=_bot(options, profile.get("bot", {})),
        agents=_overridden(
            fill(AgentSettings(), profile.get("agents", {}), "profile: agents"),
            options,
            AGENT_OPTIONS,
        ),
        clients=tuple(
            fill(ApiClient(), table, f"profile: client {place}")
            for place, table in enumerate(profile.get("client") or [{}], 1)
        ),
        faults=faults,
    )


def read_limits(base: str, changes: Mapping[str, Any]) -> Limits:
    """``documented`` or ``off``, then single limits by name. Raises ConfigError."""
    if base not in ("documented", "off"):
        raise ConfigError(f"limits: expected documented or off, got {base!r}")
    return fill(DOCUMENTED if base == "documented" else OFF, changes, "limit")


def read_profile(path: Path) -> dict[str, Any]:
    """The profile's tables; raises ConfigError naming the file."""
    tables = read_toml(path)
    for key, value in tables.items():
        if key not in PROFILE_KEYS:
            raise ConfigError(f"{path}: {key!r} is not known; there are: {', '.join(PROFILE_KEYS)}")
        expected = {"seed": int, "deployment": list, "client": list}.get(key, dict)
        if not isinstance(value, expected):
            kind = {int: "a whole number", list: f"[[{key}]] tables", dict: f"a [{key}] table"}
            raise ConfigError(f"{path}: {key}: expected {kind[expected]}")
    return tables


def _deployments(
    options: Options, profile: Mapping[str, Any], seed: int | None
) -> tuple[DeploymentSettings, ...]:
    ids = Ids(None if seed is None else seed + 1)
    made = []
    for place, entry in enumerate(profile.get("deployment", [{}]), 1):
        fresh = DeploymentSettings(id=ids.uuid(), flow_id=ids.uuid(), queue_id=ids.uuid())
        made.append(fill(fresh, entry, f"profile: deployment {place}"))
    first = fill(made[0], pairs("--deployment", options.deployment), "--deployment")
    if options.deployment_id:
        first = replace(first, id=options.deployment_id)
    made[0] = first
    if len({item.id for item in made}) < len(made):
        raise ConfigError("profile: two deployments have the same id")
    return tuple(made)


def _bot(options: Options, table: Mapping[str, Any]) -> BotSettings:
    table = dict(table)
    script = table.pop("script", None)
    bot = LIFELIKE if options.like else BotSettings()
    match options.bot:
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
    if options.bot is not None:
        bot = replace(bot, on=options.bot != ["off"])
    bot = _overridden(bot, options, BOT_OPTIONS)
    if (bot.contention or bot.coherency) and not bot.workers:
        raise ConfigError(
            "profile: bot: contention and coherency are between workers: say how many"
        )
    if bot.more_workers and not bot.workers:
        raise ConfigError("profile: bot: more_workers are added to workers: say how many")
    if options.recording is not None:
        if options.bot is not None or script is not None:
            raise UsageError("--from and --bot do not go together")
        return replace(bot, dialogue=read_rehearsal(Path(options.recording)))
    return bot if script is None else replace(bot, dialogue=read_dialogue(Path(str(script))))


def _overridden(settings: Filled, options: Options, fields: Mapping[str, str]) -> Filled:
    """``settings`` with what the command line says of them: by option, the field that it sets."""
    changes: dict[str, Any] = {
        field: field_value(settings, field, value, f"--{option.replace('_', '-')}")
        for option, field in fields.items()
        if (value := getattr(options, option)) is not None
    }
    return replace(settings, **changes)  # type: ignore[type-var]


def pairs(option: str, texts: Iterable[str] | None) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ConfigError(f"{option}: expected NAME=VALUE, got {text!r}")
        values[name.strip()] = value.strip()
    return values
