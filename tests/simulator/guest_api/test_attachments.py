"""Files: announced, uploaded, sent, fetched, deleted; and each way it is refused."""

from hashlib import md5

import pytest

from harness.simulator.settings import Knobs

FILE = {"fileName": "photo.png", "fileType": "image/png", "fileSize": 5}


async def announce(guest, **changes):
    fields = {key: value for key, value in {**FILE, **changes}.items() if value is not None}
    await guest.send(action="onAttachment", **fields)
    return await guest.next()


async def put(world, body, data: bytes) -> int:
    async with world.http.put(body["url"], data=data, headers=body["headers"]) as answer:
        return answer.status


async def uploaded(world, guest, data: bytes = b"12345") -> str:
    body = (await announce(guest, fileMd5=md5(data).hexdigest()))["body"]
    assert await put(world, body, data) == 200
    event = await guest.next()
    assert event["class"] == "UploadSuccessEvent"
    assert event["body"]["attachmentId"] == body["attachmentId"]
    return body["attachmentId"]


def test_upload_send_and_fetch(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        attachment = await uploaded(world, guest)
        content = [{"contentType": "Attachment", "attachment": {"id": attachment}}]
        await guest.send(action="onMessage", message={"content": content})
        shown = (await guest.next())["body"]
        assert shown["type"] == "Text"
        told = shown["content"][0]["attachment"]
        assert (told["id"], told["filename"], told["mediaType"], told["mime"]) == (
            attachment,
            "photo.png",
            "Image",
            "image/png",
        )
        await guest.send(action="getAttachment", attachmentId=attachment)
        fresh = (await guest.until("PresignedUrlResponse"))["body"]
        assert (fresh["headers"], fresh["fileSize"]) == ({}, 5)
        async with world.http.get(fresh["url"]) as answer:
            assert (answer.status, await answer.read()) == (200, b"12345")

    play(scenario)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fileName": "virus.exe"}, 4001),
        ({"fileSize": 10_485_761}, 4002),
        ({"fileName": "noextension"}, 4004),
        ({"fileName": "a/b.png"}, 4004),
        ({"fileName": "x" * 1024 + ".png"}, 4005),
        ({"fileSize": 0}, 4102),
    ],
)
@pytest.mark.parametrize(("form", "status"), [("response", 400), ("message", 200)])
def test_no_address_for_what_is_not_allowed(play, changes, code, form, status) -> None:
    async def scenario(world):
        guest = await world.ready()
        frame = await announce(guest, **changes)
        assert (frame["class"], frame["type"], frame["code"]) == ("GenerateUrlError", form, status)
        assert frame["body"]["errorCode"] == code

    play(scenario, knobs=Knobs(generate_url_error_form=form))


def test_attachments_switched_off(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        assert (await announce(guest))["body"]["errorCode"] == 4000

    play(scenario, deployment={"attachments": False})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fileName": None}, 4020),
        ({"fileSize": None}, 4020),
        ({"fileSize": "5"}, 400),
        ({"fileName": 5}, 400),
    ],
)
def test_missing_and_wrong_fields(play, changes, code) -> None:
    async def scenario(world):
        guest = await world.ready()
        assert (await announce(guest, **changes))["code"] == code

    play(scenario)


@pytest.mark.parametrize("code", [200, 400])
def test_content_that_is_not_what_was_announced(play, code) -> None:
    async def scenario(world):
        guest = await world.ready()
        body = (await announce(guest))["body"]
        await put(world, body, b"123456")
        event = await guest.next()
        assert (event["class"], event["code"]) == ("UploadFailureEvent", code)
        assert event["body"]["errorCode"] == 4003
        body = (await announce(guest, fileMd5=md5(b"other").hexdigest()))["body"]
        await put(world, body, b"12345")
        assert (await guest.next())["body"]["errorCode"] == 4003

    play(scenario, knobs=Knobs(upload_failure_code=code))


def test_an_address_is_good_only_as_it_was_given(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        body = (await announce(guest))["body"]
        assert await put(world, {**body, "headers": {}}, b"12345") == 403
        assert await put(world, {**body, "url": body["url"] + "0"}, b"12345") == 403
        for session in ("0", "x", "9" * 30):
            url = f"{world.base}/upload/{session}/{body['attachmentId']}?signature=1"
            assert await put(world, {**body, "url": url}, b"12345") == 403

    play(scenario)


def test_sending_what_is_not_there(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        announced = (await announce(guest))["body"]["attachmentId"]
        codes = []
        for wanted in ({"id": "nothing"}, {"id": announced}, "x", None):
            await guest.message(content=[{"contentType": "Attachment", "attachment": wanted}])
            codes.append((await guest.next())["code"])
        guest_session = next(iter(world.service.by_serial.values()))
        guest_session.attachments[announced].expires = 0.0
        await guest.message(
            content=[{"contentType": "Attachment", "attachment": {"id": announced}}]
        )
        codes.append((await guest.next())["code"])
        assert codes == [4009, 4010, 4009, 4009, 4008]

    play(scenario)


def test_deleting_only_what_was_not_sent(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        first, second = await uploaded(world, guest), await uploaded(world, guest)
        await guest.message(content=[{"contentType": "Attachment", "attachment": {"id": first}}])
        await guest.until("StructuredMessage")
        await guest.send(action="deleteAttachment", attachmentId=second)
        deleted = await guest.until("AttachmentDeletedResponse")
        assert deleted["body"] == {"attachmentId": second}
        for gone in (first, second, 7):
            await guest.send(action="deleteAttachment", attachmentId=gone)
            assert (await guest.until(lambda f: f["code"] != 200))["code"] == 4009

    play(scenario)


def test_content_is_kept_only_while_there_is_room(play, capsys) -> None:
    async def scenario(world):
        guest = await world.ready()
        await uploaded(world, guest)
        await uploaded(world, guest)
        assert world.service.uploaded_bytes == 5
        await guest.clear()
        assert world.service.uploaded_bytes == 0

    play(scenario, knobs=Knobs(keep_upload_bytes=8))
    assert "keep_upload_bytes" in capsys.readouterr().err
