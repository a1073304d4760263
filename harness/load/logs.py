"""What a process of a run logs: by the standard library, with run and node, and never a token.

Each package has one logger of its own, such as ``harness.load``. Where lines go, their times and
from which level on they are shown is decided by Locust (``--loglevel``, ``--logfile``). With
``--log-format json`` each line is a JSON object, also what is printed and not logged.
"""

import logging
import sys
from collections.abc import Callable
from types import ModuleType

from harness.config.run_config import LOG_FORMAT, RunConfig
from harness.errors import safe_line
from harness.streams import JsonLines, json_line, name_in_lines, print_json

LOG = logging.getLogger("harness.load")
OURS = "harness"
HANDLED = (None, "locust", "locust.stats_logger")
"""Loggers to which Locust gives handlers; None is the root."""


class RunContext(logging.Filter):
    """Prefixes our log lines with run and node, and removes tokens and other secrets from all."""

    def __init__(self, context: Callable[[], str]) -> None:
        super().__init__()
        self._context = context

    def filter(self, record: logging.LogRecord) -> bool:
        """Accept every record. One passes here once for each handler, and is changed only once."""
        if not getattr(record, "in_context", False):
            record.in_context = True
            text = safe_line(record.getMessage())
            ours = record.name.partition(".")[0] == OURS
            before = self._context() if ours else ""
            record.msg, record.args = (f"{before}: {text}" if before else text), ()
            if record.exc_info:
                record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = record.exc_text and safe_line(record.exc_text)
            record.stack_info = record.stack_info and safe_line(record.stack_info)
        return True


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object; an exception follows the message."""

    def format(self, record: logging.LogRecord) -> str:
        stream = sys.stderr
        names = stream.names() if isinstance(stream, JsonLines) else ("", "")
        return json_line(
            at_ns=int(record.created * 1e9),
            level=record.levelname,
            logger=record.name,
            names=names,
            message=super().format(record),
        )


def use_json_if_configured() -> None:
    """Log as JSON, if so configured; to be called before Locust sets its logging up.

    Raises ConfigError.
    """
    main = sys.modules.get("locust.main")
    if RunConfig.of_process().get(LOG_FORMAT) != "json" or isinstance(sys.stdout, JsonLines):
        return
    print_json("harness.print")
    if main is not None:
        _format_after_set_up(main)


def _format_after_set_up(main: ModuleType) -> None:
    set_up = main.setup_logging

    def setup_logging(*words: object, **more: object) -> None:
        set_up(*words, **more)
        for name in HANDLED:
            for handler in logging.getLogger(name).handlers:
                if not isinstance(handler, logging.StreamHandler):
                    continue  # the web UI's own
                handler.setFormatter(JsonFormatter())
                if isinstance(handler.stream, JsonLines):
                    handler.setStream(handler.stream.stream)

    main.setup_logging = setup_logging  # type: ignore[attr-defined]


def install(names: Callable[[], tuple[str, str]]) -> None:
    """Add run and node, which ``names`` returns, to all log lines of this process."""
    json = name_in_lines(names)

    def context() -> str:
        run, node = names()
        return "" if json else f"{f'run {run}' if run else 'no run'}, {node}"

    added = RunContext(context)
    for name in HANDLED:
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(added)
