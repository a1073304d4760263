"""The service's words, as the vendor's SDKs list them."""

from harness.protocol import requests as names


def test_the_nine_actions_of_the_mobile_sdk_are_known() -> None:
    assert {"configureSession", "onMessage", "echo", "getJwt", "closeSession"} <= set(names.Action)


def test_the_documented_limits() -> None:
    assert names.MAX_TEXT_BYTES == 4096
    assert names.MAX_CUSTOM_ATTRIBUTE_BYTES == 2048
    assert names.CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE == 1000
