"""Filling settings from text or TOML values, by the type of each field."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from harness.errors import ConfigError
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
