"""How the guests of a run conduct themselves: pace, Join, history, sign-in, connections a minute.

Said on the command line or in the environment, or in the targets file for what belongs to a
deployment.
"""

import argparse
import re
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import ConfigError
from harness.guest.budget import DOCUMENTED, UNLIMITED, ConnectionBudget
from harness.guest.settings import GuestSettings
from harness.ledger.tokens import guest_tag
from harness.protocol.names import CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE
from harness.targets import Terms
from harness.workload.reading import read_text

# Option, its environment variable, default, help. Locust's parser takes them.
OPTIONS = (
    ("--pace", "HARNESS_PACE", "documented", "'off': guests may exceed the service's limits"),
    (
        "--connections",
        "HARNESS_CONNECTIONS",
        "",
        "new connections a minute of all workers together, or 'off' (default: what the targets "
        "file says, or the documented 1000 for targets that are not on this machine)",
    ),
    ("--history", "HARNESS_HISTORY", "on", "'off': don't fetch missed messages after a reconnect"),
    (
        "--auto-join",
        "HARNESS_AUTO_JOIN",
        "",
        "'on': guests join when their session opens, as a widget does with autoStart",
    ),
    (
        "--sign-ins",
        "HARNESS_SIGN_INS",
        "",
        "file of JWTs, one a line: guests are signed in with them in turn",
    ),
)

_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """``connections_per_minute`` is the whole deployment's, 0 for no limit."""

    paced: bool = True
    connections_per_minute: int = 0
    history: bool = True
    auto_join: bool = False
    sign_ins: tuple[str, ...] = field(default=(), repr=False)
    """JWTs, each the key to a customer's account"""

    def settings(self, terms: Terms, *, workers: int, run_id: str) -> GuestSettings:
        """What the guests of one of n workers share. Raises ConfigError."""
        limit = self.connections_per_minute
        return GuestSettings(
            target=terms.target,
            tls=terms.target.tls_context(),
            budget=DOCUMENTED if self.paced else UNLIMITED,
            connections=ConnectionBudget(limit, share=1 / workers) if limit else None,
            history=self.history,
            auto_join=self.auto_join,
            custom_attributes={"runId": run_id},
            tag_of=guest_tag,
        )

    def sign_in_of(self, guest: int) -> str:
        """The JWT of guest number n, counted from 0 over all workers; empty where there are none.

        After the last comes the first again: at that time its customer's earlier session ends.
        """
        return self.sign_ins[guest % len(self.sign_ins)] if self.sign_ins else ""


def read_conduct(parsed: argparse.Namespace, terms: Terms) -> Conduct:
    """What the options say, or else the target's terms. Raises ConfigError."""
    paced = _one_of("--pace", parsed.pace, {"documented": True, "off": False})
    on_off = {"on": True, "off": False}
    joins = _one_of("--auto-join", parsed.auto_join, {**on_off, "": terms.auto_join})
    file = Path(parsed.sign_ins) if parsed.sign_ins else terms.sign_ins
    return Conduct(
        paced=paced,
        connections_per_minute=_connections(parsed.connections, terms, paced=paced),
        history=_one_of("--history", parsed.history, on_off),
        auto_join=joins,
        sign_ins=() if file is None else read_sign_ins(file),
    )


def read_sign_ins(file: Path) -> tuple[str, ...]:
    """The JWTs of a file. ConfigError names file and line and shows no secret."""
    lines = read_text(file).splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip() and not _JWT.fullmatch(line.strip()):
            raise ConfigError(f"{file}, line {number}: expected a JWT (three parts with dots)")
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise ConfigError(f"{file}: empty; expected JWTs, one a line")
    return found


def _connections(text: str, terms: Terms, *, paced: bool) -> int:
    if text == "off":
        return 0
    if text:
        if not text.isdecimal() or not int(text):
            raise ConfigError(f"--connections: expected a number above zero or off, got {text!r}")
        return int(text)
    if terms.connections_per_minute is not None:
        return terms.connections_per_minute
    return CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE if terms.guarded and paced else 0


def _one_of(option: str, text: str, meanings: dict[str, bool]) -> bool:
    if text not in meanings:
        words = " or ".join(word for word in meanings if word)
        raise ConfigError(f"{option}: expected {words}, got {text!r}")
    return meanings[text]
