"""What the validity matrix plants: what goes wrong with the service, the load or the generator.

Each plant says what a run must not claim. ``honest``: nothing is wrong, the run must PASS. Else, if
it has a ``cause``, the run must not PASS, and its words must say that cause. A plant with neither
is judged by the truth alone: the run may PASS if what really happened met the objectives.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import psutil

OPEN, CLOSED = WORKLOADS = ("open", "closed")
ONE, TWO = MODES = ("one process", "two")
WAITS, GOES_ON, OVERTAKEN, YAML = STORIES = ("waits", "does not wait", "is overtaken", "YAML")
PYTHON = (WAITS, GOES_ON, OVERTAKEN)
LENGTH_S = 6
"""How long guests arrive, and about how long a closed workload goes on."""


class Running(Protocol):
    """A run under way, as an act finds it."""

    main: psutil.Popen

    def generators(self) -> list[psutil.Process]:
        """The processes that play guests."""

    def command(self, *words: str) -> None:
        """``harness WORDS`` for the run that is going on."""

    @property
    def alive(self) -> bool:
        """Whether it is going on."""


@dataclass(frozen=True)
class Plant:
    name: str
    bot: tuple[str, ...] = ("--bot-delay", "50ms")
    faults: tuple[str, ...] = ()
    honest: bool = False
    cause: str = ""
    """What the words of the run must say (a regular expression, any case)."""
    run: tuple[str, ...] = ()
    """More options of ``harness run``."""
    door: str = ""
    """What stands before the service: ``tcp`` refuses connections, ``tls`` breaks handshakes."""
    rate: int = 300
    """Arrivals a minute, open."""
    slots: int = 40
    objectives: tuple[str, ...] = ("reply p95 < 1s", "session_open errors < 1%", "leftovers == 0")
    joins: bool = False
    turns: bool = False
    """The story waits for the whole turn."""
    attributes: str = ""
    top: str = ""
    before: str = ""
    """Of the task, before its guest."""
    last: str = ""
    """Of the story, as its last step."""
    act: Callable[[Running], None] | None = None
    workloads: tuple[str, ...] = WORKLOADS
    modes: tuple[str, ...] = MODES
    stories: tuple[str, ...] = STORIES
    verdicts: frozenset[str] = frozenset()
    """Which are right, if not just any but PASS."""
    figures: bool = True
    """Whether the reply figures can be set beside the truth: not where runs are torn apart."""


def stop_by_hand(running: Running) -> None:
    time.sleep(1)
    running.main.send_signal(signal.SIGINT)


def freeze(on_s: float, off_s: float) -> Callable[[Running], None]:
    """The generator stands still for ``on_s`` and goes on for ``off_s``, over and over."""

    def act(running: Running) -> None:
        until = time.monotonic() + LENGTH_S
        stopped: list[psutil.Process] = []
        try:
            while time.monotonic() < until and running.alive:
                stopped = running.generators()
                for one in stopped:
                    _send(one, signal.SIGSTOP)
                time.sleep(on_s)
                for one in stopped:
                    _send(one, signal.SIGCONT)
                time.sleep(off_s)
        finally:
            for one in stopped:
                _send(one, signal.SIGCONT)

    return act


def pause(running: Running) -> None:
    """No new guests for two seconds."""
    running.command("pause")
    time.sleep(2)
    running.command("pause", "--resume")


def lose_a_worker(running: Running) -> None:
    time.sleep(1)
    _send(running.generators()[0], signal.SIGKILL)


def _send(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(process.pid, number)


NOT_CONNECTED = r"not connected [1-9]|connects were refused"
UNANSWERED = r"never came|(timed out|unanswered|failed|lost|cut short|broken off|no answer) [1-9]"
DOUBT = r"answers are ambiguous|answers nothing they had asked|ambiguous [1-9]"
SLOW = r"(FAIL|NO_DATA) +reply p95"
QUICK = ("--bot-delay", "100ms", "--bot-gap", "100ms", "--greeting-delay", "20ms")
INVALID = frozenset({"INVALID"})
DIES = "import itertools\nNUMBER = itertools.count()\n"

PLANTS = (
    # nothing is wrong
    Plant("nothing", honest=True),
    Plant("each message twice, with one id", faults=("duplicate_reply=0.5",), honest=True),
    Plant(
        "lifelike, and the run says so",
        bot=("--bot", "lifelike", *QUICK),
        run=("--greets", "on", "--turn-silence", "500ms"),
        turns=True,
        stories=(WAITS,),
        honest=True,
    ),
    # who does not get in: from the second that the run's own look at the target is over
    Plant("TCP refused", door="tcp", cause=NOT_CONNECTED),
    Plant("TLS broken", door="tls", cause=NOT_CONNECTED),
    Plant("upgrade cut", faults=("cut=0.5,at=connect,from=0.5s",), cause=NOT_CONNECTED),
    Plant("503", faults=("refuse_503=0.5,from=0.5s",), cause=NOT_CONNECTED),
    Plant("403", faults=("refuse_403=0.5,from=0.5s",), cause=NOT_CONNECTED),
    Plant("429", faults=("refuse_429=0.5,from=0.5s",), cause=NOT_CONNECTED),
    Plant("configure fails", faults=("fail=0.5,at=configure",), cause=r"not configured [1-9]"),
    # who is not answered
    Plant("texts fail", faults=("fail=0.5,at=text",), cause=UNANSWERED),
    Plant("texts get 429", faults=("limit_any=0.15",), cause=UNANSWERED),
    Plant("no answer to 30 %", faults=("no_reply=0.3",), cause=UNANSWERED),
    Plant("the bot dies", faults=("no_reply=1,from=2s",), cause=UNANSWERED),
    Plant("the flow falls silent", faults=("silence=#20",), cause=UNANSWERED),
    Plant("cut at a text, and back again", faults=("cut=0.2,at=text",)),
    Plant(
        "late beyond patience",
        faults=("late_answer=0.2,seconds=4",),
        cause=rf"{UNANSWERED}|{DOUBT}|{SLOW}",
    ),
    Plant("answers of 1.5 s to 30 %", faults=("late_answer=0.3,seconds=1.5",)),
    Plant("the service stalls", faults=("stall=0.05,at=text,seconds=1.2",)),
    # whose message is it
    Plant(
        "a greeting on Join, slow answers",
        bot=("--bot-delay", "1200ms"),
        joins=True,
        cause=rf"{DOUBT}|{SLOW}|{UNANSWERED}",
    ),
    Plant(
        "a greeting on the first text, slow answers",
        bot=("--bot-greets", "text", "--greeting-delay", "30ms", "--bot-delay", "1200ms"),
        cause=rf"{DOUBT}|{SLOW}|{UNANSWERED}",
    ),
    Plant("a greeting on the first text", bot=("--bot-greets", "text", "--bot-delay", "100ms")),
    Plant("bubbles", bot=("--bot-delay", "300ms", "--bot-messages", "2", "--bot-gap", "700ms")),
    Plant("an agent interrupts", faults=("interruption=0.3,seconds=0.1",)),
    Plant("lifelike", bot=("--bot", "lifelike", *QUICK)),
    # the load that was asked for
    Plant("slots too few", slots=1, workloads=(OPEN,), cause=r"not offered", verdicts=INVALID),
    Plant(
        "slots die in on_start",
        top=DIES,
        attributes=(
            "    def on_start(self):\n        if next(NUMBER) % 4:\n"
            "            raise ValueError('no such account')\n"
        ),
        stories=PYTHON,
        cause=r"ValueError in guests\.py, line \d+",
        verdicts=INVALID,
    ),
    Plant(
        "an error before the guest",
        top=DIES,
        before="if next(NUMBER) % 4 == 0:\n            raise KeyError('price')\n        ",
        stories=PYTHON,
        cause=r"KeyError in guests\.py, line \d+",
        verdicts=INVALID,
    ),
    Plant(
        "a story quits the run",
        top=DIES,
        before="if next(NUMBER) == 8:\n            self.environment.runner.quit()\n        ",
        workloads=(OPEN,),
        stories=PYTHON,
        cause=r"schedule was cut",
    ),
    Plant(
        "a wait that nothing fits",
        last="guest.await_reply(within='500ms', containing='goodbye')",
        stories=PYTHON,
        cause=r"broken off [1-9].*line \d+",
    ),
    Plant(
        "stories longer than the end waits",
        run=("--stop-timeout", "1s"),
        last="guest.think('20s')",
        stories=PYTHON,
        cause=r"cut (short )?[1-9]|cut short by the end|had ended by itself|not offered",
    ),
    Plant("stopped by hand", act=stop_by_hand, workloads=(OPEN,), cause=r"cut by hand"),
    Plant("stopped by -t", run=("-t", "3s"), workloads=(OPEN,), cause=r"cut by the run time"),
    Plant("paused", act=pause, workloads=(OPEN,), cause=r"pause"),
    Plant(
        "too few samples", rate=40, objectives=("reply p99.9 < 1s",), cause=r"sample|measurement"
    ),
    # the generator
    Plant("frozen", act=freeze(1.0, 1.0), cause=r"generator lagged|stood still", verdicts=INVALID),
    Plant("starved", act=freeze(0.15, 0.2), cause=r"generator lagged", verdicts=INVALID),
    Plant(
        "a worker is lost",
        act=lose_a_worker,
        modes=(TWO,),
        cause=r"worker",
        verdicts=frozenset({"INVALID", "FAIL"}),
        figures=False,
    ),
)
