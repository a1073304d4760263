"""How much happens in one turn of the event loop: what takes too long there holds up all guests."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent


class Turns:
    """The portions in which a number has grown, turn after turn."""

    def __init__(self, number: Callable[[], int]) -> None:
        self._number = number
        self._last = number()
        self.portions: list[int] = []

    def look(self) -> None:
        now = self._number()
        if now > self._last:
            self.portions.append(now - self._last)
        self._last = now


@contextmanager
def turns(number: Callable[[], int]) -> Iterator[Turns]:
    """Look at a number in each turn of the loop.

    gevent goes on with what is due at once until the interpreter's switch interval is over, and
    looks at the clock after every fifty: without that time the portions do not hang on the machine.
    """
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    gevent.sleep(0.001)  # what is due at once by now may still go on for as long as before
    counted = Turns(number)
    watcher = gevent.get_hub().loop.check()
    watcher.start(counted.look)
    try:
        yield counted
    finally:
        sys.setswitchinterval(interval_s)
        watcher.stop()
        watcher.close()
        counted.look()
