"""The regular expressions of scripts: JavaScript's, as ovotech's tool reads them.

There a pattern is made with the flags ``i`` and ``m``: case is not minded, and ``^`` and ``$``
stand at the ends of every line. What JavaScript and Python write differently is translated
(ECMAScript 2024, section 22.2 and annex B, without the flags ``u`` and ``v``); what means something
in one of them only is refused, because it would wait for another reply here than there.
"""

import re
from functools import lru_cache

DIGITS = "0123456789"
WORD = "A-Za-z0-9_"
_IN_CLASS = {
    "d": "0-9",
    "D": r"\x00-/:-\U0010ffff",
    "w": WORD,
    "W": r"\x00-/:-@\[-\^`{-\U0010ffff",
    "s": r"\s\ufeff",
    "S": r"\S",
    "b": r"\b",
}
_OUTSIDE = {
    "d": "[0-9]",
    "D": "[^0-9]",
    "w": f"[{WORD}]",
    "W": f"[^{WORD}]",
    "s": r"[\s\ufeff]",
    "S": r"[^\s\ufeff]",
    "b": rf"(?:(?<![{WORD}])(?=[{WORD}])|(?<=[{WORD}])(?![{WORD}]))",
    "B": rf"(?:(?<![{WORD}])(?![{WORD}])|(?<=[{WORD}])(?=[{WORD}]))",
}
_CONTROLS = "tnrfv"
_ENDS = r"\n\r\u2028\u2029"
_PLAIN = {".": f"[^{_ENDS}]", "^": f"(?<![^{_ENDS}])", "$": f"(?![^{_ENDS}])"}
_GROUPS = ("(?:", "(?=", "(?!", "(?<=", "(?<!")
_COUNT = re.compile(r"\{\d+(?:,\d*)?\}")
_NAMED = re.compile(r"\(\?<([A-Za-z_]\w*)>", re.ASCII)
_BACK = re.compile(r"k<([A-Za-z_]\w*)>", re.ASCII)
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})")
_SET = re.compile(r"\\[dDwWsS]")
_PAIR = re.compile(r"\\u([Dd][89ABab][0-9A-Fa-f]{2})\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})")


@lru_cache(maxsize=1024)
def javascript(pattern: str) -> re.Pattern[str]:
    """A pattern of a script, to be searched for. ValueError says in words what is wrong."""
    ours = _Translation(pattern).done()
    try:
        return re.compile(ours, re.IGNORECASE)
    except (re.error, OverflowError) as error:
        reason = error.msg if isinstance(error, re.error) else str(error)
        raise ValueError(f"not a regular expression: {reason}") from None


class _Translation:
    """One pattern, read from left to right."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._out: list[str] = []

    def done(self) -> str:
        """The same in Python's words."""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "\\":
                self._out.append(self._escape(inside=False))
            elif char == "[":
                self._out.append(self._class())
            elif char == "(":
                self._out.append(self._group())
            elif char in "*+?{":
                self._out.append(self._quantifier())
            else:
                self._out.append(_PLAIN.get(char, char))
                self._at += 1
        return "".join(self._out)

    def _escape(self, *, inside: bool) -> str:
        """One backslash and what belongs to it."""
        pair = _PAIR.match(self._text, self._at)
        if pair:
            self._at = pair.end()
            return re.escape((b"".join(map(bytes.fromhex, pair.groups()))).decode("utf-16-be"))
        self._at += 1
        if self._at == len(self._text):
            raise ValueError("not a regular expression: a backslash at the end")
        char = self._text[self._at]
        table = _IN_CLASS if inside else _OUTSIDE
        number = _HEX.match(self._text, self._at)
        if char in table:
            self._at += 1
            return table[char]
        if number:
            self._at = number.end()
            code = int(number[1] or number[2], 16)
            if 0xD800 <= code <= 0xDFFF:
                raise ValueError(f"\\{number[0]} is one half of a character")
            return re.escape(chr(code))
        back = None if inside else _BACK.match(self._text, self._at)
        if back:
            self._at = back.end()
            return f"(?P={back[1]})"
        self._at += 1
        if char == "0" and self._next() not in DIGITS:
            return r"\x00"
        if char in DIGITS:
            return self._number(char, inside=inside)
        if char in _CONTROLS or not (char.isascii() and char.isalpha()):
            return f"\\{char}"
        raise ValueError(
            f"\\{char} has no meaning in JavaScript's regular expressions; patterns are read as "
            "ovotech's tool reads them"
        )

    def _next(self) -> str:
        """The next character; a blank at the end."""
        return self._text[self._at : self._at + 1] or " "

    def _number(self, first: str, *, inside: bool) -> str:
        if inside or first == "0":
            raise ValueError(f"\\{first} here is an old form of a character's number: use \\xHH")
        digits = first
        while self._next() in DIGITS:
            digits += self._text[self._at]
            self._at += 1
        return f"(?:\\{digits})"

    def _class(self) -> str:
        """From one bracket to the other."""
        self._at += 1
        negated = self._text.startswith("^", self._at)
        self._at += negated
        parts: list[str] = []
        while not self._text.startswith("]", self._at):
            first, many = self._member()
            parts.append(first)
            if not self._text.startswith("-", self._at) or self._text.startswith("-]", self._at):
                continue
            self._at += 1
            last, many_too = self._member()
            # Beside a set of characters a hyphen is no range but one of them.
            parts += ["\\-" if many or many_too else "-", last]
        self._at += 1
        if not parts:
            return r"[\x00-\U0010ffff]" if negated else "(?!)"
        return f"[{'^' if negated else ''}{''.join(parts)}]"

    def _member(self) -> tuple[str, bool]:
        """One character of a class, or a set of them."""
        if self._at >= len(self._text):
            raise ValueError("not a regular expression: [ is not closed")
        many = _SET.match(self._text, self._at) is not None
        if self._text[self._at] == "\\":
            return self._escape(inside=True), many
        self._at += 1
        return re.escape(self._text[self._at - 1]), False

    def _group(self) -> str:
        named = _NAMED.match(self._text, self._at)
        if named:
            self._at = named.end()
            return f"(?P<{named[1]}>"
        if not self._text.startswith("(?", self._at):
            self._at += 1
            return "("
        for known in _GROUPS:
            if self._text.startswith(known, self._at):
                self._at += len(known)
                return known
        opening = " ".join(self._text[self._at : self._at + 4].split())
        raise ValueError(
            f"{opening} is not a group of JavaScript's regular expressions; patterns are read as "
            "ovotech's tool reads them: case is not minded, ^ and $ stand at the ends of each "
            "line, and a named group is (?<name>...)"
        )

    def _quantifier(self) -> str:
        count = _COUNT.match(self._text, self._at)
        if self._text[self._at] == "{" and count is None:
            self._at += 1
            return "\\{"
        quantifier = count[0] if count else self._text[self._at]
        self._at += len(quantifier)
        if self._text.startswith("+", self._at):
            raise ValueError("a + behind a quantifier has no meaning in JavaScript")
        if self._text.startswith("?", self._at):
            self._at += 1
            quantifier += "?"
        return quantifier
