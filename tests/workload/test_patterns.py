"""Patterns of scripts find what they find in the tool that they come from."""

import json
import warnings

import pytest
from browser import Browser
from hypothesis import given
from hypothesis import strategies as st

from harness.guest.questions import searching
from harness.workload.patterns import javascript

TEXTS = (
    "Hello", "HELLO there", "order 17\nis on its way", "is\r\ngone", "Müller", "MÜLLER", "straße",
    "a_b-c.d", "x{,3}", "٣", "été", "\u2028next", "a[b]&&c", "", "00.00.", "aaa", "a\tb",
    "😀 smile", "{x}", "end.", "caf\u00e9!", "\\", "/path/", "no\u00a0break", "one--two",
    "\ufeffmark",
)  # fmt: skip

PATTERNS = (
    "hello", "^hello$", "^is", "17$", r"order \d+", r"^\w+$", r"\bt", r"\Boo", "m.ller", "MÜLLER",
    "STRASSE", r"^.$", "^$", r"[^]", r"a[]|h", r"[\w-]+c", r"[a-]", r"[\s\S]b", r"[\D]", r"[\W]",
    r"x{,3}", r"x\{,3", "{x}", r"a{2,}", r"a{3}", r"a+?", r"(?:a|b)c", r"(?<two>0+)\.\k<two>",
    r"(0)\1", r"(?=h)h", r"(?!h)[a-z]", r"(?<=r )\d", r"(?<!r )\d", r"\u00e9", r"\x41",
    r"\ud83d\ude00", r"\/path\/", r"[/.]$", r"a\[b\]&&c", r"[[b]", r"[&&]c", r"[~|]|H", r"\0",
    r"\.", r"]", "}", r"\s", r"\S", r"--", r"[+--]", r"[--a]", r"\-", "é!$", r"[\b]", r"[^\n]$",
    "$^", r"[\d-x]",
)  # fmt: skip


@pytest.mark.browser
def test_every_pattern_finds_what_javascript_finds(browser: Browser) -> None:
    browser.open("data:text/html,<p>patterns</p>")
    asked = json.dumps([PATTERNS, TEXTS])
    found = browser.run(
        f"(([patterns, texts]) => patterns.map(p => {{ const r = new RegExp(p, 'im');"
        f" return texts.map(t => r.test(t)) }}))({asked})"
    )
    for pattern, theirs in zip(PATTERNS, found, strict=True):
        search = searching(javascript(pattern))  # as a guest waits
        ours = [search(text) for text in TEXTS]
        differ = [text for text, a, b in zip(TEXTS, ours, theirs, strict=True) if a != b]
        assert not differ, (pattern, differ, javascript(pattern).pattern)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?i)order", r"\(\?i\) is not a group of JavaScript"),
        (r"(?P<n>a)", r"\(\?P< is not a group"),
        (r"(?>a)", "is not a group"),
        (r"(?#note)", "is not a group"),
        (r"\Aorder", r"\\A has no meaning in JavaScript"),
        (r"order\Z", r"\\Z has no meaning"),
        (r"\p{L}", r"\\p has no meaning"),
        (r"\u{1F600}", r"\\u has no meaning"),
        (r"\ud83d", "one half of a character"),
        (r"a++", r"a \+ behind a quantifier"),
        (r"a{2}+", r"a \+ behind a quantifier"),
        (r"\07", "an old form of a character's number"),
        ("(", "not a regular expression: missing"),
        ("[a", r"not a regular expression: \[ is not closed"),
        ("a\\", "a backslash at the end"),
        ("a{99999999999999}", "not a regular expression"),
    ],
)
def test_what_means_something_else_there_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        javascript(pattern)


@given(st.text(alphabet=r"\[](){}?*+|^$.,-<>=!:PkdDwWsSbBux0129aZ&~\n" + "é\ud83d", max_size=14))
def test_any_text_is_a_pattern_or_refused_in_words(pattern: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = javascript(pattern)
        except ValueError as error:
            told = str(error)
        else:
            told = found.pattern and ""
    assert "\n" not in told
