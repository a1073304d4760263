"""The service's words, as the vendor's SDKs list them."""

from harness.protocol import requests as names


def test_the_nine_actions_of_the_mobile_sdk_are_known() -> None:
    assert {"configureSession", "onMessage", "echo", "getJwt", "closeSession"} <= set(names.Action)
