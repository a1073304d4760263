"""What somebody else has written shows no secret and moves no cursor."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import (
    MAX_CHARACTERS,
    ConfigError,
    ConnectionLost,
    HarnessError,
    PlatformApiError,
    ServiceError,
    UpgradeRejected,
    safe_line,
    safe_quote,
    safe_text,
    without_ids,
    without_secret,
)

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"
TOKEN = "12345678-90ab-4def-8234-567890abcdef"
LOGIN = b64encode(b"user:correct horse").decode()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"you sent Authorization: Basic {LOGIN}, which is wrong", LOGIN),
        (f"Proxy-Authorization: basic {LOGIN}", LOGIN),
        ("bad header 'bearer abc123def456'", "abc123def456"),
        (f"Bearer: {JWT} has expired", JWT.split(".")[2]),
        (f'{{"jwt":"{JWT}"}}', JWT.split(".")[1]),
        ("see http://bob:hunter2@proxy.example:3128/", "hunter2"),
        ("no https://b.s3.example/k?X-Amz-Signature=0a1b2c&X-Amz-Date=1", "0a1b2c"),
        ("no /k?a=1&Signature=0a1b2c", "0a1b2c"),
        ("password=hunter2", "hunter2"),
        ("connect(password='hunter2')", "hunter2"),
    ],
)
def test_no_secret_is_repeated(text: str, secret: str) -> None:
    for error in (
        HarnessError(text), ConfigError(text), ServiceError(400, text), PlatformApiError(400, text),
        PlatformApiError(400, "x", text), ConnectionLost(4000, text),
    ):  # fmt: skip
        assert secret not in str(error)
        assert secret not in repr(error)
    assert secret not in ServiceError(400, text).text
    assert secret not in ConnectionLost(4000, text).reason
    assert secret not in UpgradeRejected(400, text).body


@pytest.mark.parametrize(
    "text",
    ["https://a.example/1,", "x-amz-", "eyJ-", "//", "basic ", "https://", f"{TOKEN},", "a?b=c&"],
)
def test_a_long_line_takes_a_time_that_grows_with_its_length_alone(text: str) -> None:
    assert safe_line(text * (500_000 // len(text))), "a search that begins anew takes many minutes"


def test_a_line_of_a_log_keeps_its_ends_and_loses_its_secrets() -> None:
    address = "https://a.example/k?X-Amz-Signature=0a1b2c"
    assert safe_line(f"{address},https://b.example/\r\n\t{TOKEN}") == (
        "https://a.example/k?…\n\t12345678…"
    )
    assert safe_line("see https://b.example/, and http://c.example/?") == (
        "see https://b.example/, and http://c.example/?"
    )


@pytest.mark.parametrize(
    "text",
    [
        "basic authentication is off", "the bearer of bad news", "expected https://host/path",
        "ws://127.0.0.1:8080/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef",
        "design=1", "two\nlines and a\ttab", "naïve ❤ → 質問", "mail somebody@example.com",
    ],
)  # fmt: skip
def test_other_words_stay_as_they_are(text: str) -> None:
    assert safe_text(text) == text


def test_a_token_that_the_service_repeats_is_shortened() -> None:
    error = ServiceError(4007, f"no session {TOKEN}")
    assert str(error) == "the service answered 4007: no session 12345678…"
    assert TOKEN not in str(ConnectionLost(1008, TOKEN))


@pytest.mark.parametrize(
    "repeated",
    [
        TOKEN.upper(),
        TOKEN.replace("-", ""),
        TOKEN.replace("-", "%2D"),
        f"%22{TOKEN}%22",
        f"token_{TOKEN}_",
        b64encode(TOKEN.encode()).decode(),
        b64encode(f"token:{TOKEN}!".encode()).decode(),
        b64encode(TOKEN.replace("-", "").encode()).decode(),
    ],
)
def test_a_token_is_shortened_however_it_is_written(repeated: str) -> None:
    other = "87654321-90ab-4def-8234-567890abcdef"
    text = f'{{"tracingId":"{other}","body":"{repeated}"}}'
    assert repeated not in safe_quote(text)
    assert other not in safe_quote(text)
    assert repeated not in without_ids(text, TOKEN)
    assert other in without_ids(text, TOKEN), "only the one that was named"


def test_what_a_terminal_obeys_is_shown_as_numbers() -> None:
    text = "\x1b]0;title\x07\x1b[2J\r\u202egnp.exe\u2066\x9b31m\u2028"
    assert safe_text(text) == (
        "\\x1b]0;title\\x07\\x1b[2J\\x0d\\u202egnp.exe\\u2066\\x9b31m\\u2028"
    )
    assert safe_quote("one\nPASS all is well") == "one\\nPASS all is well"


@given(st.text())
def test_any_text_can_be_shown_on_one_line(text: str) -> None:
    shown = safe_quote(text)
    assert len(shown) <= MAX_CHARACTERS + 1
    assert "\n" not in shown
    shown.encode()  # no lone surrogate


def test_known_secrets_go_whatever_they_look_like() -> None:
    assert without_secret("407 for bob:pw and pw", "bob:pw", "", "pw") == "407 for … and …"
