"""What goes wrong on purpose: which faults there are, and when each strikes.

To add one: an entry in ``FAULTS`` (in ``FRAME_FAULTS`` if it touches outgoing frames), and
``service.faults.strikes("name")`` where it acts; frames are spoilt in ``send_with_faults``.

It strikes by probability, at the n-th event, or at each n-th event; each fault counts its own
events and draws from its own seeded source, so that switching one on does not change when another
strikes.

On the command line: ``cut=0.02``, ``cut=#3`` (the third event), ``cut=every:10``, with options
after commas: ``cut=0.1,at=clear,how=rst,when=before``. In JSON and TOML: a number, such a text, or
a table ``{"probability": 0.1, "nth": [3], "every": 10, "at": "clear", "seconds": 2}``. With
``from=9s`` it strikes only from so long after its first event on: a service that breaks midway.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Literal, get_args

import orjson

from harness.errors import ConfigError
from harness.simulator import frames
from harness.simulator.settings import fill

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection

Step = Literal["connect", "configure", "join", "text", "clear", "echo", "other", "any"]
STEPS: tuple[Step, ...] = get_args(Step)


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What a fault does, and the defaults of its options."""

    does: str
    """as ``harness docs simulator`` shows it"""
    seconds: float = 0.0
    at: Step = "any"


FRAME_FAULTS: dict[str, FaultKind] = {
    "drop_frame": FaultKind("a frame is lost"),
    "duplicate_frame": FaultKind("a frame is sent twice"),
    "reorder_frame": FaultKind("a frame is held back until after the next one", seconds=0.2),
    "delay_frame": FaultKind("a frame is held back", seconds=0.2),
    "no_class": FaultKind("a frame comes without class, code and type, as from the gateway"),
    "invalid_json": FaultKind("a frame is cut off in the middle of its JSON"),
    "unknown_class": FaultKind("a frame of an unknown class precedes the real one"),
    "wrong_types": FaultKind("a frame's code, body and tracingId have the wrong types"),
    "oversized_frame": FaultKind("a frame of a megabyte precedes the real one"),
    "unasked_clear": FaultKind("a SessionClearedEvent that nobody asked for precedes a frame"),
    "foreign_error": FaultKind(
        "an error (`code`) with a tracingId of nobody here precedes a frame"
    ),
}
"""Faults of outgoing frames. They are checked at each frame only if one of them is on."""
FAULTS: dict[str, FaultKind] = {
    "refuse_403": FaultKind("the upgrade is refused with HTTP 403"),
    "refuse_429": FaultKind("the upgrade is refused with HTTP 429 and Retry-After", seconds=2),
    "refuse_503": FaultKind("the upgrade is refused with HTTP 503"),
    "slow_upgrade": FaultKind("the upgrade is answered late", seconds=1),
    "half_open": FaultKind("the connection is accepted and never answers again, from `at` on"),
    "stall": FaultKind(
        "the whole service stands still; what came meanwhile is done afterwards, in order",
        seconds=1,
    ),
    "cut": FaultKind("the socket is cut, by FIN or RST (`how`)", at="text"),
    "go_away": FaultKind("the server closes with 1001 in mid-conversation", at="text"),
    "fail": FaultKind("a request is answered with an error (`code`)", at="text"),
    "limit_any": FaultKind("a request is refused with 429", seconds=1, at="text"),
    "ignore_clear": FaultKind("Clear is ignored: no answer, nothing is cleared"),
    "lose_clear_reply": FaultKind("the session is cleared but no answer comes"),
    "forbid_clear": FaultKind("Clear is refused with 403, as with the setting off"),
    "limit_clear": FaultKind("Clear is refused with 429", seconds=1),
    "delay_clear": FaultKind("Clear is carried out and answered late", seconds=1),
    "no_connection_closed": FaultKind("Clear is answered without ConnectionClosedEvent"),
    "late_connection_closed": FaultKind("ConnectionClosedEvent after Clear comes late", seconds=1),
    "late_reply": FaultKind("a bot's reply arrives after SessionClearedEvent", seconds=0.05),
    "early_error": FaultKind(
        "an error (`code`) without a tracingId comes so long before a SessionResponse", seconds=0.05
    ),
    "refuse_new": FaultKind("a configureSession with startNew is refused with 429", seconds=1),
    "cross_talk": FaultKind("another session's message is delivered here too"),
    "proof_cross_talk": FaultKind("another session's SessionClearedEvent is delivered here too"),
    "api_429": FaultKind(
        "a call of the Platform API, or for a guest's history, is refused with 429"
    ),
    "api_503": FaultKind(
        "a call of the Platform API, or for a guest's history, is refused with 503"
    ),
    "no_reply": FaultKind("the bot does not answer a text"),
    "late_answer": FaultKind("the bot's answer comes so much later", seconds=5),
    "silence": FaultKind(
        "the flow falls silent at a text, also with what was under way; `seconds=0`: for good",
        seconds=0,
    ),
    "duplicate_reply": FaultKind("a message of the other side comes twice, with the same id"),
    "interruption": FaultKind(
        "an agent says something that nobody asked, so long after a text", seconds=0.3
    ),
    **FRAME_FAULTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    name: str
    probability: float = 0.0
    nth: frozenset[int] = frozenset()
    every: int = 0
    seconds: float = 0.0
    at: Step = "any"
    how: Literal["fin", "rst"] = "fin"
    when: Literal["before", "after", "answered"] = "after"
    code: int = 5000
    from_s: float = 0.0
    """It strikes only after this many seconds from its first event."""


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
        self.frames = not FRAME_FAULTS.keys().isdisjoint(self._armed)

    def _source(self, fault: Fault) -> Random:
        return Random() if self.seed is None else Random(f"{self.seed}:{fault.name}")

    def on(self) -> dict[str, float | str]:
        return {
            name: armed.fault.probability
            or (f"every:{armed.fault.every}" if armed.fault.every else "nth")
            for name, armed in self._armed.items()
        }

    def armed(self, name: str) -> bool:
        return name in self._armed

    def strikes(self, name: str, step: str | None = None) -> Fault | None:
        """Whether the fault strikes at this event; counts it if so."""
        armed = self._armed.get(name)
        if armed is None:
            return None
        fault = armed.fault
        if step is not None and fault.at not in ("any", step):
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
    fresh = Fault(name=name, seconds=known.seconds, at=known.at)
    return fill(fresh, options, f"fault {name}", leave=("name",))


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


OVERSIZED_BYTES = 1_048_576


def send_with_faults(connection: "Connection", frame: bytes) -> bool:
    """Send ``frame`` on the connection, or what the fault plan makes of it.

    False if it does not come, or not as it is.
    """
    service = connection.service
    strikes = service.faults.strikes
    if strikes("drop_frame"):
        return False
    if strikes("unknown_class"):
        connection.write(frames.message("HologramEvent", {"since": "tomorrow"}))
    if strikes("oversized_frame"):
        connection.write(frames.message("Unknown", {"padding": "x" * OVERSIZED_BYTES}))
    if strikes("unasked_clear"):
        connection.write(frames.message("SessionClearedEvent", {}))
    if foreign := strikes("foreign_error"):
        connection.write(frames.error(foreign.code, "Request failed.", service.ids.uuid()))
    if strikes("no_class"):
        connection.write(frames.gateway_error(connection.id, service.ids.uuid()))
        return False
    if strikes("invalid_json"):
        connection.write(frame[: len(frame) // 2])
        return False
    if strikes("wrong_types"):
        connection.write(_wrong_types(frame))
        return False
    delayed = strikes("delay_frame")
    if delayed:
        service.later(delayed.seconds, connection.write, frame)
        service.truth.delay("frame", delayed.seconds)
        return True
    overtaken, connection.overtaken = connection.overtaken, None
    swapped = strikes("reorder_frame") if overtaken is None else None
    if swapped:
        connection.overtaken = frame
        service.later(swapped.seconds, _release, connection, frame)
        return True
    connection.write(frame)
    if strikes("duplicate_frame"):
        connection.write(frame)
    if overtaken is not None:
        connection.write(overtaken)
    return True


def _release(connection: "Connection", frame: bytes) -> None:
    """Send the frame that was held back, if no other frame followed it."""
    if connection.overtaken is frame:
        connection.overtaken = None
        connection.write(frame)


def _wrong_types(frame: bytes) -> bytes:
    value = orjson.loads(frame)
    value["code"] = str(value["code"])
    value["body"] = [value["body"]]
    value["tracingId"] = 42
    return orjson.dumps(value)
