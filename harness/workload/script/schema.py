"""The JSON schema of scripts, for editors: they see YAML's numbers and booleans, not the texts."""

from typing import Any

from harness.workload.data import Mode
from harness.workload.script.model import FLAGS, MAX_REPEATS, SPEAKING, WAITS, StepKind
from harness.workload.texts import Size, languages

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
