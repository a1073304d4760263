"""What is done once a second, each duty guarded by itself.

What one raises (no descriptor is left, a disk is full, a mistake) ends neither the others nor its
own next time.
"""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
Other = TypeVar("Other")


class Duties:
    """Does them, and counts which could not be done."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self.failed: Counter[str] = Counter()
        """how often, by the duty's name"""

    def do(self, name: str, duty: Callable[[], Result], otherwise: Other) -> Result | Other:
        """What the duty gives, or ``otherwise``. Told the first time that it fails."""
        try:
            return duty()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other duties go on
            self.failed[name] += 1
            if self.failed[name] == 1:
                self._say(f"once a second: {name} failed: {type(error).__name__}: {error}")
        return otherwise
