"""Errors that stories of the locustfile ended by, as they travel in the counts of an interval.

A count is named by kind, file and line, and by nothing that the error says: there are few of them,
and its text may hold whatever the story knows.
"""

from collections.abc import Mapping
from typing import Any

PREFIX = "story error: "
ELSEWHERE = f"{PREFIX}elsewhere"
"""Of places beyond those that are told one by one."""
NO_STORIES = "most stories ended by errors of their own: the run was ended"


def count_name(kind: str, file: str, line: int) -> str:
    """The name of the count for an error at a place."""
    return f"{PREFIX}{kind} in {file}, line {line}"


def is_story_error(count: str) -> bool:
    """Whether a count is one of these."""
    return count.startswith(PREFIX)


def errors_block(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The record's ``story_errors``: what ended stories, and how often, the most frequent first."""
    found = [
        {"what": name.removeprefix(PREFIX), "count": number}
        for name, number in counts.items()
        if is_story_error(name)
    ]
    return sorted(found, key=lambda entry: (-entry["count"], entry["what"]))


def sentences(block: list[dict[str, Any]]) -> list[str]:
    """One for each kind and place."""
    return [
        f"{_times(entry['count'])} a story of the locustfile ended by an error of its own: "
        f"{entry['what']} (Locust's log has the whole of it)"
        for entry in block
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
