"""A stall of the whole service: what comes meanwhile is done afterwards, in order."""

import asyncio
import time
from collections.abc import Callable

from harness.simulator.truth.truth import Truth


class Stall:
    """``on`` while the service stands still. What was held is recorded with how long it waited."""

    __slots__ = ("_held", "_loop", "_over", "_truth", "on")

    def __init__(self, loop: asyncio.AbstractEventLoop, truth: Callable[[], Truth]) -> None:
        self.on = False
        self._loop = loop
        self._truth = truth
        self._held: list[tuple[float, Callable[..., None], tuple[object, ...]]] = []
        self._over: asyncio.Future[None] | None = None

    def begin(self, seconds: float) -> None:
        """Nothing is handled and nothing is sent for so long; nothing new if it is on already."""
        if not self.on:
            self.on = True
            self._over = self._loop.create_future()
            self._loop.call_later(seconds, self._go_on, self._over)

    def hold(self, work: Callable[..., None], *args: object) -> None:
        """Do it once the stall is over."""
        self._held.append((time.monotonic(), work, args))

    def _go_on(self, over: "asyncio.Future[None]") -> None:
        held, self._held = self._held, []
        self.on = False
        now = time.monotonic()
        for since, work, args in held:
            self._truth().delay("stall", now - since)
            work(*args)
        if not over.done():
            over.set_result(None)

    async def wait(self) -> None:
        """Return when the service no longer stands still."""
        over = self._over
        if self.on and over is not None:
            since = time.monotonic()
            await asyncio.shield(over)
            self._truth().delay("stall", time.monotonic() - since)
