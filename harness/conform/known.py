"""Every frame of the service that is known: classes, fields, types, words.

From the vendor's mobile transport SDK and its published schema of the service (Java SDK 18.1), and
from frames that others have seen live; the simulator's own frames are held against this by a test.
A field that is missing or null is fine unless it is needed: the vendor's clients take both.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.protocol.names import MessageClass

Path = tuple[str, ...]


class Odd(NamedTuple):
    """Something that is not known: where, what kind of thing, and what was there.

    ``there`` names types and words of a protocol, never a text of somebody's.
    """

    path: Path
    kind: str
    there: str


WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
UNKNOWN_FIELD, WRONG_TYPE, UNKNOWN_VALUE = "unknown field", "another type", "unknown value"


@dataclass(frozen=True, slots=True)
class Text:
    """A string; with ``words`` one of them, with ``form`` one that looks like that."""

    words: frozenset[str] = frozenset()
    form: re.Pattern[str] | None = None
    named: str = "a text"

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about a value."""
        if not isinstance(value, str):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of {self.named}")
        elif self.words and value not in self.words:
            yield Odd(path, UNKNOWN_VALUE, shown(value))
        elif self.form is not None and not self.form.fullmatch(value):
            yield Odd(path, UNKNOWN_VALUE, f"{self.named} in another form: {outline(value)}")


@dataclass(frozen=True, slots=True)
class Number:
    """A number; with ``whole`` one without a fraction."""

    whole: bool = False

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about a value."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of a number")
        elif self.whole and value != int(value):
            yield Odd(path, WRONG_TYPE, "a fraction in place of a whole number")


@dataclass(frozen=True, slots=True)
class Truth:
    """``true`` or ``false``."""

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about a value."""
        if not isinstance(value, bool):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of true or false")


@dataclass(frozen=True, slots=True)
class Anything:
    """What nobody looks at."""

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """Nothing is odd about it."""
        del value, path
        return iter(())


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one kind."""

    item: "Form"

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about it, once for all its items."""
        if not isinstance(value, list):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of a list")
            return
        for item in value:
            yield from self.item.check(item, (*path[:-1], f"{path[-1]}[]"))


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object whose keys are anybody's and whose values are of one kind."""

    item: "Form"

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about its values; keys are not shown, they may be somebody's."""
        if not isinstance(value, dict):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of an object")
            return
        for item in value.values():
            yield from self.item.check(item, (*path, "*"))


@dataclass(frozen=True, slots=True)
class Object:
    """An object with known keys; null stands for a key that is missing."""

    fields: Mapping[str, "Form"]
    needed: tuple[str, ...] = ()

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about it and within it."""
        if not isinstance(value, dict):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of an object")
            return
        for key, inner in value.items():
            form = self.fields.get(key)
            if form is None:
                yield Odd((*path, shown(key)), UNKNOWN_FIELD, kind_of(inner))
            elif inner is not None:
                yield from form.check(inner, (*path, key))
        for key in self.needed:
            if value.get(key) is None:
                yield Odd((*path, key), "missing field", "nothing")


Form = Text | Number | Truth | Anything | ListOf | MapOf | Object


def kind_of(value: Any) -> str:
    """The type of a JSON value in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "a text" if isinstance(value, str) else "a number"


def shown(value: str) -> str:
    """A word of a protocol as it is; of anything else the length."""
    return value if WORD.fullmatch(value) else f"<text of {len(value)}>"


def outline(value: str) -> str:
    """The form of a short text: digits as 9, letters as x, the rest as it is."""
    if len(value) > 48:
        return f"<text of {len(value)}>"
    return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", value))


CLOSE_CODES = frozenset({1000, 1001, 1005, 1006, 1009, 1011})
"""Closes that a guest understands: normal, going away, none given, cut, too big, server's error."""
ERROR_CODES = frozenset(
    {400, 401, 403, 404, 408, 409, 429, 4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4009}
    | {4010, 4011, 4013, 4017, 4020, 4029, 4102, 500, 502, 503, 504, 5000}
)
"""Codes of errors, in the envelope or as ``errorCode``."""
CLEAR_ORDER = ("echo", "SessionClearedEvent", "ConnectionClosedEvent")
"""In which order Clear is answered (the vendor's own design of its mobile SDK)."""


def _words(text: str) -> Text:
    return Text(words=frozenset(text.split()))


text, whole, number, truth, anything = Text(), Number(whole=True), Number(), Truth(), Anything()
texts = MapOf(text)
TIME = Text(
    form=re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    named="a time such as 2026-01-31T12:00:00.000Z",
)
ID = Text(named="an id")

_RECIPIENT = Object(
    {key: text for key in ("firstName", "lastName", "nickname", "image")}
    | {"id": ID, "idType": _words("Email Opaque Phone Topic"), "email": text}
)
_CHANNEL = Object(
    {
        "time": TIME,
        "type": _words("Private Public"),
        "messageId": ID,
        "from": _RECIPIENT,
        "to": _RECIPIENT,
        "metadata": Object({"customAttributes": texts}),
    }
)
_SHORT_MESSAGE = Object(
    {key: text for key in ("title", "subtitle", "imageUrl", "header", "buttonLabel")}
)
_ACTION = Object(
    {"type": _words("Link Postback"), "text": text, "payload": text, "url": text},
)
_CARD = Object(
    {
        "title": text,
        "description": text,
        "image": text,
        "video": text,
        "defaultAction": _ACTION,
        "actions": ListOf(_ACTION),
    }
)
_LOCATION = Object(
    {"text": text, "address": text, "latitude": number, "longitude": number, "url": text}
)
_DATE_PICKER = Object(
    {
        "id": ID,
        "title": text,
        "subtitle": text,
        "imageUrl": text,
        "location": _LOCATION,
        "availableTimes": ListOf(Object({"dateTime": text, "duration": number})),
        "dateMinimum": text,
        "dateMaximum": text,
        "dateDisplayFormat": _words("dayMonthYear monthDayYear yearMonthDay"),
    }
)
_PICKED = Object({"id": ID, "title": text, "subtitle": text, "imageUrl": text, "value": text})
_LIST_PICKER = Object(
    {
        "id": ID,
        "receivedMessage": _SHORT_MESSAGE,
        "replyMessage": _SHORT_MESSAGE,
        "sections": ListOf(
            Object({"title": text, "multipleSelection": truth, "items": ListOf(_PICKED)})
        ),
    }
)
_INPUT = Object(
    {
        "id": ID,
        "title": text,
        "subtitle": text,
        "placeholderText": text,
        "isRequired": truth,
        "isMultipleLine": truth,
        "keyboardType": text,
        "autoCompleteType": text,
    }
)
_BUTTON_RESPONSE = Object(
    {
        "id": ID,
        "type": _words("Button DatePicker Form ListPicker QuickReply"),
        "text": text,
        "payload": text,
        "originatingMessageId": ID,
    }
)
_FORM = Object(
    {
        "cannedResponseId": ID,
        "originatingMessageId": ID,
        "showSummary": truth,
        "receivedMessage": _SHORT_MESSAGE,
        "replyMessage": _SHORT_MESSAGE,
        "introduction": Object(
            {key: text for key in ("title", "subtitle", "imageUrl", "buttonText")}
        ),
        "formPages": ListOf(
            Object(
                {
                    "title": text,
                    "subtitle": text,
                    "pageComponents": ListOf(
                        Object(
                            {
                                "formComponentType": _words(
                                    "DatePicker Input ListPicker WheelPicker"
                                ),
                                "datePicker": _DATE_PICKER,
                                "input": _INPUT,
                                "listPicker": _LIST_PICKER,
                                "wheelPicker": Object({"id": ID, "items": ListOf(_PICKED)}),
                            }
                        )
                    ),
                }
            )
        ),
        "response": ListOf(anything),
    }
)
_QUICK_REPLY = Object(
    {
        "id": ID,
        "text": text,
        "payload": text,
        "action": _words("Message"),
        "image": text,
        "summaryText": text,
    }
)
_ATTACHMENT = Object(
    {
        "id": ID,
        "url": text,
        "filename": text,
        "fileSize": number,
        "contentSizeBytes": number,
        "mediaType": _words("Audio File Image Link Video"),
        "mime": text,
        "sha256": text,
        "text": text,
    }
)
_CONTENT = Object(
    {
        "contentType": _words(
            "Attachment ButtonResponse Card Carousel DatePicker Form ListPicker Location "
            "QuickReply QuickReplyV2 Text"
        ),
        "attachment": _ATTACHMENT,
        "buttonResponse": _BUTTON_RESPONSE,
        "card": _CARD,
        "carousel": Object({"cards": ListOf(_CARD)}),
        "datePicker": _DATE_PICKER,
        "form": _FORM,
        "listPicker": _LIST_PICKER,
        "location": _LOCATION,
        "quickReply": _QUICK_REPLY,
        "quickReplyV2": Object({"title": text, "actions": ListOf(_QUICK_REPLY)}),
        "text": Object({"type": _words("Text"), "body": text}),
    },
    needed=("contentType",),
)
_OFFER = _words("Offering OfferingAccepted OfferingExpired OfferingRejected")
_EVENT = Object(
    {
        "eventType": _words("CoBrowse Presence Reactions Typing Video"),
        "presence": Object(
            {
                "type": _words(
                    "Authenticate AuthenticateCancel AuthenticateFailure Clear Disconnect Join "
                    "SessionExpired SignIn"
                ),
                "receivedMessage": _SHORT_MESSAGE,
                "replyMessage": _SHORT_MESSAGE,
            }
        ),
        # Named duration in the SDK and in the schema, durationMs on one page of the vendor's.
        "typing": Object({"type": _words("On"), "duration": number, "durationMs": number}),
        "coBrowse": Object({"type": _OFFER, "sessionId": ID, "sessionJoinToken": text}),
        "video": Object({"type": _OFFER, "offeringId": ID, "jwt": text}),
        "reactions": ListOf(anything),
    },
    needed=("eventType",),
)
_MESSAGE = Object(
    {
        "type": _words("Event Message Receipt Structured Text"),
        "direction": _words("Inbound Outbound"),
        "text": text,
        "id": ID,
        "channel": _CHANNEL,
        "content": ListOf(_CONTENT),
        "events": ListOf(_EVENT),
        "metadata": texts,
        # Empty, as on echoes of the guest's own texts, is a word too.
        "originatingEntity": Text(words=frozenset({"Bot", "Human", ""})),
        "status": _words("Delivered Failed Published Read Removed Sent"),
        "tracingId": ID,
    },
    needed=("type",),
)
_MEDIA = Object(
    {
        "inbound": Object(
            {"fileTypes": ListOf(Object({"type": text})), "maxFileSizeKB": number},
        )
    }
)
_ERROR = Object(
    {
        "errorCode": whole,
        "errorMessage": text,
        "message": text,
        "name": text,
        "stack": text,
        "retryAfter": number,
        "attachmentId": ID,
        "timestamp": text,
        "tracingId": ID,
    }
)
_NOTHING = Object({"tracingId": ID})

BODIES: dict[str, Form] = {
    MessageClass.STRING: text,
    MessageClass.SESSION_RESPONSE: Object(
        {
            "connected": truth,
            "newSession": truth,
            "readOnly": truth,
            "clearedExistingSession": truth,
            "autoStarted": truth,
            "allowedMedia": _MEDIA,
            "blockedExtensions": ListOf(text),
            "maxCustomDataBytes": number,
            "durationSeconds": number,
            "expirationDate": number,
            "tracingId": ID,
        },
        needed=("connected",),
    ),
    MessageClass.STRUCTURED_MESSAGE: _MESSAGE,
    MessageClass.PRESIGNED_URL_RESPONSE: Object(
        {
            "attachmentId": ID,
            "headers": texts,
            "url": text,
            "fileName": text,
            "fileSize": number,
            "fileType": text,
            "tracingId": ID,
        },
        needed=("attachmentId", "url"),
    ),
    MessageClass.ATTACHMENT_DELETED_RESPONSE: Object({"attachmentId": ID, "tracingId": ID}),
    MessageClass.UPLOAD_FAILURE_EVENT: _ERROR,
    MessageClass.UPLOAD_SUCCESS_EVENT: Object(
        {"attachmentId": ID, "downloadUrl": text, "timestamp": text, "tracingId": ID}
    ),
    # Its field is reason in the mobile SDK and reasonCode in the schema.
    MessageClass.CONNECTION_CLOSED_EVENT: Object(
        {"reason": text, "reasonCode": text, "tracingId": ID}
    ),
    MessageClass.LOGOUT_EVENT: _NOTHING,
    MessageClass.SESSION_EXPIRED_EVENT: _NOTHING,
    MessageClass.SESSION_CLEARED_EVENT: _NOTHING,
    MessageClass.JWT_RESPONSE: Object(
        {"jwt": text, "exp": number, "tracingId": ID}, needed=("jwt", "exp")
    ),
    MessageClass.GET_CONFIGURATION_RESPONSE: Object(
        {
            "allowedMedia": _MEDIA,
            "blockedExtensions": ListOf(text),
            "maxCustomDataBytes": number,
            "messageRoutingEnabled": truth,
            "sessionDurationSeconds": number,
            "tracingId": ID,
        }
    ),
    MessageClass.GENERATE_URL_ERROR: _ERROR,
    MessageClass.TOO_MANY_REQUESTS: _ERROR,
    MessageClass.RESUME_TOKEN_RESPONSE: Object(
        {"resumeToken": text, "exp": number, "tracingId": ID}
    ),
    MessageClass.ERROR: _ERROR,
    "ErrorMessage": _ERROR,  # named on the vendor's developer pages, not in its schema
}
"""The body of each class."""
FAILED = _ERROR
"""The body of an error of any class, where it is no text."""

ENVELOPE = Object(
    {
        "type": _words("message response"),
        "class": text,
        "code": whole,
        "body": anything,
        "tracingId": ID,
    },
    needed=("type", "class", "code"),
)
