"""What the process's exit code says. Codes 1 and 2 belong to Locust and to argument errors."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; where several apply, the first in this order of weight wins:
    CONFIG, PREFLIGHT, LEFTOVERS, UNKNOWN, INVALID, OBJECTIVES, NO_DATA, PASS."""

    PASS = 0
    """All objectives met and every session proved ended."""
    LOCUST = 1
    """Locust's own code for failed requests; ours never use it."""
    USAGE = 2
    """The command line could not be understood."""
    OBJECTIVES = 3
    """An objective was missed."""
    LEFTOVERS = 4
    """Sessions remain without proof of their end."""
    NO_DATA = 5
    """Nothing was measured that could be judged."""
    INVALID = 6
    """The generator or its record was not good enough to say."""
    PREFLIGHT = 7
    """A check before the run refused it; nothing was sent."""
    CONFIG = 8
    """Configuration or input is wrong; nothing was sent."""
    UNKNOWN = 9
    """It could not be told how all conversations of a run stand at the service."""
    INTERRUPTED = 130
    """Stopped by hand before there was a result."""
