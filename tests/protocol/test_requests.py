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
    checked = requests.health_check("T", "X")
    assert (checked["action"], checked["tracingId"]) == ("echo", "X")


def test_choices_name_what_was_chosen_and_from_which_picker() -> None:
    chosen = requests.choices("T", "X", [("Yes", "y")])["message"]
    assert chosen["type"] == "Structured"
    assert chosen["content"] == [
        {
            "contentType": "ButtonResponse",
            "buttonResponse": {"type": "QuickReply", "text": "Yes", "payload": "y"},
        }
    ]
    picked = requests.choices(
        "T", "X", [("T1", "T1")], button=requests.Button.DATE_PICKER, parent_id="m"
    )["message"]
    assert picked["metadata"] == {"id": "X", "parentMessageId": "m"}
    assert picked["content"][0]["buttonResponse"]["originatingMessageId"] == "m"


def test_an_authenticated_guest_configures_with_its_jwt() -> None:
    request = requests.configure_session("T", "D", "X", sign_in="jwt")
    assert request["action"] == "configureAuthenticatedSession"
    assert request["data"] == {"code": "jwt"}
    assert requests.configure_session("T", "D", "X", start_new=True)["startNew"] is True


def test_files_typing_history_and_closing() -> None:
    assert requests.announce_file("T", "X", "A", "a.png", "image/png", 3) == {
        "action": "onAttachment",
        "token": "T",
        "tracingId": "X",
        "attachmentId": "A",
        "fileName": "a.png",
        "fileType": "image/png",
        "fileSize": 3,
    }
    with_file = requests.text("T", "X", "", attachment_id="A")["message"]
    assert with_file["content"] == [{"contentType": "Attachment", "attachment": {"id": "A"}}]
    typing = requests.typing("T", "X")["message"]["events"]
    assert typing == [{"eventType": "Typing", "typing": {"type": "On"}}]
    assert requests.get_jwt("T", "X") == {"action": "getJwt", "token": "T", "tracingId": "X"}
    assert requests.close_session("T", "X")["closeAllConnections"] is True


def test_attributes_are_measured_in_bytes_of_keys_and_values() -> None:
    assert requests.attributes_size({"é": "ab", "c": ""}) == 5


def test_the_journey_id_is_made_again_from_the_token_and_does_not_lead_back() -> None:
    first, second = requests.journey_id("T"), requests.journey_id("U")
    assert first == requests.journey_id("T") != second
    request = requests.configure_session("T" * 40, "D", "X")
    request.pop("token")
    assert "T" * 40 not in str(request)
    assert request["journeyContext"]["customer"]["id"] == requests.journey_id("T" * 40)


def test_several_of_a_list_picker_in_one_message() -> None:
    request = requests.choices(
        "T",
        "X",
        [("Red", "1"), ("Blue", "2")],
        button=requests.Button.LIST_PICKER,
        parent_id="m-1",
    )
    message = request["message"]
    assert (message["type"], message["text"]) == ("Structured", "Red, Blue")
    assert message["metadata"] == {"id": "X", "parentMessageId": "m-1"}
    assert [part["buttonResponse"] for part in message["content"]] == [
        {"type": "ListPicker", "text": "Red", "payload": "1", "originatingMessageId": "m-1"},
        {"type": "ListPicker", "text": "Blue", "payload": "2", "originatingMessageId": "m-1"},
    ]
