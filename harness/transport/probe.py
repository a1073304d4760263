"""Is there a guest API at this address that would let us in? Connects, upgrades, closes."""

from harness.config.target import Target
from harness.transport.dial import Address
from harness.transport.route import check_sources
from harness.transport.websocket import connect


class _Nobody:
    def on_frame(self, data: bytes, arrived_ns: int, seen_ns: int) -> None:
        """Nothing is expected."""

    def wake(self) -> None:
        """Nobody waits."""

    def on_end(self, code: int | None, reason: str) -> None:
        """It may end as it likes."""


def probe(target: Target, *, timeout_s: float = 10.0) -> dict[str, int]:
    """Upgrade and leave again; nanoseconds by phase.

    An upgrade without configureSession creates no session. Raises ConnectFailed, UpgradeRejected
    or ConfigError.
    """
    check_sources(target)
    address = Address.of(target, target.tls_context())
    websocket = connect(
        address, target.resource, _Nobody(), timeout_s=timeout_s, origin=target.origin
    )
    websocket.close(wait_s=0.5)
    return websocket.phases
