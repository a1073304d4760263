"""What a capacity search raises: new guests per unit of time, or guests present at once.

Inside, rates are guests per second and occupancies guests; people read guests a minute.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from harness.errors import ConfigError
from harness.units import rate_per_s

MOST_GUESTS = 1_000_000
MOST_PER_S = 10_000


class Raised(StrEnum):
    """The quantity of a search. An open workload has a rate, a closed one an occupancy."""

    RATE = "rate"
    OCCUPANCY = "occupancy"

    @property
    def unit(self) -> str:
        """Short, behind a figure."""
        return "guests/min" if self is Raised.RATE else "guests at once"

    @property
    def words(self) -> str:
        """In a sentence, behind a figure."""
        return "guests a minute" if self is Raised.RATE else "guests at once"

    @property
    def key(self) -> str:
        """Under which a level on disk has its load."""
        return "rate_per_s" if self is Raised.RATE else "guests"

    def shown(self, load: float) -> float:
        """A load in the unit that people read."""
        return load * 60 if self is Raised.RATE else load

    def load_of(self, level: Mapping[str, Any]) -> float:
        """What a level on disk was asked to carry."""
        return float(level[self.key])

    def parse(self, text: str, option: str) -> float:
        """A load from what was written. ConfigError names the option and says what it takes."""
        if self is Raised.RATE:
            if text.strip().isdecimal():
                raise ConfigError(
                    f"{option}: expected a rate such as 10/s or 600/min, got {text!r} "
                    "(guests at once go with --by occupancy)"
                )
            load = rate_per_s(text, option)
            if not 0 < load <= MOST_PER_S:
                raise ConfigError(
                    f"{option}: expected a rate above zero and up to {MOST_PER_S:,}/s, got {text!r}"
                )
            return load
        if not text.strip().isdecimal():
            raise ConfigError(
                f"{option}: with --by occupancy expected a whole number of guests at once such as "
                f"200, got {text!r}"
            )
        guests = float(text)
        if not 1 <= guests <= MOST_GUESTS:
            raise ConfigError(
                f"{option}: expected 1 to {MOST_GUESTS:,} guests at once, got {text!r}"
            )
        return guests
