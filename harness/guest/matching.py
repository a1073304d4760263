"""Searching for a user's regular expression in what the service says, with a time limit.

Some expressions need years for some texts (``(a+)+$`` is one), and the standard library's search
can't be stopped: the process would stand still, and no Clear would leave.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import regex

from harness.errors import ConfigError, NotPossible

WITHIN_S = 0.25
"""Of the whole process: an expression that is any good takes some microseconds."""
MOST_TEXT = 100_000
"""Characters of a message that are looked at."""


@lru_cache(maxsize=1024)
def searching(pattern: str | re.Pattern[str]) -> Callable[[str], bool]:
    """Whether a text holds what an expression describes, as ``re`` reads it.

    Raises ConfigError for what is none; the search raises NotPossible when it takes too long.
    """
    try:
        plain = re.compile(pattern)
        ours = regex.compile(plain.pattern, plain.flags | regex.VERSION0)
    except (re.error, regex.error, OverflowError) as error:
        raise ConfigError(f"await_reply(matching={pattern!r}): {error}") from None

    def search(text: str) -> bool:
        try:
            return ours.search(text[:MOST_TEXT], timeout=WITHIN_S) is not None
        except TimeoutError:
            raise NotPossible(
                "a regular expression took too long",
                f"{plain.pattern!r} was cut off after {WITHIN_S:g} s in a text of {len(text):,} "
                "characters: nested repetitions such as (a+)+ need more time with each character",
            ) from None

    return search
