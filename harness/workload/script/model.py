"""Conversations as YAML scripts: the model, read and validated before anything is sent.

The step names ``say``, ``waitForReplyContaining`` and ``waitForReplyMatching`` and the mapping
``scenarios`` are those of ovotech's genesys-web-messaging-tester, so its scripts run unchanged::

    scenarios:
      Order status:
        - say: Where is my order {{order}}?
        - waitForReplyContaining: on its way
          within: 20s

They mean here what they mean there: a text is looked for without minding case, patterns are
JavaScript's (:mod:`harness.workload.patterns`), and in a script with that tool's ``config`` each
text comes after its pause. Both waits see what a reply shows besides its text (titles, choices),
and ``waitForReply`` takes any.

Beside the plain list of steps a scenario may be a mapping with ``weight``, ``attributes`` and
``steps``; beside ``scenarios`` there may be ``feeder``, ``texts`` (sets of which each ``say`` draws
one, named like a column), ``within`` (the usual deadline) and ``attributes``. What is said with
``expectReply: false`` needs no answer.
``harness.workload.script.file`` reads files and names line and key in errors.
"""

import re
from collections.abc import Collection, Iterator
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from harness.errors import ConfigError
from harness.units import seconds
from harness.workload.data import Mode, Row, Size, languages, texts
from harness.workload.patterns import javascript
from harness.workload.think import ThinkTime, parse_think

MAX_REPEATS = 10_000
DEFAULT_WITHIN = "10s"

PAUSE_BEFORE_TEXTS_S = 2.0
"""What ovotech's tool waits before it sends a text, unless told otherwise (its ``sendText``)."""

COLUMN = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_BRACES = re.compile(r"\{\{([^{}]*)\}\}|\{\{\s*\w+\s*\}?(?!\})")
_DOLLAR = re.compile(r"\$\{\s*(\w+)\s*\}")


class StepKind(StrEnum):
    """What a step does. The value is its key in the script."""

    SAY = "say"
    WAIT_ANY = "waitForReply"
    WAIT_CONTAINING = "waitForReplyContaining"
    WAIT_MATCHING = "waitForReplyMatching"
    THINK = "think"
    TYPING = "typing"
    CHOOSE = "choose"
    ATTACH = "attach"
    JOIN = "join"
    IDLE = "idle"
    DROP = "drop"
    RECONNECT = "reconnect"
    REPEAT = "repeat"
    CLEAR = "clear"


ACTIONS = f"actions: {', '.join(StepKind)}"
# Steps without a value: written as "- clear", "- clear:" or "- clear: true".
FLAGS = (
    StepKind.WAIT_ANY,
    StepKind.JOIN,
    StepKind.DROP,
    StepKind.RECONNECT,
    StepKind.CLEAR,
)
KEYS = (*StepKind, "within", "attributes", "expectReply", "steps")
WAITS = (StepKind.WAIT_ANY, StepKind.WAIT_CONTAINING, StepKind.WAIT_MATCHING)
SPEAKING = (StepKind.SAY, StepKind.CHOOSE, StepKind.ATTACH)
"""Steps that expect an answer, where the script does not say otherwise."""
PAUSES = (StepKind.THINK, StepKind.IDLE, StepKind.TYPING)


def _duration(text: str) -> str:
    try:
        seconds(text)
    except ConfigError as error:  # so that the place in the file is added
        raise ValueError(str(error).removeprefix("duration: ")) from None
    return text


def _think(text: str) -> str:
    try:
        parse_think(text)
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("think: ")) from None
    return text


def _regular_expression(text: str) -> str:
    javascript(COLUMN.sub("x", text))  # a column stands for its value, letter by letter
    return text


Duration = Annotated[str, AfterValidator(_duration)]
Attributes = dict[Annotated[str, Field(min_length=1)], str]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Step(_Model):
    """One step: exactly one of the keys of :class:`StepKind`, and what goes with it."""

    say: Annotated[str, Field(min_length=1)] | None = None
    wait_any: Literal["true"] | None = Field(None, alias="waitForReply")
    wait_containing: Annotated[str, Field(min_length=1)] | None = Field(
        None, alias="waitForReplyContaining"
    )
    wait_matching: Annotated[str, AfterValidator(_regular_expression)] | None = Field(
        None, alias="waitForReplyMatching"
    )
    think: Annotated[str, AfterValidator(_think)] | None = None
    typing: Duration | None = None
    choose: Annotated[str, Field(min_length=1)] | None = None
    attach: Annotated[str, Field(min_length=1)] | None = None
    join: Literal["true"] | None = None
    idle: Duration | None = None
    drop: Literal["true"] | None = None
    reconnect: Literal["true"] | None = None
    repeat: Annotated[int, Field(ge=1, le=MAX_REPEATS)] | None = None
    clear: Literal["true"] | None = None

    within: Duration | None = None
    attributes: Attributes | None = None
    expects: Literal["true", "false"] | None = Field(None, alias="expectReply")
    steps: tuple["Step", ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_words(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {data: None}
        if isinstance(data, dict):
            data = {k: "true" if k in list(FLAGS) and v is None else v for k, v in data.items()}
            empty = [key for key, value in data.items() if value is None and key in KEYS]
            if empty:
                raise ValueError(f"{empty[0]} has no value")
        return data

    @model_validator(mode="after")
    def _one_action(self) -> "Step":
        found = [kind for kind in StepKind if self._value(kind) is not None]
        if len(found) != 1:
            names = " and ".join(found) or "none"
            raise ValueError(f"expected exactly one action, got {names}; {ACTIONS}")
        kind = found[0]
        if self.within is not None and kind not in WAITS:
            raise ValueError(f"within goes with a wait, not with {kind}")
        if self.attributes is not None and kind not in (StepKind.SAY, StepKind.JOIN):
            raise ValueError(f"attributes go with say or join, not with {kind}")
        if self.expects is not None and kind not in SPEAKING:
            raise ValueError(f"expectReply goes with {', '.join(SPEAKING)}, not with {kind}")
        if (self.steps is not None) != (kind is StepKind.REPEAT) or self.steps == ():
            raise ValueError("repeat needs steps, and steps need repeat")
        return self

    def _value(self, kind: StepKind) -> str | int | None:
        names = {
            StepKind.WAIT_ANY: "wait_any",
            StepKind.WAIT_CONTAINING: "wait_containing",
            StepKind.WAIT_MATCHING: "wait_matching",
        }
        value: str | int | None = getattr(self, names.get(kind, str(kind)))
        return value

    @property
    def kind(self) -> StepKind:
        """What it does."""
        return next(kind for kind in StepKind if self._value(kind) is not None)

    @property
    def text(self) -> str:
        """Its value as written: a text, a pattern, a time, a file; empty for flags and repeat."""
        return "" if self.kind in (*FLAGS, StepKind.REPEAT) else str(self._value(self.kind))

    @property
    def expect_reply(self) -> bool | None:
        """Whether it expects an answer; None where the run's settings say."""
        return None if self.expects is None else self.expects == "true"

    @property
    def duration_s(self) -> float:
        """Seconds of ``typing`` and ``idle``."""
        return seconds(self.text)

    @property
    def think_time(self) -> ThinkTime:
        """The distribution of ``think``."""
        return parse_think(self.text)


class Scenario(_Model):
    """Steps of one kind of conversation, how often it comes, and its custom attributes."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    attributes: Attributes = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _list_of_steps(cls, data: Any) -> Any:
        return {"steps": data} if isinstance(data, list) else data


class FeederFile(_Model):
    """Where rows come from; the path counts from the script's folder."""

    file: Annotated[str, Field(min_length=1)]
    mode: Mode = Mode.SEQUENTIAL

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, data: Any) -> Any:
        return {"file": data} if isinstance(data, str) else data


class TextSet(_Model):
    """Texts to draw from: a built-in size and language, or a file with one text a line."""

    size: Size | None = None
    language: str = "en"
    file: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "TextSet":
        if (self.size is None) == (self.file is None):
            raise ValueError("expected either size or file")
        if self.language not in languages():
            raise ValueError(f"language: expected one of {', '.join(languages())}")
        return self

    def read(self, folder: Path) -> tuple[str, ...]:
        """The texts; a file's path counts from ``folder``. Raises ConfigError."""
        if self.file is not None:
            return texts(file=folder / self.file)
        return texts(str(self.size), language=self.language)


class Config(BaseModel):
    """The foreign tool's: which deployment it tests, how, and how long it waits."""

    model_config = ConfigDict(extra="allow", frozen=True)

    deployment_id: str | None = Field(None, alias="deploymentId")
    region: str | None = None
    origin: Annotated[str, Field(pattern=r"^[!-~]+$")] | None = None
    step_timeout_s: Annotated[float, Field(gt=0, le=86_400)] | None = Field(
        None, alias="stepTimeoutInSeconds"
    )


class Script(_Model):
    """A whole file."""

    scenarios: Annotated[dict[str, Scenario], Field(min_length=1)]
    feeder: FeederFile | None = None
    texts: dict[Annotated[str, Field(pattern=r"^\w+$")], TextSet] = Field(default_factory=dict)
    within: Duration | None = None
    attributes: Attributes = Field(default_factory=dict)
    config: Config | None = None

    @field_validator("scenarios", mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and not all(str(name).strip() for name in data):
            raise ValueError("a scenario needs a name")
        return data

    def pick(self, rng: Random) -> str:
        """The name of a scenario, as often as its weight says."""
        names = list(self.scenarios)
        return rng.choices(names, [self.scenarios[name].weight for name in names])[0]

    def attributes_of(self, scenario: str, step: Step | None = None) -> dict[str, str]:
        """What a message of that scenario carries; the nearer place wins."""
        own = {} if step is None or step.attributes is None else step.attributes
        return {**self.attributes, **self.scenarios[scenario].attributes, **own}

    @property
    def pause_before_texts_s(self) -> float:
        """Seconds before each text that no pause of the script comes before; 0 in our own."""
        foreign = self.config is not None and (self.config.deployment_id or self.config.region)
        return PAUSE_BEFORE_TEXTS_S if foreign else 0.0

    def within_s(self, step: Step) -> float:
        """The deadline of a wait in seconds."""
        if step.within is None and self.within is None and self.config is not None:
            return self.config.step_timeout_s or seconds(DEFAULT_WITHIN)
        return seconds(step.within or self.within or DEFAULT_WITHIN)


def render(text: str, row: Row) -> str:
    """``{{column}}`` replaced by the row's value."""
    return COLUMN.sub(lambda found: row[found[1]], text)


def columns_in(text: str) -> set[str]:
    """The columns that a text names."""
    return set(COLUMN.findall(text))


def check_placeholders(text: str, known: Collection[str], *, pattern: bool = False) -> None:
    """ValueError for what looks like a placeholder and would be sent as it is written.

    ``known`` are the names of columns and sets, ``pattern`` says that it is a regular expression.
    """
    for braces in _BRACES.finditer(text):
        if COLUMN.fullmatch(braces[0]):
            continue
        shown = " ".join(braces[0].split())
        if braces[1] is None:
            raise ValueError(f"{shown} is not closed by two braces")
        raise ValueError(
            f"{shown} names no column or set: expected a name of letters, digits and "
            "underscores between the braces"
        )
    for name in () if pattern else _DOLLAR.findall(text):
        if name in known:
            raise ValueError(f"${{{name}}} would be sent as it is: write {{{{{name}}}}}")


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Steps in the order in which they run, repeats written out."""
    for step in steps:
        if step.repeat is None:
            yield step
        else:
            for _ in range(step.repeat):
                yield from walk(step.steps or ())


_ABOUT = {
    StepKind.SAY: "send a text; {{column}} is filled from the feeder",
    StepKind.WAIT_ANY: "wait for any reply, also one without a text",
    StepKind.WAIT_CONTAINING: "wait for a reply that shows this text; case is not minded",
    StepKind.WAIT_MATCHING: "wait for a reply that matches this regular expression (JavaScript's, "
    "with the flags i and m)",
    StepKind.THINK: "wait like a person: 6s, uniform(4s, 12s), lognormal(6s, p95=20s)",
    StepKind.TYPING: "show that the guest is typing, for so long",
    StepKind.CHOOSE: "answer with a quick reply of this text",
    StepKind.ATTACH: "upload a file and send it",
    StepKind.JOIN: "enter the conversation without a text",
    StepKind.IDLE: "stay connected and say nothing, for so long",
    StepKind.DROP: "cut the connection on purpose",
    StepKind.RECONNECT: "connect again and resume the session",
    StepKind.REPEAT: "do the steps so many times",
    StepKind.CLEAR: "end the session (always done at the end)",
}


def script_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a script."""
    # What a person may write without quotes where a text is meant.
    text: dict[str, Any] = {"type": ["string", "number", "boolean"]}
    duration: dict[str, Any] = {"type": ["string", "number"], "examples": ["20s", "1m30s"]}
    attributes = {"type": "object", "additionalProperties": text}
    steps = {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 1}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Conversation script",
        "type": "object",
        "required": ["scenarios"],
        "additionalProperties": False,
        "properties": {
            "scenarios": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"$ref": "#/$defs/scenario"},
            },
            "feeder": {"$ref": "#/$defs/feeder"},
            "texts": {
                "type": "object",
                "propertyNames": {"pattern": r"^\w+$"},
                "additionalProperties": {"$ref": "#/$defs/texts"},
                "description": "sets of texts by name; each say with {{name}} draws one",
            },
            "within": {**duration, "description": "deadline of waits that name none"},
            "attributes": {**attributes, "description": "custom attributes of every message"},
            "config": {
                "type": ["object", "null"],
                "properties": {
                    "deploymentId": text,
                    "region": text,
                    "origin": text,
                    "stepTimeoutInSeconds": {"type": "number", "exclusiveMinimum": 0},
                },
                "description": "another tool's: its deadline and pauses are kept, its origin is "
                "taken by harness guest",
            },
        },
        "$defs": {
            "scenario": {
                "anyOf": [
                    steps,
                    {
                        "type": "object",
                        "required": ["steps"],
                        "additionalProperties": False,
                        "properties": {
                            "steps": steps,
                            "weight": {"type": "number", "exclusiveMinimum": 0},
                            "attributes": attributes,
                        },
                    },
                ]
            },
            "feeder": {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {
                        "type": "object",
                        "required": ["file"],
                        "additionalProperties": False,
                        "properties": {
                            "file": {"type": "string", "minLength": 1},
                            "mode": {"enum": [str(mode) for mode in Mode]},
                        },
                    },
                ]
            },
            "texts": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "size": {"enum": [str(size) for size in Size]},
                    "language": {"enum": list(languages())},
                    "file": {"type": "string", "minLength": 1},
                },
                "oneOf": [{"required": ["size"]}, {"required": ["file"]}],
            },
            "step": {
                "anyOf": [
                    {"enum": [str(kind) for kind in FLAGS]},
                    _step_object(text, duration, attributes, steps),
                ]
            },
        },
    }


def _step_object(
    text: dict[str, Any],
    duration: dict[str, Any],
    attributes: dict[str, Any],
    steps: dict[str, Any],
) -> dict[str, Any]:
    kinds: dict[StepKind, dict[str, Any]] = dict.fromkeys(StepKind, text)
    kinds |= dict.fromkeys((StepKind.TYPING, StepKind.IDLE, StepKind.THINK), duration)
    kinds |= {kind: {"enum": [True, None]} for kind in FLAGS}
    kinds[StepKind.REPEAT] = {"type": "integer", "minimum": 1, "maximum": MAX_REPEATS}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{str(kind): {**kinds[kind], "description": _ABOUT[kind]} for kind in StepKind},
            "within": duration,
            "attributes": attributes,
            "expectReply": {
                "enum": [True, False],
                "description": "false: nobody counts on an answer",
            },
            "steps": steps,
        },
        "oneOf": [{"required": [str(kind)]} for kind in StepKind],
        "dependentSchemas": {
            "within": {"anyOf": [{"required": [str(kind)]} for kind in WAITS]},
            "attributes": {
                "anyOf": [{"required": [str(kind)]} for kind in (StepKind.SAY, StepKind.JOIN)]
            },
            "expectReply": {"anyOf": [{"required": [str(kind)]} for kind in SPEAKING]},
            "steps": {"required": [str(StepKind.REPEAT)]},
            "repeat": {"required": ["steps"]},
        },
    }
