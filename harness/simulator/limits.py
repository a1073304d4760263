"""Limits of the service as documented, each a knob of its own; 0 switches one off."""

from collections import deque
from dataclasses import dataclass, fields, replace

from harness.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """0 means no limit. Sizes in bytes, durations in seconds."""

    requests_per_connection_per_minute: int = 60
    messages_per_session_per_second: int = 5
    texts_per_second: int = 0
    """Of all guests together: a ceiling to be found by searches. None is documented."""
    configures_per_session_per_minute: int = 60
    connections_per_minute: int = 1000
    history_per_session_per_minute: int = 10
    health_checks_per_connection_per_minute: int = 2
    typings_per_conversation_per_minute: int = 12
    connections_per_session: int = 3
    attribute_bytes: int = 2048
    text_bytes: int = 4096
    token_characters: int = 2048
    attachment_bytes: int = 10_485_760
    attachment_name_characters: int = 1024
    message_bytes: int = 131_072
    frame_bytes: int = 32_768
    idle_seconds: int = 600
    connection_age_seconds: int = 7200
    api_requests_per_minute: int = 300
    token_requests_per_minute: int = 300


DOCUMENTED = Limits()
OFF = Limits(
    **{  # sizes and the number of connections are part of the protocol; "off" is about speed
        field.name: 0
        for field in fields(Limits)
        if field.name.endswith(("_per_minute", "_per_second", "_seconds"))
    }
)


def read_limits(base: str, changes: dict[str, str]) -> Limits:
    """``documented`` or ``off``, then single limits by name. Raises ConfigError."""
    if base not in ("documented", "off"):
        raise ConfigError(f"limits: expected documented or off, got {base!r}")
    limits = DOCUMENTED if base == "documented" else OFF
    names = [field.name for field in fields(Limits)]
    for name, text in changes.items():
        if name not in names:
            raise ConfigError(f"limit {name!r} is not known; there are: {', '.join(names)}")
        try:
            value = int(str(text))
        except ValueError:
            value = -1
        if value < 0:
            raise ConfigError(f"limit {name}: expected a whole number, 0 for none, got {text!r}")
        limits = replace(limits, **{name: value})
    return limits


def over(times: deque[float], limit: int, *, window_s: float, now: float) -> float:
    """Counts one event in a sliding window; 0.0 if within the limit.

    Otherwise seconds until there is room again (the refused event does not count).
    """
    while times and times[0] <= now - window_s:
        times.popleft()
    if len(times) < limit:
        times.append(now)
        return 0.0
    return max(times[0] + window_s - now, 0.001)
