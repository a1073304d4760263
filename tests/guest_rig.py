"""Guests with a ledger against the simulator, and the comparison with what really happened."""

import uuid
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from harness.config.target import parse_target
from harness.guest.session import GuestSession
from harness.guest.settings import UNLIMITED, GuestSettings
from harness.ledger.ledger import Ledger, Store
from harness.ledger.reader import read_leftovers
from harness.measure.model import Outcome
from harness.measure.recorder import Collected, Recorder


class Rig:
    """Guests with a ledger, and the comparison of that ledger with the simulator's truth."""

    def __init__(self, simulator: Any, directory: Path) -> None:
        self.simulator = simulator
        self.directory = directory
        self.recorder = Recorder()
        self.store = Store(directory / "ledger-w.sqlite", {"worker": "w"})
        self.ledger = Ledger(self.store)
        self.settings = GuestSettings(
            target=parse_target(simulator.url),
            clear_within_s=0.5,
            close_within_s=0.3,
            end_backoff_s=0.05,
            reconnect_every_s=0.05,
            reconnect_within_s=1.0,
            budget=UNLIMITED,
            custom_attributes={"runId": "r-1"},
        )
        self.before = simulator.open_tokens()

    def guest(self, **settings: Any) -> GuestSession:
        names = {one.name for one in fields(GuestSettings)}
        return GuestSession(
            replace(self.settings, **{name: settings[name] for name in names & settings.keys()}),
            settings.get("token") or str(uuid.uuid4()),
            ledger=self.ledger,
            recorder=self.recorder,
            think_s=lambda: 0.01,
            due_ns=settings.get("due_ns"),
            run_kills=settings.get("run_kills", lambda: True),
        )

    def still_open(self) -> set[str]:
        return self.simulator.open_tokens() - self.before

    def leftovers(self) -> dict[str, str]:
        self.ledger.flush()
        return {left.token: left.reason for left in read_leftovers(self.directory)}

    def taken(self) -> Collected:
        """What was measured since the last call."""
        return self.recorder.take()

    def outcomes(self, operation: str) -> dict[Outcome, int]:
        return dict(self.taken().outcomes.get(operation, {}))

    def timeline(self, token: str) -> list[dict[str, Any]]:
        """What the simulator noted about a token's sessions."""
        sessions: list[dict[str, Any]] = self.simulator.ask(f"sessions/{token}")["sessions"]
        return sessions

    def disconnect(self, token: str) -> None:
        """The other side ends the conversation."""
        self.simulator.ask(f"sessions/{token}/disconnect", "POST")
