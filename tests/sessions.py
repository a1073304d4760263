"""Opens sessions at the simulator and walks away from them, as a crashed client does."""

import time
import uuid
from pathlib import Path
from typing import Any

import gevent
from processes import Simulator

from harness.config.target import Terms, parse_target, resolve_target
from harness.guest.connection import Connection
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import Stage, Store, guest_tag
from harness.measure.recorder import Recorder
from harness.platform_api.client import Credentials, Places, PlatformApi
from harness.protocol.requests import text


def settings_for(simulator: Any, **more: Any) -> GuestSettings:
    """Impatient ones, so that tests of what does not answer are short."""
    return GuestSettings(
        target=parse_target(simulator.url), clear_within_s=0.5, close_within_s=0.2, **more
    )


def terms_of(url: str, folder: Path, more: str = "") -> Terms:
    """The target ``t`` of a file in ``folder``, with ``more`` of its keys."""
    file = folder / "targets.toml"
    file.write_text(f'[targets.t]\nurl = "{url}"\n{more}')
    return resolve_target("t", file)


def leave_open(simulator: Any, count: int, tokens: list[str] | None = None) -> list[str]:
    """The tokens of so many sessions whose guests have spoken and gone."""
    made = tokens or [str(uuid.uuid4()) for _ in range(count)]
    for token in made:
        line = Connection(settings_for(simulator), token, Recorder())
        line.connect()
        line.configure()
        line.say("hello")
        gevent.sleep(0.02)
        line.drop()
    return made


class Simulated:
    """A simulator with a Platform API, its queue and flow known."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.queue_id, self.flow_id = str(uuid.uuid4()), str(uuid.uuid4())

    def __enter__(self) -> "Simulated":
        places = ("--deployment", f"queue_id={self.queue_id}")
        places += ("--deployment", f"flow_id={self.flow_id}")
        self.simulator = Simulator("--limits", "off", *places, *self._options)
        self.url = self.simulator.url
        return self

    def __exit__(self, *_: object) -> None:
        self.simulator.stop()

    def api(self) -> PlatformApi:
        """A signed-in client."""
        return PlatformApi(
            Credentials(id="simulated-client", secret="simulated-secret"),
            Places.of(parse_target(self.url)),
        )


class Guest:
    """A guest of a run who has spoken; ``clear`` ends it."""

    def __init__(
        self, world: Any, run_id: str, *, texts: int = 1, token: str = "", wait: bool = True
    ) -> None:
        self.token = token or str(uuid.uuid4())
        self.tag = guest_tag(self.token)
        self.message_id = ""
        attributes = {"runId": run_id, "guest": self.tag}
        self._line = Connection(
            settings_for(world, custom_attributes=attributes),
            self.token,
            Recorder(),
            on_first_message=self._note,
        )
        self._line.connect()
        self._line.configure()
        for number in range(texts):
            if number:
                self._line.say("hello")
            else:
                first = text(
                    self.token, self._line.next_id(), "hello", custom_attributes=attributes
                )
                self._line.speak(first, "delivered", None)
            gevent.sleep(0.05 if texts > 1 else 0)
        deadline = time.monotonic() + 5
        while wait and not self.message_id and time.monotonic() < deadline:
            gevent.sleep(0.005)

    def _note(self, message_id: str) -> None:
        self.message_id = message_id

    def clear(self) -> None:
        """With proof."""
        assert self._line.clear(within_s=5).proof


def ledger_of(directory: Path, *guests: tuple[Guest, Stage], worker: str = "w") -> None:
    """A ledger file with these guests at these stages, ended in order."""
    store = Store(directory / f"ledger-{worker}.sqlite", {"worker": worker, "ended_ns": "9"})
    for row, (guest, stage) in enumerate(guests, start=1):
        store.write([(row, guest.token, Stage.INTENDED, 1, 1)], [], {})
        store.write([], [(stage, "", guest.message_id, 2, row)], {})
    store.close()
