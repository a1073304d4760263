"""Settings lead to the address, and to a sign-in that fails in a way that is counted."""

from dataclasses import replace

import pytest

from harness.config.target import parse_target
from harness.errors import ConnectFailed, ServiceError
from harness.guest.settings import GuestSettings

URL = "ws://127.0.0.1:8080/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"
SETTINGS = GuestSettings(target=parse_target(URL))


def test_the_address_is_the_targets() -> None:
    address = SETTINGS.address
    assert (address.host, address.port, address.tls) == ("127.0.0.1", 8080, None)


def test_a_sign_in_is_asked_for_anew_each_time_and_its_failure_is_the_services() -> None:
    assert SETTINGS.jwt() == ""
    assert replace(SETTINGS, sign_in="jwt").jwt() == "jwt"
    jwts = iter(["first", "second"])
    lasting = replace(SETTINGS, sign_in=lambda: next(jwts))
    assert (lasting.jwt(), lasting.jwt()) == ("first", "second")
    with pytest.raises(ServiceError, match="401: the sign-in failed: StopIteration"):
        lasting.jwt()

    def unreachable() -> str:
        raise ConnectFailed("tcp", "refused")

    with pytest.raises(ConnectFailed):
        replace(SETTINGS, sign_in=unreachable).jwt()


def test_a_guests_tag_goes_with_its_first_message() -> None:
    plain = replace(SETTINGS, custom_attributes={"runId": "r"})
    assert plain.first_attributes("token") == {"runId": "r"}
    tagged = replace(plain, tag_of=str.upper)
    assert tagged.first_attributes("token") == {"runId": "r", "guest": "TOKEN"}
