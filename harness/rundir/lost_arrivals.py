"""Arrivals that were due at a worker that was lost: what nobody could count any more.

The master of a distributed run writes ``shares.json`` when the share of the workers changes:
``{"changes": [{"at": ..., "first": arrival, "workers": [...]}], "gone": {worker: arrivals}}``,
where ``gone`` says how many arrivals were a worker's until it had no part in the schedule any more.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from harness.errors import ConfigError
from harness.measure.snapshot import Interval

SHARES = "shares.json"


def write_shares(
    directory: Path, changes: Sequence[Mapping[str, Any]], gone: Mapping[str, int]
) -> None:
    """Write the file in one step. Raises OSError."""
    beside = directory / f".{SHARES}.new"
    beside.write_bytes(orjson.dumps({"changes": changes, "gone": gone}))
    beside.replace(directory / SHARES)


def lost_arrivals(directory: Path, intervals: Sequence[Interval]) -> dict[str, int]:
    """What to add to the counts ``due`` and ``dropped`` for workers that are gone.

    An arrival of theirs that is in no interval as started or dropped was never started, as far as
    anybody can know. Raises ConfigError when the file can't be read.
    """
    path = directory / SHARES
    if not path.exists():
        return {}
    try:
        gone: dict[str, int] = orjson.loads(path.read_bytes())["gone"]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    due, done = Counter[str](), Counter[str]()
    for interval in intervals:
        arrivals = interval.arrivals
        due[interval.worker] += arrivals.get("due", 0)
        done[interval.worker] += arrivals.get("started", 0) + arrivals.get("dropped", 0)
    return {
        "due": sum(max(0, many - due[worker]) for worker, many in gone.items()),
        "dropped": sum(max(0, many - done[worker]) for worker, many in gone.items()),
    }
