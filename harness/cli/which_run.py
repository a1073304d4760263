"""Which run a command takes, told on standard error: its state, and who else has leftovers.

``--reports``: the one option by which every command is told where runs are kept.
"""

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from harness.cli.parsing import Namespace, Option, option
from harness.errors import HarnessError
from harness.rundir.layout import REPORTS

NAMED = 3
"""So many other runs with leftovers are named, the newest first."""


def take_run(args: Namespace) -> Path:
    """The run that ``args`` name, told. Raises ConfigError when there is none."""
    return take_runs(args, [args.run])[0]


def take_runs(args: Namespace, names: Sequence[str]) -> list[Path]:
    """The same for several, each once."""
    from harness.ledger.runs import RunState, resolve_run, run_state, with_leftovers

    directories = list(dict.fromkeys(resolve_run(name, args.reports) for name in names))
    for directory in directories:
        state = run_state(directory)
        _tell(f"run {directory.name}: {_STATES[state.name]}")
        if state is RunState.KILLED:
            _make_end(directory)
    taken = {directory.resolve() for directory in directories}
    others = (other for other in with_leftovers(args.reports) if other.resolve() not in taken)
    if names := [other.name for other in islice(others, NAMED + 1)]:
        more = " and others" if len(names) > NAMED else ""
        _tell(
            f"sessions without proof of their end are also left by {', '.join(names[:NAMED])}"
            f"{more}: harness leftovers --all"
        )
    return directories


def _make_end(directory: Path) -> None:
    from harness.judge.reading import make_end_of_killed  # takes a while to import

    try:
        if make_end_of_killed(directory):
            _tell(f"run {directory.name}: its record was made now, of what it had written")
    except (HarnessError, OSError) as error:
        _tell(f"run {directory.name}: its record can't be made: {error}")


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)


_STATES = {
    "GOING_ON": "it is going on",
    "ENDED": "it has ended",
    "KILLED": "it was killed: its processes are gone, without a record of its end",
    "BEGUN": "it was begun, and no guest has come",
}


def reports_option() -> Option:
    """The option; ``args.reports`` is a Path."""
    return option(
        "--reports DIR", "folder that holds the run directories", type=Path, default=REPORTS
    )


def place_options() -> tuple[Option, ...]:
    """The options that say where the Platform API is."""
    return (
        option("--api-url URL", "address of the Platform API (default: found from the target)"),
        option("--login-url URL", "address of its sign-in (default: found from the target)"),
    )
