"""Opens sessions at the simulator and walks away from them, as a crashed client does."""

import uuid
from typing import Any

import gevent

from harness.config import parse_target
from harness.guest.line import Line
from harness.guest.settings import GuestSettings
from harness.measure.recorder import Recorder


def settings_for(simulator: Any, **more: Any) -> GuestSettings:
    """Impatient ones, so that tests of what does not answer are short."""
    return GuestSettings(
        target=parse_target(simulator.url), clear_within_s=0.5, close_within_s=0.2, **more
    )


def leave_open(simulator: Any, count: int, tokens: list[str] | None = None) -> list[str]:
    """The tokens of so many sessions whose guests have spoken and gone."""
    made = tokens or [str(uuid.uuid4()) for _ in range(count)]
    for token in made:
        line = Line(settings_for(simulator), token, Recorder())
        line.connect()
        line.configure()
        line.say("hello", first=True)
        gevent.sleep(0.02)
        line.drop()
    return made
