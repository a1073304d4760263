"""What all guests of a run share."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.config import Target
from harness.transport.dial import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSettings:
    """The target and how long to wait for what (seconds).

    ``custom_attributes`` go with the first message of each conversation; they carry the run's id,
    by which its conversations can be found at the service afterwards.
    """

    target: Target
    tls: ssl.SSLContext | None = None
    connect_within_s: float = 10.0
    open_within_s: float = 10.0
    deliver_within_s: float = 30.0
    reply_within_s: float = 30.0
    clear_within_s: float = 5.0
    close_within_s: float = 1.0
    end_attempts: int = 3
    """How often a new connection is made to end a session whose connection was lost."""
    end_backoff_s: float = 0.5
    """Pause before the second of these attempts; it doubles each time."""
    custom_attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> Address:
        """Where to dial."""
        return Address(host=self.target.host, port=self.target.port, tls=self.tls)
