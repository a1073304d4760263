"""What a process of a run logs: by the standard library, with run and node, and never a token.

Each package has one logger of its own, such as ``harness.load``. Where lines go, their times and
from which level on they are shown is Locust's to say (``--loglevel``, ``--logfile``).
"""

import logging
import traceback
from collections.abc import Callable

from harness.safe_text import without_ids

LOG = logging.getLogger("harness.load")
OURS = "harness"


class RunContext(logging.Filter):
    """Puts run and node before each line of ours, and shortens ids in all: one may be a token."""

    def __init__(self, context: Callable[[], str]) -> None:
        super().__init__()
        self._context = context

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets everything pass; a record comes once for each handler, and is changed once."""
        if not getattr(record, "in_context", False):
            record.in_context = True
            text = without_ids(record.getMessage())
            ours = record.name.partition(".")[0] == OURS
            record.msg, record.args = (f"{self._context()}: {text}" if ours else text), ()
            if record.exc_info:
                whole = "".join(traceback.format_exception(*record.exc_info))
                record.exc_text = without_ids(whole).rstrip()
        return True


def install(context: Callable[[], str]) -> None:
    """Add it to whatever handles lines in this process."""
    added = RunContext(context)
    for name in (None, "locust", "locust.stats_logger"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(added)
