"""Settings lead to the address."""

from harness.config import parse_target
from harness.guest.settings import GuestSettings


def test_the_address_is_the_targets() -> None:
    url = "ws://127.0.0.1:8080/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"
    address = GuestSettings(target=parse_target(url)).address
    assert (address.host, address.port, address.tls) == ("127.0.0.1", 8080, None)
