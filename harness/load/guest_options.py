"""How the guests of a run behave: pace, Join, history, sign-in, connections a minute.

Said on the command line or in the environment, or in the targets file for what belongs to a
deployment.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from harness.config.targets_file import Terms
from harness.errors import ConfigError
from harness.guest.rate_limit import DOCUMENTED, UNLIMITED, ConnectionBudget
from harness.guest.settings import GuestSettings, SignIn, read_sign_ins
from harness.ledger.tokens import guest_tag
from harness.preflight.stamp import Learned
from harness.protocol.names import CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE
from harness.units import duration_text, seconds

Meaning = TypeVar("Meaning")
LEAST_AGE_S = 0.5
"""Younger connections would hardly carry anything but their own making."""
LEAST_SILENCE_S, MOST_SILENCE_S = 0.05, 60.0
"""Of a turn: within less nobody could say more, and nobody waits for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOptions:
    """``connections_per_minute`` is the whole deployment's, 0 for no limit."""

    paced: bool = True
    connections_per_minute: int = 0
    history: bool = True
    auto_join: bool = False
    max_connection_age_s: float | None = None
    """0: never replaced by the guest; None: as the guest's class says"""
    replies: bool = True
    greets: bool | None = None
    """None: as the guest's class says, or else as a preflight has learnt"""
    learned_greets: bool | None = None
    turns: bool = False
    turn_silence_s: float = 1.0
    listen: bool = True
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
            max_connection_age_s=self.max_connection_age_s or 0.0,
            replies=self.replies,
            greets=self.learned_greets if self.greets is None else self.greets,
            turns=self.turns,
            turn_silence_s=self.turn_silence_s,
            custom_attributes={"runId": run_id},
            tag_of=guest_tag,
        )

    def of_guest(
        self,
        settings: GuestSettings,
        *,
        sign_in: SignIn,
        max_age_s: float,
        greets: bool | None = None,
    ) -> GuestSettings:
        """The run's settings with what is one guest's own; what was asked for wins."""
        own: dict[str, Any] = {"sign_in": sign_in} if sign_in else {}
        if max_age_s and self.max_connection_age_s is None:
            own["max_connection_age_s"] = max_age_s
        if greets is not None and self.greets is None:
            own["greets"] = greets
        return replace(settings, **own) if own else settings

    def sign_in_of(self, guest: int) -> str:
        """The JWT of guest number n, counted from 0 over all workers; empty where there are none.

        After the last comes the first again: at that time its customer's earlier session ends.
        """
        return self.sign_ins[guest % len(self.sign_ins)] if self.sign_ins else ""


def read_guest_options(
    parsed: argparse.Namespace, terms: Terms, learned: Learned | None = None
) -> GuestOptions:
    """What the options say, or else the target's terms, or what preflights have taught.

    Raises ConfigError.
    """
    paced = _one_of("--pace", parsed.pace, {"documented": True, "off": False})
    on_off = {"on": True, "off": False}
    joins = _one_of("--auto-join", parsed.auto_join, {**on_off, "": terms.auto_join})
    replies = {**on_off, "": True if terms.replies is None else terms.replies}
    greets: dict[str, bool | None] = {**on_off, "": terms.greets}
    # A flow that greets after Join may be silent before its first answer, and the other way round.
    same = learned is not None and learned.joined == joins
    many = learned is not None and (learned.turn_messages or 0) > 1
    turns = many if terms.turns is None else terms.turns
    file = Path(parsed.sign_ins) if parsed.sign_ins else terms.sign_ins
    return GuestOptions(
        paced=paced,
        connections_per_minute=_connections(parsed.connections, terms, paced=paced),
        history=_one_of("--history", parsed.history, on_off),
        auto_join=joins,
        max_connection_age_s=_max_age_s(parsed.max_connection_age),
        replies=_one_of("--replies", parsed.replies, replies),
        greets=_one_of("--greets", parsed.greets, greets),
        learned_greets=learned.greets if learned is not None and same else None,
        turns=_one_of("--turns", parsed.turns, {**on_off, "": turns}),
        turn_silence_s=_silence_s(parsed.turn_silence),
        listen=_one_of("--listen", parsed.listen, on_off),
        sign_ins=() if file is None else read_sign_ins(file),
    )


def _silence_s(text: str) -> float:
    silence_s = seconds(text, "--turn-silence")
    if not LEAST_SILENCE_S <= silence_s <= MOST_SILENCE_S:
        raise ConfigError(
            f"--turn-silence: expected a time from {duration_text(LEAST_SILENCE_S)} to "
            f"{duration_text(MOST_SILENCE_S)}, got {text!r}"
        )
    return silence_s


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


def _max_age_s(text: str) -> float | None:
    if not text or text == "off":
        return 0.0 if text else None
    return max_age_s(text, "--max-connection-age")


def max_age_s(text: str | float, what: str) -> float:
    """The age of a connection as people write it. Raises ConfigError naming ``what``."""
    age_s = seconds(text, what)
    if age_s < LEAST_AGE_S:
        least = duration_text(LEAST_AGE_S)
        raise ConfigError(f"{what}: expected {least} or more, got {text!r}")
    return age_s


def _one_of(option: str, text: str, meanings: Mapping[str, Meaning]) -> Meaning:
    if text not in meanings:
        words = " or ".join(word for word in meanings if word)
        raise ConfigError(f"{option}: expected {words}, got {text!r}")
    return meanings[text]
