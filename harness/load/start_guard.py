"""Locust goes on when a listener of its events fails; a run whose start has failed must not."""

import logging
import traceback
from collections.abc import Callable
from typing import Any


def ending_on_error(hook: Any, on_error: Callable[[Exception], None]) -> Callable[..., None]:
    """A ``fire`` for an event of Locust that stops at the first listener that fails, and tells."""

    def fire(*, reverse: bool = False, **kwargs: Any) -> None:
        for handler in reversed(hook._handlers) if reverse else list(hook._handlers):
            try:
                handler(**kwargs)
            except Exception as error:  # noqa: BLE001 - whatever the user's own listener raises
                logging.error("a listener of test_start failed:\n%s", traceback.format_exc())
                return on_error(error)

    return fire
