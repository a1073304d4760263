"""Scenarios that make the service say each of its frames once: name → (source, frame).

The sources: K is the vendor's mobile SDK and its tests, J the vendor's Java SDK and its schema,
O the fixtures of ovotech's tester (taken from real interactions), HL notes on live sessions,
INF our own inference. What varies from run to run is replaced by its kind.
"""

import re
from hashlib import md5

from harness.simulator.dialogue import Dialogue, Turn
from harness.simulator.options import read_limits
from harness.simulator.settings import AgentSettings, BotSettings, Knobs

VARYING = (
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "<jwt>"),
    (re.compile(r"http://127\.0\.0\.1:\d+/"), "https://store.example/"),
    (re.compile(r"signature=[0-9a-f]{32}"), "signature=<signature>"),
    (re.compile(r"/(upload|download)/\d+/"), r"/\1/<session>/"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<hex32>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<hex16>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
)
CARD = {"title": "Shoe", "actions": [{"type": "Postback", "text": "Buy", "payload": "buy"}]}
TIMES = [{"dateTime": "2026-12-01T10:00:00Z", "duration": 900}]
SECTION = {"title": "Sizes", "multipleSelection": False, "items": [{"id": "1", "title": "42"}]}
PROMPT = {"title": "Please choose"}
LIST = {"sections": [SECTION], "receivedMessage": PROMPT, "replyMessage": PROMPT}
FORM = {"title": "Your details", "cannedResponseId": "c-1", "formPages": []}
RICH = {
    "quick_reply": {
        "contentType": "QuickReply",
        "quickReply": {"text": "Yes", "payload": "yes", "action": "Message"},
    },
    "card": {"contentType": "Card", "card": CARD},
    "carousel": {"contentType": "Carousel", "carousel": {"cards": [CARD]}},
    "date_picker": {
        "contentType": "DatePicker",
        "datePicker": {"title": "When?", "availableTimes": TIMES},
    },
    "list_picker": {"contentType": "ListPicker", "listPicker": LIST},
    "form": {"contentType": "Form", "form": FORM},
}
FILE = {"fileName": "photo.png", "fileType": "image/png", "fileSize": 5}
SILENT = BotSettings(on=False)


def plain(value):
    """``value`` with everything that varies replaced by its kind."""
    if isinstance(value, dict):
        return {
            key: _epoch(item) if key in ("exp", "expirationDate") else plain(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        for pattern, kind in VARYING:
            value = pattern.sub(kind, value)
    return value


def _epoch(value) -> str:
    return "<epoch as text>" if isinstance(value, str) else "<epoch>"


async def talk(world, found) -> None:
    """A conversation from the first frame to Clear."""
    guest = await world.guest()
    found["session_new"] = ("HL, K", await guest.configure())
    found["session_resumed"] = ("K", await guest.configure())
    await guest.presence("Join")
    found["join_echo"] = ("K", await guest.next())
    await guest.until(lambda f: f["body"].get("direction") == "Outbound")
    await guest.say("hello", metadata={"id": "m-1"})
    found["text_echo"] = ("HL, O", await guest.next())
    found["text_reply"] = ("HL, O", await guest.next())
    for name in RICH:
        await guest.say(name)
        await guest.next()
        found[f"rich_{name}"] = ("K, J", await guest.next())
    button = {"type": "QuickReply", "text": "Yes", "payload": "yes"}
    content = [{"contentType": "ButtonResponse", "buttonResponse": button}]
    await guest.message(type="Structured", text="Yes", content=content)
    found["quick_reply_echo"] = ("HL, K", await guest.next())
    await guest.next()
    await guest.send(action="echo", message={"type": "Text", "text": "ping"})
    found["health_check"] = ("K", await guest.next())
    await guest.send(action="getJwt")
    found["jwt"] = ("K", await guest.next())
    await guest.send(action="resumeToken")
    found["resume_token"] = ("J", await guest.next())
    await guest.send(action="getConfiguration", deploymentId=next(iter(world.service.deployments)))
    found["configuration"] = ("J", await guest.next())
    echo, cleared, closed = await guest.clear()
    found["clear_echo"] = ("K, HL", echo)
    found["session_cleared"] = ("K", cleared)
    found["connection_closed"] = ("K", closed)


async def files(world, found) -> None:
    """Attachments, and each refusal of one."""
    guest = await world.ready()

    async def announce(**changes):
        await guest.send(action="onAttachment", **{**FILE, **changes})
        return await guest.next()

    async def put(frame, data: bytes) -> None:
        body = frame["body"]
        async with world.http.put(body["url"], data=data, headers=body["headers"]) as answer:
            assert answer.status == 200

    async def send(attachment_id: str):
        part = {"contentType": "Attachment", "attachment": {"id": attachment_id}}
        await guest.message(content=[part])
        return await guest.next()

    upload = await announce(fileMd5=md5(b"12345").hexdigest())
    found["upload_address"] = ("K", upload)
    wanted = upload["body"]["attachmentId"]
    found["error_4010"] = ("K", await send(wanted))
    await put(upload, b"12345")
    found["upload_success"] = ("K", await guest.next())
    await put(await announce(), b"123456")
    found["upload_failure_4003"] = ("K, J", await guest.next())
    found["attachment_echo"] = ("HL", await send(wanted))
    await guest.send(action="getAttachment", attachmentId=wanted)
    found["download_address"] = ("K", await guest.next())
    for code, changes in (
        (4001, {"fileName": "virus.exe"}),
        (4002, {"fileSize": 99_000_000}),
        (4004, {"fileName": "noextension"}),
        (4005, {"fileName": "x" * 1100 + ".png"}),
        (4102, {"fileSize": 0}),
    ):
        found[f"url_error_{code}"] = ("K, J, HL", await announce(**changes))
    unsent = await announce()
    await guest.send(action="deleteAttachment", attachmentId=unsent["body"]["attachmentId"])
    found["attachment_deleted"] = ("K", await guest.next())
    found["error_4009"] = ("K", await send("nothing"))
    expired = (await announce())["body"]["attachmentId"]
    next(iter(world.service.by_serial.values())).attachments[expired].expires = 0.0
    found["error_4008"] = ("K", await send(expired))


async def refusals(world, found) -> None:
    """Errors with a string body."""
    guest = await world.guest()
    await guest.ws.send_str("nonsense")
    found["gateway_forbidden"] = ("INF", await guest.next())
    await guest.say("hello")
    found["error_4007"] = ("K", await guest.next())
    await guest.send(action="configureSession")
    found["error_4020"] = ("K", await guest.next())
    await guest.configure()
    for name, source, sending in (
        ("error_400", "K", guest.message(type="Text", text=7)),
        ("error_4011", "K, HL", guest.say("x" * 5000)),
        (
            "error_4013",
            "K",
            guest.say("x", channel={"metadata": {"customAttributes": {"a": "x" * 3000}}}),
        ),
    ):
        await sending
        found[name] = (source, await guest.next())
    for code in (404, 408, 5000):
        world.service.faults.replace({"fail": f"1,code={code}"})
        await guest.say("hello")
        found[f"error_{code}"] = ("K", await guest.next())
    world.service.faults.replace({"unknown_class": 1})
    await guest.say("hello")
    found["unknown_class"] = ("INF", await guest.next())


async def forbidden(world, found) -> None:
    """With Clear, typing and attachments switched off."""
    guest = await world.ready()
    await guest.presence("Clear")
    found["error_403_clear"] = ("K", await guest.next())
    await guest.message(type="Event", events=[{"eventType": "Typing", "typing": {"type": "On"}}])
    found["error_403_typing"] = ("K", await guest.next())
    await guest.send(action="onAttachment", **FILE)
    found["url_error_4000"] = ("K", await guest.next())


async def read_only(world, found) -> None:
    """Ended by the other side."""
    guest = await world.ready()
    await guest.say("hello")
    await guest.next()
    await world.call("POST", f"/sim/sessions/{guest.token}/disconnect")
    found["disconnect_read_only"] = (
        "ovotech/genesys-web-messaging-tester#165, live",
        await guest.next(),
    )
    await guest.say("still there?")
    found["error_409"] = ("ovotech/genesys-web-messaging-tester#165, live", await guest.next())
    found["session_read_only"] = ("K", await guest.configure())
    await guest.send(action="closeSession", closeAllConnections=True)
    found["session_closed"] = ("K", await guest.next())


async def agent(world, found) -> None:
    """An agent's typing and text, and the end of it."""
    guest = await world.ready()
    await guest.presence("Join")
    await guest.next()
    found["typing"] = ("K", await guest.next())
    found["agent_text"] = ("HL", await guest.next())
    await world.call("POST", f"/sim/sessions/{guest.token}/disconnect")
    found["disconnect_send"] = ("K", await guest.next())


async def signed_in(world, found) -> None:
    """Authenticated guests."""
    base = "/api/v2/webdeployments/token"
    deployment = next(iter(world.service.deployments))
    body = {"deploymentId": deployment, "oauth": {"code": "ann"}}
    _, pair = await world.call("POST", f"{base}/oauthcodegrantjwtexchange", json=body)
    _, bob = await world.call(
        "POST",
        f"{base}/oauthcodegrantjwtexchange",
        json={"deploymentId": deployment, "oauth": {"code": "bob"}},
    )

    async def configure(guest, jwt: str) -> None:
        await guest.send(
            action="configureAuthenticatedSession", deploymentId=deployment, data={"code": jwt}
        )

    guest = await world.ready()
    other = await world.ready(guest.token)
    await configure(guest, "nonsense")
    found["error_401"] = ("K", await guest.next())
    await configure(guest, pair["jwt"])
    found["sign_in_echo"] = ("K", await guest.next())
    found["connection_closed_signed_in"] = ("K", await other.until("ConnectionClosedEvent"))
    await guest.until("SessionResponse")
    await configure(guest, bob["jwt"])
    found["error_403_again"] = ("K", await guest.next())
    await guest.send(action="configureSession", deploymentId=deployment)
    found["error_4017"] = ("K", await guest.next())
    elsewhere = await world.guest()
    await configure(elsewhere, pair["jwt"])
    found["session_cleared_existing"] = ("K", await elsewhere.next())
    await world.call("DELETE", f"{base}/revoke", headers={"Authorization": f"bearer {pair['jwt']}"})
    found["logout"] = ("K", await elsewhere.next())


async def sign_in_forbidden(world, found) -> None:
    """The deployment does not know sign-in."""
    guest = await world.guest()
    deployment = next(iter(world.service.deployments))
    await guest.send(
        action="configureAuthenticatedSession", deploymentId=deployment, data={"code": "x"}
    )
    found["error_403_authentication"] = ("K", await guest.next())


async def limited(world, found) -> None:
    """Too fast."""
    guest = await world.ready()
    await guest.say("one")
    await guest.next()
    await guest.say("two")
    found["too_many_requests"] = ("K", await guest.next())
    await guest.configure()
    await guest.send(action="configureSession", deploymentId=next(iter(world.service.deployments)))
    found["too_many_configures"] = ("K issue 347, live", await guest.next())


async def expired(world, found) -> None:
    """Out of time."""
    guest = await world.ready()
    await world.when(lambda: world.service.truth.whole.sessions_expired == 1)
    await guest.send(action="echo", message={})
    found["session_expired"] = ("K, J", await guest.next())
    await guest.say("hello")
    found["error_4006"] = ("K", await guest.next())


async def as_class(world, found) -> None:
    """Errors as the schema has them."""
    guest = await world.guest()
    await guest.say("hello")
    found["error_class"] = ("J", await guest.next())


SCRIPT = Dialogue(
    Turn(({"text": "Welcome"},)),
    Turn(({"text": "You said: {text}"},)),
    tuple(
        (re.compile(f"^{name}$"), Turn(({"type": "Structured", "text": "", "content": [content]},)))
        for name, content in RICH.items()
    ),
)
SCENARIOS = (
    (talk, {"bot": BotSettings(dialogue=SCRIPT)}),
    (files, {"bot": SILENT}),
    (refusals, {"bot": SILENT}),
    (
        forbidden,
        {"deployment": {"conversation_clear": False, "typing": False, "attachments": False}},
    ),
    (read_only, {"bot": SILENT, "deployment": {"disconnect": "read_only"}}),
    (
        agent,
        {"bot": SILENT, "agents": AgentSettings(number=1), "deployment": {"disconnect": "send"}},
    ),
    (signed_in, {"deployment": {"authentication": True, "session_upgrade": True}}),
    (sign_in_forbidden, {}),
    (
        limited,
        {
            "bot": SILENT,
            "limits": read_limits(
                "off",
                {"messages_per_session_per_second": "1", "configures_per_session_per_minute": "2"},
            ),
        },
    ),
    (expired, {"deployment": {"session_duration_s": 0.1}}),
    (as_class, {"knobs": Knobs(error_class="Error")}),
)
