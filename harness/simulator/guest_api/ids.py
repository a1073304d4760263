"""Identifiers that the service hands out, from one seeded source.

Message ids look opaque (32 hexadecimal characters, as in live frames) but hide which conversation
they belong to, so that the Platform API can map any message id ever sent to its conversation
without an index that grows with every message.
"""

from random import Random

_MASK128 = (1 << 128) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15F39CC0605CEDC835  # odd, so it can be inverted modulo 2**128
_INVERSE = pow(_MULTIPLIER, -1, 1 << 128)
_OURS = 1 << 64
"""An id of ours stands for a number below this; an invented one hardly ever does."""


def dashed(text: str) -> str:
    """A message id in UUID form, as ``channel.messageId`` shows it."""
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Ids:
    """Everything random that the service says; the same seed, the same ids in the same order."""

    __slots__ = ("_bits", "_correlated", "_mask", "_prefix")

    def __init__(self, seed: int | None) -> None:
        source = Random(seed) if seed is None else Random(f"{seed}:ids")
        self._bits = source.getrandbits
        self._mask = self._bits(128)
        self._prefix = self.uuid()[:24]
        self._correlated = 0

    def correlation(self) -> str:
        """An identifier in UUID form that no other message has; cheap, for every message."""
        self._correlated = number = self._correlated + 1
        return f"{self._prefix}{number:012x}"

    def uuid(self) -> str:
        """A random identifier in UUID form, version 4."""
        value = self._bits(128)
        value = (value & ~(0xF << 76) | (4 << 76)) & ~(0x3 << 62) | (0x2 << 62)
        return dashed(f"{value:032x}")

    def hex(self) -> str:
        """A random identifier as 32 hexadecimal characters, tied to no conversation."""
        return f"{self._bits(128):032x}"

    def message(self, conversation: int, number: int) -> str:
        """The id of message ``number`` of the conversation with this serial number."""
        value = (conversation << 24) + (number & 0xFFFFFF)
        return "%032x" % (value * _MULTIPLIER + self._mask & _MASK128)

    def conversation_of(self, message_id: str) -> tuple[int, int] | None:
        """(serial of the conversation, number of the message); None for an id we never gave.

        Accepts the plain and the dashed form.
        """
        text = message_id.replace("-", "").lower()
        if len(text) != 32:
            return None
        try:
            value = (int(text, 16) - self._mask) * _INVERSE & _MASK128
        except ValueError:
            return None
        if value >= _OURS or not text.isalnum():
            return None
        return value >> 24, value & 0xFFFFFF
