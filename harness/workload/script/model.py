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
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

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


def _readable(parse: Callable[[str], object], what: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            parse(text)
        except ConfigError as error:  # so that the place in the file is added
            raise ValueError(str(error).removeprefix(f"{what}: ")) from None
        return text

    return AfterValidator(check)


def _regular_expression(text: str) -> str:
    javascript(COLUMN.sub("x", text))  # a column stands for its value, letter by letter
    return text


def _beside(short: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    """In the schema: a short form may stand in the place of the whole one."""

    def extend(schema: dict[str, Any]) -> None:
        whole = dict(schema)
        schema.clear()
        schema["anyOf"] = [short(whole), whole]

    return extend


def _about_step(schema: dict[str, Any]) -> Any:
    """What the types of its fields do not say of a step; and its short form."""

    def one(kinds: Iterable[str]) -> list[dict[str, Any]]:
        return [{"required": [kind]} for kind in kinds]

    schema["oneOf"] = one(StepKind)
    schema["dependentSchemas"] = {
        "within": {"anyOf": one(WAITS)},
        "attributes": {"anyOf": one((StepKind.SAY, StepKind.JOIN))},
        "expectReply": {"anyOf": one(SPEAKING)},
        "steps": {"required": [StepKind.REPEAT]},
        "repeat": {"required": ["steps"], "properties": {"steps": {"minItems": 1}}},
    }
    return {"enum": list(FLAGS)}


def _about_texts(schema: dict[str, Any]) -> None:
    schema["properties"]["language"] = {"enum": list(languages())}
    schema["oneOf"] = [{"required": ["size"]}, {"required": ["file"]}]


# In the schema: what a person may write without quotes where a text is meant.
_Written = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
_TIMES = WithJsonSchema({"type": ["string", "number"], "examples": ["20s", "1m30s"]})
Text = Annotated[_Written, Field(min_length=1)]
Flag = Annotated[Literal["true"], WithJsonSchema({"enum": [True, None]})]
Duration = Annotated[str, _readable(seconds, "duration"), _TIMES]
Attributes = dict[Annotated[str, Field(min_length=1)], _Written]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Step(_Model, json_schema_extra=_beside(_about_step)):
    """One step: exactly one of the keys of :class:`StepKind`, and what goes with it."""

    say: Text | None = Field(None, description="send a text; {{column}} is filled from the feeder")
    wait_any: Flag | None = Field(
        None, alias="waitForReply", description="wait for any reply, also one without a text"
    )
    wait_containing: Text | None = Field(
        None,
        alias="waitForReplyContaining",
        description="wait for a reply that shows this text; case is not minded",
    )
    wait_matching: Annotated[_Written, AfterValidator(_regular_expression)] | None = Field(
        None,
        alias="waitForReplyMatching",
        description="wait for a reply that matches this regular expression (JavaScript's, with the "
        "flags i and m)",
    )
    think: Annotated[str, _readable(parse_think, "think"), _TIMES] | None = Field(
        None, description="wait like a person: 6s, uniform(4s, 12s), lognormal(6s, p95=20s)"
    )
    typing: Duration | None = Field(None, description="show that the guest is typing, for so long")
    choose: Text | None = Field(None, description="answer with a quick reply of this text")
    attach: Text | None = Field(None, description="upload a file and send it")
    join: Flag | None = Field(None, description="enter the conversation without a text")
    idle: Duration | None = Field(None, description="stay connected and say nothing, for so long")
    drop: Flag | None = Field(None, description="cut the connection on purpose")
    reconnect: Flag | None = Field(None, description="connect again and resume the session")
    repeat: Annotated[int, Field(ge=1, le=MAX_REPEATS)] | None = Field(
        None, description="do the steps so many times"
    )
    clear: Flag | None = Field(None, description="end the session (always done at the end)")

    within: Duration | None = None
    attributes: Attributes | None = None
    expects: Annotated[Literal["true", "false"], WithJsonSchema({"enum": [True, False]})] | None = (
        Field(None, alias="expectReply", description="false: nobody counts on an answer")
    )
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
        actions = [kind for kind in StepKind if self._value(kind) is not None]
        if len(actions) != 1:
            names = " and ".join(actions) or "none"
            raise ValueError(f"expected exactly one action, got {names}; {ACTIONS}")
        kind = actions[0]
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
        value: str | int | None = getattr(self, _FIELDS[kind])
        return value

    @property
    def kind(self) -> StepKind:
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


_FIELDS = {
    StepKind(one.alias or name): name
    for name, one in Step.model_fields.items()
    if (one.alias or name) in list(StepKind)
}


class Scenario(_Model, json_schema_extra=_beside(lambda whole: whole["properties"]["steps"])):
    """Steps of one kind of conversation, how often it comes, and its custom attributes."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    weight: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1.0
    attributes: Attributes = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _list_of_steps(cls, data: Any) -> Any:
        return {"steps": data} if isinstance(data, list) else data


class FeederFile(_Model, json_schema_extra=_beside(lambda whole: whole["properties"]["file"])):
    """Where rows come from; the path counts from the script's folder."""

    file: Annotated[str, Field(min_length=1)]
    mode: Mode = Mode.SEQUENTIAL

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, data: Any) -> Any:
        return {"file": data} if isinstance(data, str) else data


class TextSet(_Model, json_schema_extra=_about_texts):
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

    deployment_id: _Written | None = Field(None, alias="deploymentId")
    region: _Written | None = None
    origin: Annotated[str, Field(pattern=r"^[!-~]+$")] | None = None
    step_timeout_s: Annotated[float, Field(gt=0, le=86_400)] | None = Field(
        None, alias="stepTimeoutInSeconds"
    )


class Script(_Model):
    """A whole file."""

    scenarios: Annotated[dict[str, Scenario], Field(min_length=1)]
    feeder: FeederFile | None = None
    texts: dict[Annotated[str, Field(pattern=r"^\w+$")], TextSet] = Field(
        default_factory=dict,
        description="sets of texts by name; each say with {{name}} draws one",
        json_schema_extra={"propertyNames": {"pattern": r"^\w+$"}},
    )
    within: Duration | None = Field(None, description="deadline of waits that name none")
    attributes: Attributes = Field(
        default_factory=dict, description="custom attributes of every message"
    )
    config: Config | None = Field(
        None,
        description="another tool's: its deadline and pauses are kept, its origin is taken by "
        "harness guest",
    )

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
    return COLUMN.sub(lambda match: row[match[1]], text)


def columns_in(text: str) -> set[str]:
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


class _Schema(GenerateJsonSchema):
    """A key that is left out is not there; it is not null, except where a model may be."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return super().nullable_schema(schema) if "$ref" in inner else inner

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def script_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a script."""
    schema = Script.model_json_schema(schema_generator=_Schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Conversation script",
    }
