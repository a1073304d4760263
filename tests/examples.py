"""How many examples a property test draws where each costs much."""

from typing import Any

from hypothesis import settings


def at_most(most: int, **more: Any) -> settings:
    """So many, or fewer where the profile in use draws fewer for all tests."""
    return settings(max_examples=min(most, settings().max_examples), **more)
