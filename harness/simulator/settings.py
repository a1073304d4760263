"""Everything that can be set on the simulator, with the default of each.

``Knobs`` are the answers to what nobody outside the vendor knows; the default of each is our best
reading, and ``FIDELITY.md`` states how sure it is.

``PRESETS`` are ready sets of such answers; whatever is said beside one wins over it. ``Limits`` are
those of the service as documented, each a knob of its own; 0 switches one off.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from harness.errors import ConfigError
from harness.simulator.dialogue import DEFAULT, Dialogue, Distribution, Rehearsal, read_distribution
from harness.units import seconds

Number = TypeVar("Number", int, float)
Filled = TypeVar("Filled")
MOST = 2**53


def number(
    kind: type[Number], where: str, value: object, low: float = 0, high: float = MOST
) -> Number:
    """A number within bounds; ``int`` for a whole one. Raises ConfigError naming ``where``."""
    with suppress(ValueError):
        if not isinstance(value, bool) and low <= (read := kind(str(value))) <= high:
            return read
    what = "whole number" if kind is int else "number"
    bounds = f"from {low} on" if high == MOST else f"from {low} to {high}"
    raise ConfigError(f"{where}: expected a {what} {bounds}, got {value!r}")


MOST_MESSAGES = 20
MOST_PER_HOUR = 100
"""What changes in a day's soak has to change as much within minutes in an accelerated one."""
TRUE = ("true", "on", "yes", "1")
FALSE = ("false", "off", "no", "0")
BOUNDS = {
    "workers": (0, 100_000),
    "more_workers": (0, 100_000),
    "hand_over_after": (0, 1_000_000),
    "number": (0, 100_000),
    "concurrency": (1, MOST),
    "every": (1, MOST),
    "code": (1, MOST),
}
"""Of whole numbers, where these are not any from 0 on."""


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
        changes[field] = field_value(settings, field, value, f"{where}: {name}")
    return replace(settings, **changes)  # type: ignore[type-var]


def field_value(settings: object, field: str, value: object, where: str) -> object:
    """What was written for one field, by the field's type. Raises ConfigError."""
    kind = get_type_hints(type(settings))[field]
    low, high = BOUNDS.get(field, (0, MOST))
    if field.endswith("_s") or field == "seconds":
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
    if kind == frozenset[int]:
        values = value if isinstance(value, list | tuple) else [value]
        return frozenset(number(int, where, one, 1) for one in values)
    if get_origin(kind) in (tuple, frozenset):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ConfigError(f"{where}: expected a list of texts, got {value!r}")
        return get_origin(kind)(part.strip() for part in parts if part.strip())
    if isinstance(value, str):
        return value
    raise ConfigError(f"{where}: expected a text, got {value!r}")


def read_messages(where: str, value: object) -> tuple[int, int]:
    """How many messages an answer has: ``2`` or ``1-3``."""
    low, dash, high = str(value).partition("-")
    fewest = number(int, where, low.strip(), 1, MOST_MESSAGES)
    most = number(int, where, high.strip(), fewest, MOST_MESSAGES) if dash else fewest
    return fewest, most


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


def limit_wait_s(holder: object, name: str, limit: int, window_s: float, now: float) -> float:
    """Counts one event in a sliding window; 0.0 if within the limit, or if that is 0.

    Otherwise seconds until there is room again (the refused event does not count). The times are
    the attribute ``name`` of ``holder``: thousands never need theirs, so None stands for none yet.
    """
    if not limit:
        return 0.0
    times: deque[float] | None = getattr(holder, name)
    if times is None:
        times = deque()
        setattr(holder, name, times)
    while times and times[0] <= now - window_s:
        times.popleft()
    if len(times) < limit:
        times.append(now)
        return 0.0
    return max(times[0] + window_s - now, 0.001)


FIFTY_MS = Distribution("constant", 0.05, 0.0)
NONE = Distribution("constant", 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSettings:
    """What an administrator sets on a Messenger deployment and its configuration."""

    id: str
    active: bool = True
    allow_all_domains: bool = True
    allowed_domains: tuple[str, ...] = ()
    auto_start: bool = True
    conversation_clear: bool = True
    disconnect: Literal["off", "send", "read_only"] = "off"
    """What a guest is told when the other side ends it."""
    typing: bool = True
    session_duration_s: float = 259_200.0
    authentication: bool = False
    session_upgrade: bool = False
    attachments: bool = True
    flow_id: str = ""
    queue_id: str = ""
    division_id: str = ""
    """The division that its conversations belong to, for clients that may see only some."""


Purpose = Literal["customer", "external"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """Answers to what is unknown about the service. Durations in seconds."""

    clear_order: str = "echo,cleared,closed"
    clear_echo_type: Literal["message", "response"] = "message"
    cleared_event_id: Literal["none", "request", "own"] = "none"
    """SessionClearedEvent's tracingId: none, that of the Clear, or one of the service's own."""
    close_after_clear: int = 0
    """Close code that the server itself sends after Clear; 0: it leaves closing to the client."""
    close_after_clear_s: float = 0.1
    conversation_end_lag_s: float = 0.0
    """From SessionClearedEvent until the conversation has ended."""
    platform_lag_s: float = 0.0
    """From a change until the details query shows it."""
    search_lag_s: float = 0.0
    """From the start of a conversation until the search by attributes finds it."""
    search_fields: Literal["documented", "any"] = "documented"
    """What the search by attributes takes."""
    search_span_s: float = 86_400.0
    search_page: int = 50
    most_results: int = 100_000
    """Page numbers of the details query end there."""
    longest_interval_s: float = 2_678_400.0
    """Of a details query with a filter."""
    unfiltered_interval_s: float = 604_800.0
    purpose_in_analytics: Purpose = "customer"
    purpose_in_conversation: Purpose = "customer"
    purpose_in_search: Purpose = "customer"
    """What the guest's participant is called there."""
    direct_view: Literal["shown", "missing"] = "shown"
    """``missing``: GET of a single conversation gives 404 to everybody."""
    direct_times: bool = False
    """Whether a message conversation has startTime and endTime at its top."""
    disconnect_lag_s: float = 0.0
    """From a PATCH until the conversation has ended."""
    foreign_every: int = 0
    """Each so many-th conversation belongs to a division of its own; 0: none does."""
    other_media: int = 0
    """Interactions of other media in each queue and flow: observed where no filter asks for one."""
    configure_limit_code: Literal[429, 4029] = 429
    """``errorCode`` of a configureSession over its rate: 429 as seen live, or 4029."""
    strangers: Literal["403", "401", "silence", "allowed"] = "403"
    """Anonymous guests who speak where sign-in is on: a refusal (``403``, ``401``), ``silence``,
    or ``allowed``."""
    connection_rate_reply: Literal[429, 403] = 429
    malformed_reply: Literal["gateway", "error", "silence"] = "gateway"
    unknown_deployment_reply: Literal["http", "in_band"] = "http"
    session_expired_type: Literal["message", "response"] = "message"
    error_class: Literal["string", "Error"] = "string"
    """Class of errors: ``string`` as seen in live frames, or ``Error`` as in the schema."""
    closed_reason_field: Literal["reason", "reasonCode"] = "reason"
    closed_connection_code: int = 0
    """Close code the server itself sends after any ConnectionClosedEvent; 0: none."""
    generate_url_error_form: Literal["response", "message"] = "response"
    upload_failure_code: int = 200
    typing_field: Literal["duration", "durationMs"] = "duration"
    message_id_form: Literal["any", "hex", "uuid"] = "any"
    """Which form of a message id the Platform API takes; ``hex`` is that of body.id."""
    attribute_prefix: str = ""
    """What stands before a guest's custom attribute in the participant's data."""
    journey_shown: bool = True
    """Whether analytics shows the customer id of the guest's journey context."""
    compress: bool = False
    max_custom_data_bytes_absent: bool = False
    pings_keep_alive: bool = False
    """Whether a websocket ping counts as activity for the idle time."""
    expiry_ends_conversation: bool = True
    """Whether a guest session that expires takes its conversation along."""
    threading_s: float = 259_200.0
    """For so long after a disconnect, a guest's message continues the same conversation."""
    keep_conversations: int = 50_000
    keep_timelines: int = 5_000
    keep_messages: int = 200
    keep_questions: int = 20_000
    keep_events: int = 400
    keep_upload_bytes: int = 67_108_864
    max_sessions: int = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSettings:
    """Who answers the guests first, and how fast."""

    on: bool = True
    workers: int = 0
    """Answers worked on at once; 0: no queue, each answer takes its own time."""
    time: Distribution = field(default=FIFTY_MS)
    contention: float = 0.0
    coherency: float = 0.0
    """How workers hinder each other (see ``WorkQueue``)."""
    more_workers: int = 0
    """So many are added once answers have had to wait for ``more_after_s`` without a break."""
    more_after_s: float = 60.0
    memory_sessions: int = 0
    """Beyond so many open sessions an answer takes longer in proportion; 0: never."""
    greets: Literal["join", "text", "either", "off"] = "join"
    """When it greets: on each ``join``, before its answer to the first ``text``, at whichever of
    the two comes first (``either``), or never (``off``)."""
    greeting_time: Distribution | None = None
    """Until its greeting; None: the time of an answer on Join, and before an answer at once."""
    messages: tuple[int, int] = (1, 1)
    """Where the dialogue gives an answer one message: it gets from so many to so many."""
    gap: Distribution = field(default=NONE)
    """Between two messages of one answer, where the dialogue does not say."""
    typing_s: float = 0.0
    """For so long before each message the bot shows that it is typing."""
    slower_per_hour: float = 0.0
    """By what share of its first speed the bot slows down within an hour."""
    dialogue: Dialogue | Rehearsal = DEFAULT
    hand_over_after: int = 0
    """After so many texts of the guest an agent takes over; 0: only where the dialogue says."""


LIFELIKE = BotSettings(
    time=Distribution("lognormal", 0.9, 1.0),
    greets="either",
    greeting_time=Distribution("lognormal", 0.15, 0.5),
    messages=(1, 3),
    gap=Distribution("uniform", 0.4, 1 / math.sqrt(3)),
    typing_s=0.3,
)
"""As live deployments do: a greeting, answers of one to three messages, and one in a hundred of
them after more than four seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Who takes over from the bot."""

    number: int = 0
    concurrency: int = 3
    time: Distribution = field(default=FIFTY_MS)
    wrapup_s: float = 0.0
    """From the end of the guest's leg until the agent's place is free again."""
    ends_after: int = 0
    """After so many texts the agent ends the conversation; 0: never."""


ALL_PERMISSIONS = frozenset(
    {
        "analytics:conversationDetail:view",
        "analytics:flowObservation:view",
        "analytics:queueObservation:view",
        "analytics:agentConversationDetail:view",
        "conversation:communication:disconnect",
        "conversation:communication:view",
        "conversation:message:park",
        "conversation:message:view",
        "conversation:participant:attributesview",
        "conversation:threadingTimeline:edit",
        "conversation:threadingTimeline:view",
        "conversation:webmessaging:view",
        "webDeployments:deployment:view",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClient:
    """An OAuth client of the Platform API (grant: client credentials)."""

    id: str = "simulated-client"
    secret: str = field(default="simulated-secret", repr=False)
    permissions: frozenset[str] = ALL_PERMISSIONS
    divisions: frozenset[str] = frozenset()
    """The only divisions that it may see; empty: all."""
    token_life_s: float = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    deployments: tuple[DeploymentSettings, ...]
    host: str = "127.0.0.1"
    port: int = 0
    tls: bool = False
    stamps: bool = False
    """Whether delays are recorded from the kernel's receive stamp to the write."""
    tls_names: tuple[str, ...] = ()
    seed: int | None = None
    limits: Limits = DOCUMENTED
    knobs: Knobs = Knobs()
    bot: BotSettings = BotSettings()
    agents: AgentSettings = AgentSettings()
    clients: tuple[ApiClient, ...] = (ApiClient(),)
    faults: dict[str, object] = field(default_factory=dict)
    questions: Path | None = None
    """Where the row of each question is written."""


PRESETS = ("live",)
LIVE = Knobs(
    purpose_in_analytics="external",
    purpose_in_search="external",
    platform_lag_s=20.0,
    search_lag_s=5.0,
    disconnect_lag_s=2.0,
    conversation_end_lag_s=1.0,
    close_after_clear=1000,
)
"""``live``: as the real service is known or likely to differ from the plainest reading, so that a
rehearsal meets what a first night would. With it come the documented limits and the bot that greets
and answers in several messages. Lags are guesses of ours: the real ones are not published."""
