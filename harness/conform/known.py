"""Every frame of the service that is known: classes, fields, types, words.

From the vendor's mobile transport SDK and its published schema of the service (Java SDK 18.1), and
from frames that others have seen live; the simulator's own frames are held against this by a test.
A field that is missing or null is fine unless it is needed: the vendor's clients take both.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.protocol.requests import MessageClass

Path = tuple[str, ...]


class Odd(NamedTuple):
    """Something that is not known: where, what kind of thing, and what was there.

    ``there`` names types and words of a protocol, never a text of somebody's.
    """

    path: Path
    kind: str
    there: str


WORD = re.compile(r"(?!.*\d{4})[A-Za-z][A-Za-z0-9_]{0,39}")
"""More digits are a number of somebody's."""
WORD_IN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
UNKNOWN_FIELD, WRONG_TYPE, UNKNOWN_VALUE = "unknown field", "another type", "unknown value"


@dataclass(frozen=True, slots=True)
class Text:
    """A string; with ``words`` one of them, with ``form`` one that looks like that."""

    words: frozenset[str] = frozenset()
    form: re.Pattern[str] | None = None
    named: str = "a text"

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
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
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of a number")
        elif self.whole and isinstance(value, float) and not value.is_integer():  # NaN is none
            yield Odd(path, WRONG_TYPE, "a fraction in place of a whole number")


@dataclass(frozen=True, slots=True)
class Truth:
    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        if not isinstance(value, bool):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of true or false")


@dataclass(frozen=True, slots=True)
class Anything:
    """A value that is not checked."""

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        del value, path
        return iter(())


@dataclass(frozen=True, slots=True)
class ListOf:
    item: "Form"

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """The deviations of all items; one that is common to several is given once."""
        if not isinstance(value, list):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of a list")
            return
        for item in value:
            yield from self.item.check(item, (*path[:-1], f"{path[-1]}[]"))


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with arbitrary keys whose values all have one form."""

    item: "Form"

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """The deviations of its values; keys are not shown because they may be personal."""
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
    """A word of the protocol unchanged; for any other text only its length."""
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


def _each(form: "Form", names: str) -> dict[str, "Form"]:
    """Fields of one kind."""
    return dict.fromkeys(names.split(), form)


text, whole, number, truth, anything = Text(), Number(whole=True), Number(), Truth(), Anything()
texts = MapOf(text)
ISO_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TIME = Text(
    form=ISO_MS,
    named="a time such as 2026-01-31T12:00:00.000Z",
)
ID = Text(named="an id")

_RECIPIENT = Object(
    _each(text, "firstName lastName nickname image email")
    | {"id": ID, "idType": _words("Email Opaque Phone Topic")}
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
_SHORT_MESSAGE = Object(_each(text, "title subtitle imageUrl header buttonLabel"))
_ACTION = Object(_each(text, "text payload url") | {"type": _words("Link Postback")})
_CARD = Object(
    _each(text, "title description image video")
    | {"defaultAction": _ACTION, "actions": ListOf(_ACTION)}
)
_LOCATION = Object(_each(text, "text address url") | _each(number, "latitude longitude"))
_DATE_PICKER = Object(
    _each(text, "title subtitle imageUrl dateMinimum dateMaximum")
    | {
        "id": ID,
        "location": _LOCATION,
        "availableTimes": ListOf(Object({"dateTime": text, "duration": number})),
        "dateDisplayFormat": _words("dayMonthYear monthDayYear yearMonthDay"),
    }
)
_PICKED = Object({"id": ID} | _each(text, "title subtitle imageUrl value"))
_SECTION = Object({"title": text, "multipleSelection": truth, "items": ListOf(_PICKED)})
_SHOWN: dict[str, Form] = {"receivedMessage": _SHORT_MESSAGE, "replyMessage": _SHORT_MESSAGE}
_LIST_PICKER = Object({"id": ID, **_SHOWN, "sections": ListOf(_SECTION)})
_INPUT = Object(
    {"id": ID}
    | _each(text, "title subtitle placeholderText keyboardType autoCompleteType")
    | _each(truth, "isRequired isMultipleLine")
)
_BUTTON_RESPONSE = Object(
    _each(ID, "id originatingMessageId")
    | _each(text, "text payload")
    | {"type": _words("Button DatePicker Form ListPicker QuickReply")}
)
_FORM_COMPONENT = Object(
    {
        "formComponentType": _words("DatePicker Input ListPicker WheelPicker"),
        "datePicker": _DATE_PICKER,
        "input": _INPUT,
        "listPicker": _LIST_PICKER,
        "wheelPicker": Object({"id": ID, "items": ListOf(_PICKED)}),
    }
)
_FORM = Object(
    _each(ID, "cannedResponseId originatingMessageId")
    | _SHOWN
    | {
        "showSummary": truth,
        "introduction": Object(_each(text, "title subtitle imageUrl buttonText")),
        "formPages": ListOf(
            Object(_each(text, "title subtitle") | {"pageComponents": ListOf(_FORM_COMPONENT)})
        ),
        "response": ListOf(anything),
    }
)
_QUICK_REPLY = Object(
    {"id": ID, "action": _words("Message")} | _each(text, "text payload image summaryText")
)
_ATTACHMENT = Object(
    {"id": ID, "mediaType": _words("Audio File Image Link Video")}
    | _each(text, "url filename mime sha256 text")
    | _each(number, "fileSize contentSizeBytes")
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
                **_SHOWN,
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
_INBOUND = Object({"fileTypes": ListOf(Object({"type": text})), "maxFileSizeKB": number})
_ALLOWED: dict[str, Form] = {
    "allowedMedia": Object({"inbound": _INBOUND}),
    "blockedExtensions": ListOf(text),
    "maxCustomDataBytes": number,
}
_ERROR = Object(
    {"errorCode": whole, "retryAfter": number}
    | _each(text, "errorMessage message name stack timestamp")
    | _each(ID, "attachmentId tracingId")
)
_NOTHING = Object({"tracingId": ID})

BODIES: dict[str, Form] = {
    MessageClass.STRING: text,
    MessageClass.SESSION_RESPONSE: Object(
        _each(truth, "connected newSession readOnly clearedExistingSession autoStarted")
        | _each(number, "durationSeconds expirationDate")
        | _ALLOWED
        | {"tracingId": ID},
        needed=("connected",),
    ),
    MessageClass.STRUCTURED_MESSAGE: _MESSAGE,
    MessageClass.PRESIGNED_URL_RESPONSE: Object(
        _each(ID, "attachmentId tracingId")
        | _each(text, "url fileName fileType")
        | {"headers": texts, "fileSize": number},
        needed=("attachmentId", "url"),
    ),
    MessageClass.ATTACHMENT_DELETED_RESPONSE: Object(_each(ID, "attachmentId tracingId")),
    MessageClass.UPLOAD_FAILURE_EVENT: _ERROR,
    MessageClass.UPLOAD_SUCCESS_EVENT: Object(
        _each(ID, "attachmentId tracingId") | _each(text, "downloadUrl timestamp")
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
        _ALLOWED
        | {"messageRoutingEnabled": truth, "sessionDurationSeconds": number, "tracingId": ID}
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
