"""Requests have exactly the shape that the vendor's own clients send."""

import orjson

from harness.protocol import requests


def test_configure_session() -> None:
    request = requests.configure_session("T", "D", "X")
    assert request["action"] == "configureSession"
    assert (request["token"], request["deploymentId"], request["tracingId"]) == ("T", "D", "X")
    assert request["startNew"] is False


def test_text_carries_its_attributes_in_the_channel_of_the_message() -> None:
    request = requests.text("T", "X", "Hello", custom_attributes={"runId": "r-1"})
    assert request["message"] == {
        "type": "Text",
        "text": "Hello",
        "metadata": {"id": "X"},
        "channel": {"metadata": {"customAttributes": {"runId": "r-1"}}},
    }
    assert "channel" not in request
    assert "channel" not in requests.text("T", "X", "Hello")["message"]


def test_clear_is_the_documented_bytes() -> None:
    assert orjson.dumps(requests.clear("T", "X")) == (
        b'{"action":"onMessage","token":"T","tracingId":"X","message":{"type":"Event",'
        b'"events":[{"eventType":"Presence","presence":{"type":"Clear"}}]}}'
    )


def test_join_and_health_check() -> None:
    joined = requests.join("T", "X", custom_attributes={"guest": "7"})["message"]
    assert joined["events"][0]["presence"] == {"type": "Join"}
    assert joined["channel"]["metadata"]["customAttributes"] == {"guest": "7"}
    assert requests.health_check("T")["tracingId"] == "SGVhbHRoQ2hlY2tNZXNzYWdlSWQ="
