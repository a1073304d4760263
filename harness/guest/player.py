"""A guest who follows a script: each step of the conversation is a call of the session."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from types import MappingProxyType

from harness.guest.session import GuestSession
from harness.limits import TYPING_EVERY_S
from harness.workload.data import Row
from harness.workload.patterns import javascript
from harness.workload.script.model import (
    COLUMN,
    PAUSES,
    Script,
    Step,
    StepKind,
    columns_in,
    render,
    walk,
)


def act(
    guest: GuestSession,
    script: Script,
    scenario: str,
    *,
    row: Row,
    rng: Random,
    folder: Path,
    texts: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Play a scenario in an open session.

    ``row`` fills the columns. Each ``say`` that names a set draws one of its ``texts``, which the
    steps after it use too. ``folder`` holds the files of ``attach``. A reply that does not come
    raises ReplyTimeout, as in a locustfile, and the other errors that end a guest's story are
    raised too. ``clear`` ends the scenario.
    """
    drawn = {name: rng.choice(forms) for name, forms in texts.items()}
    values: Row = {**row, **drawn} if drawn else row
    pause_s, before = script.pause_before_texts_s, None
    for number, step in enumerate(walk(script.scenarios[scenario].steps), 1):
        guest.step = f"{scenario}, step {number}: {step.kind}"
        if pause_s and step.kind is StepKind.SAY and before not in PAUSES:
            guest.think(pause_s)
        before = step.kind
        if drawn and step.kind is StepKind.SAY:
            named = columns_in(step.text) & texts.keys()
            values = {**values, **{name: rng.choice(texts[name]) for name in sorted(named)}}
        text = step.text
        match step.kind:
            case StepKind.CLEAR:
                guest.clear()
                return
            case StepKind.SAY:
                attributes = _attributes(script, scenario, step, values)
                guest.say(
                    render(text, values), attributes=attributes, expect_reply=step.expect_reply
                )
            case StepKind.JOIN:
                guest.join(attributes=_attributes(script, scenario, step, values))
            case StepKind.WAIT_ANY:
                guest.await_reply(within=script.within_s(step))
            case StepKind.WAIT_CONTAINING:
                guest.await_reply(within=script.within_s(step), containing=render(text, values))
            case StepKind.WAIT_MATCHING:
                guest.await_reply(within=script.within_s(step), matching=_pattern(text, values))
            case StepKind.CHOOSE:
                guest.choose(render(text, values), expect_reply=step.expect_reply)
            case StepKind.ATTACH:
                file = folder / render(text, values)
                guest.say(file.name, file=guest.upload(file), expect_reply=step.expect_reply)
            case StepKind.THINK:
                guest.think(step.think_time(rng))
            case StepKind.TYPING:
                _type(guest, step.duration_s)
            case StepKind.IDLE:
                guest.idle(step.duration_s)
            case StepKind.DROP:
                guest.drop()
            case StepKind.RECONNECT:
                guest.reconnect()


def _attributes(script: Script, scenario: str, step: Step, row: Row) -> dict[str, str] | None:
    attributes = script.attributes_of(scenario, step)
    return {key: render(value, row) for key, value in attributes.items()} or None


def _pattern(text: str, row: Row) -> re.Pattern[str]:
    """A regular expression in which a column matches its value literally."""
    return javascript(COLUMN.sub(lambda match: re.escape(row[match[1]]), text))


def _type(guest: GuestSession, typing_s: float) -> None:
    while True:
        guest.typing()
        guest.idle(min(typing_s, TYPING_EVERY_S))
        typing_s -= TYPING_EVERY_S
        if typing_s <= 0:
            return
