"""Texts that somebody else may have written, made fit to be shown: no secrets, no tricks.

A server may repeat what it was sent (a login, a signed address, the guest's token), and it may send
what a terminal obeys. Every error of this project passes its sentence through here, and so does
what ``harness guest`` shows of frames.
"""

import re
from base64 import b64decode

MOST = 500
"""Characters of a server's own words that are shown."""
_SECRETS = (
    # The key of an HTTP login; plain words after "basic" are none.
    (
        r"\b((?i:basic|bearer):?\s+)(?=[\w+/=.~-]*(?:[0-9=]|[a-z][A-Z]))[\w+/=.~-]{6,}",
        r"\1…",
    ),
    (r"\beyJ[\w-]+(?:\.[\w-]*){1,4}", "eyJ…"),
    (r"(//)[^/@\s\"'<>]+@", r"\1…@"),
    (r"(?i)(https?://[^\s?\"'<>]+\?)[^\s\"'<>]+", r"\1…"),
    (
        r"(?i)(?<![a-z])((?:signature|x-amz-[a-z-]+|x-goog-[a-z-]+|sig|jwt|password)=)"
        r"[^&\s\"'<>]+",
        r"\1…",
    ),
)
_PATTERNS = tuple((re.compile(pattern), instead) for pattern, instead in _SECRETS)
# An id however it is written: in capitals, without its dashes, in the query of a URL.
_DASH = "(?:-|%2d)?"
_ID = re.compile(
    r"(?:(?<=%[0-9a-f]{2})|(?<![0-9a-z]))([0-9a-f]{8})"
    rf"{_DASH}[0-9a-f]{{4}}{_DASH}[0-9a-f]{{4}}{_DASH}[0-9a-f]{{4}}{_DASH}[0-9a-f]{{12}}(?![0-9a-z])",
    re.I,
)
_BASE64 = re.compile(r"[\w+/-]{42,}", re.ASCII)
"""Long enough to hold an id without its dashes."""
# What moves the cursor, colours, rings, or turns the direction of writing around.
_TRICKS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
FORMULA = ("=", "+", "-", "@", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A cell that begins so is run as a formula by one spreadsheet or another."""


def safe_text(text: str) -> str:
    """A sentence of ours in which others may be quoted. Line ends and tabs stay."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return _TRICKS.sub(_number, text)


def safe_quote(text: str, most: int = MOST) -> str:
    """What a server says, on one line; an id in it may be a guest's token, so ids are shortened."""
    text = without_ids(text[: 4 * most])
    text = safe_text(text).replace("\n", "\\n").replace("\t", " ")
    return text if len(text) <= most else f"{text[:most]}…"


def without_ids(text: str, *ids: str) -> str:
    """A text with its ids shortened to their first eight letters: one may be a guest's token.

    ``ids``: only these. They are found in capitals, without dashes, URL-encoded and in base64 too.
    """
    hidden = {_letters(one) for one in ids}

    def shortened(found: re.Match[str]) -> str:
        return found[0] if hidden and _letters(found[0]) not in hidden else f"{found[1]}…"

    def decoded(found: re.Match[str]) -> str:
        data = found[0].replace("-", "+").replace("_", "/")
        data = data[:-1] if len(data) % 4 == 1 else data
        inside = b64decode(data + "=" * (-len(data) % 4)).decode("latin-1")
        return found[0] if _ID.sub(shortened, inside) == inside else f"{found[0][:8]}…"

    return _BASE64.sub(decoded, _ID.sub(shortened, text))


def _letters(one: str) -> str:
    return one.lower().replace("%2d", "").replace("-", "")


def safe_cell(cell: str) -> str:
    """The same as a cell of a CSV file, which no spreadsheet takes for a formula."""
    cell = safe_text(cell).replace("\n", " ").replace("\t", " ").strip(" ")
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def without_secret(text: str, *secrets: str) -> str:
    """A text in which these do not stand, whatever they look like."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    return text


def _number(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
