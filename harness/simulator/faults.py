"""The fault plan: which faults strike, when, and how hard. Deterministic under a seed.

A fault is named in ``FAULTS``. It strikes by probability, at the n-th event, or at each n-th event;
each fault counts its own events and draws from its own seeded source, so that switching one on
does not change when another strikes.

On the command line: ``cut=0.02``, ``cut=#3`` (the third event), ``cut=every:10``, with options
after commas: ``cut=0.1,at=clear,how=rst,when=before``. In JSON and TOML: a number, such a text, or
a table ``{"probability": 0.1, "nth": [3], "every": 10, "at": "clear", "seconds": 2}``. With
``from=9s`` it strikes only from so long after its first event on: a service that breaks midway.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from harness.errors import ConfigError
from harness.units import seconds

STEPS = ("connect", "configure", "join", "text", "clear", "echo", "other", "any")
HOWS = ("fin", "rst")
OPTIONS = frozenset({"probability", "nth", "every", "seconds", "at", "how", "when", "code", "from"})
WHENS = ("before", "after", "answered")


@dataclass(frozen=True, slots=True)
class Known:
    """What a fault does, and the defaults of its options."""

    does: str
    seconds: float | None = None
    at: str | None = None


FAULTS: dict[str, Known] = {
    "refuse_403": Known("the upgrade is refused with HTTP 403"),
    "refuse_429": Known("the upgrade is refused with HTTP 429 and Retry-After", seconds=2),
    "refuse_503": Known("the upgrade is refused with HTTP 503"),
    "slow_upgrade": Known("the upgrade is answered late", seconds=1),
    "half_open": Known("the connection is accepted and then never answers"),
    "stall": Known("the whole service stands still", seconds=1, at="any"),
    "cut": Known("the socket is cut", at="text"),
    "go_away": Known("the server closes with 1001 in mid-conversation", at="text"),
    "fail": Known("a request is answered with an error code (option code)", at="text"),
    "limit_any": Known("a request is refused with 429", seconds=1, at="text"),
    "ignore_clear": Known("Clear is ignored: no answer, nothing is cleared"),
    "lose_clear_reply": Known("the session is cleared but no answer comes"),
    "forbid_clear": Known("Clear is refused with 403, as with the setting off"),
    "limit_clear": Known("Clear is refused with 429", seconds=1),
    "delay_clear": Known("Clear is carried out and answered late", seconds=1),
    "no_connection_closed": Known("Clear is answered without ConnectionClosedEvent"),
    "late_connection_closed": Known("ConnectionClosedEvent after Clear comes late", seconds=1),
    "late_reply": Known("a bot's reply arrives after SessionClearedEvent", seconds=0.05),
    "drop_frame": Known("a frame is lost"),
    "duplicate_frame": Known("a frame is sent twice"),
    "reorder_frame": Known("a frame is held back until after the next one", seconds=0.2),
    "delay_frame": Known("a frame is held back", seconds=0.2),
    "no_class": Known("a frame comes without class, code and type, as from the gateway"),
    "invalid_json": Known("a frame is cut off in the middle of its JSON"),
    "unknown_class": Known("a frame of an unknown class precedes the real one"),
    "wrong_types": Known("a frame's code, body and tracingId have the wrong types"),
    "oversized_frame": Known("a frame of a megabyte precedes the real one"),
    "unasked_clear": Known("a SessionClearedEvent that nobody asked for precedes a frame"),
    "foreign_error": Known("an error with a tracingId of nobody here precedes a frame (code)"),
    "early_error": Known(
        "an error without a tracingId (code) comes so long before a SessionResponse", seconds=0.05
    ),
    "refuse_new": Known("a configureSession with startNew is refused with 429", seconds=1),
    "cross_talk": Known("another session's message is delivered here too"),
    "proof_cross_talk": Known("another session's SessionClearedEvent is delivered here too"),
    "api_429": Known("a call of the Platform API is refused with 429"),
    "api_503": Known("a call of the Platform API is refused with 503"),
    "no_reply": Known("the bot does not answer a text"),
    "late_answer": Known("the bot's answer comes so much later", seconds=5),
    "silence": Known(
        "the flow falls silent at a text, also with what was under way; seconds=0: for good",
        seconds=0,
    ),
    "duplicate_reply": Known("a message of the other side comes twice, with the same id"),
    "interruption": Known(
        "an agent says something that nobody asked, so long after a text", seconds=0.3
    ),
}

FRAME_FAULTS = frozenset(
    {
        "drop_frame",
        "duplicate_frame",
        "reorder_frame",
        "delay_frame",
        "no_class",
        "invalid_json",
        "unknown_class",
        "wrong_types",
        "oversized_frame",
        "unasked_clear",
        "foreign_error",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One switched-on fault."""

    name: str
    probability: float = 0.0
    nth: frozenset[int] = frozenset()
    every: int = 0
    seconds: float = 0.0
    at: str | None = None
    how: str = "fin"
    when: str = "after"
    code: int = 5000
    from_s: float = 0.0
    """It strikes from so many seconds after its first event on."""


@dataclass(slots=True)
class _Armed:
    fault: Fault
    draws: Random
    events: int = 0
    since: float | None = None
    """When its first event was (monotonic), where it matters."""


@dataclass(slots=True)
class FaultPlan:
    """The faults now switched on, and how often each has struck since the last reset."""

    seed: int | None = None
    struck: dict[str, int] = field(default_factory=dict)
    active: bool = False
    """Whether any fault is on (checked for each request)."""
    frames: bool = False
    """Whether any fault that touches outgoing frames is on (checked for each frame)."""
    _armed: dict[str, _Armed] = field(default_factory=dict)
    _sources: dict[str, Random] = field(default_factory=dict)

    def replace(self, wanted: Mapping[str, object]) -> None:
        """Switch on exactly these, counting anew. Raises ConfigError and then changes nothing."""
        faults = [read_fault(name, value) for name, value in wanted.items()]
        self._armed = {
            fault.name: _Armed(fault, self._sources.setdefault(fault.name, self._source(fault)))
            for fault in faults
        }
        self.active = bool(self._armed)
        self.frames = not FRAME_FAULTS.isdisjoint(self._armed)

    def _source(self, fault: Fault) -> Random:
        return Random() if self.seed is None else Random(f"{self.seed}:{fault.name}")

    def on(self) -> dict[str, float | str]:
        """What is switched on, by name."""
        return {
            name: armed.fault.probability
            or (f"every:{armed.fault.every}" if armed.fault.every else "nth")
            for name, armed in self._armed.items()
        }

    def armed(self, name: str) -> bool:
        """Whether the fault is switched on."""
        return name in self._armed

    def strikes(self, name: str, step: str | None = None) -> Fault | None:
        """Whether the fault strikes at this event; counts it if so."""
        armed = self._armed.get(name)
        if armed is None:
            return None
        fault = armed.fault
        if fault.at is not None and step is not None and fault.at not in ("any", step):
            return None
        if fault.from_s:
            now = monotonic()
            if armed.since is None:
                armed.since = now
            if now - armed.since < fault.from_s:
                return None
        armed.events += 1
        hit = (
            armed.events in fault.nth
            or (fault.every and armed.events % fault.every == 0)
            or (fault.probability and armed.draws.random() < fault.probability)
        )
        if not hit:
            return None
        self.struck[name] = self.struck.get(name, 0) + 1
        return fault


def read_fault(name: str, value: object) -> Fault:
    """A fault from what the user wrote; raises ConfigError naming it."""
    known = FAULTS.get(name)
    if known is None:
        raise ConfigError(f"fault {name!r} is not known; there are: {', '.join(FAULTS)}")
    if isinstance(value, Mapping):
        options = dict(value)
    elif isinstance(value, str):
        options = _written(name, value)
    else:
        options = {"probability": value}
    unknown = set(options) - OPTIONS
    if unknown:
        raise ConfigError(f"fault {name}: {sorted(unknown)[0]!r} is not an option of a fault")
    return Fault(
        name=name,
        probability=_probability(name, options.get("probability", 0.0)),
        nth=frozenset(_count(name, "nth", n) for n in _as_list(options.get("nth", ()))),
        every=_count(name, "every", options["every"]) if "every" in options else 0,
        seconds=seconds(str(options.get("seconds", known.seconds or 0)), f"fault {name}: seconds"),
        at=_one_of(name, "at", options.get("at", known.at), (*STEPS, None)),
        how=_one_of(name, "how", options.get("how", "fin"), HOWS) or "fin",
        when=_one_of(name, "when", options.get("when", "after"), WHENS) or "after",
        code=_count(name, "code", options.get("code", 5000)),
        from_s=seconds(str(options.get("from", 0)), f"fault {name}: from"),
    )


def _written(name: str, text: str) -> dict[str, object]:
    head, *rest = (part.strip() for part in text.split(","))
    options: dict[str, object] = {}
    if head.startswith("#"):
        options["nth"] = head[1:].split("+")
    elif head.startswith("every:"):
        options["every"] = head.removeprefix("every:")
    else:
        options["probability"] = head
    for part in rest:
        key, sign, value = part.partition("=")
        if not sign:
            raise ConfigError(f"fault {name}: expected option=value, got {part!r}")
        options[key] = value
    return options


def _as_list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _probability(name: str, value: object) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else -1.0  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise ConfigError(f"fault {name}: expected a probability from 0 to 1, got {value!r}")
    return number


def _count(name: str, key: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise ConfigError(f"fault {name}: {key} expected a whole number from 1 on, got {value!r}")
    return number


def _one_of(name: str, key: str, value: object, allowed: tuple[str | None, ...]) -> str | None:
    if value is None or (isinstance(value, str) and value in allowed):
        return value
    choices = ", ".join(choice for choice in allowed if choice)
    raise ConfigError(f"fault {name}: {key} is one of {choices}, got {value!r}")
