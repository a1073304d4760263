"""Identifiers that the service hands out, from one seeded source.

Message ids look opaque (32 hexadecimal characters, as in live frames) but hide which conversation
they belong to, so that the Platform API can map any message id ever sent to its conversation
without an index that grows with every message.
"""

from random import Random

_MASK64 = (1 << 64) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so it can be inverted modulo 2**64
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)
_COUNTER_BITS = 24


def _check(value: int) -> int:
    """64 bits that follow from ``value``; tells ids of ours from invented ones (splitmix64)."""
    value = (value + 0x632BE59BD9B4E019) & _MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)


def _dashed(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Ids:
    """Everything random that the service says; the same seed, the same ids in the same order."""

    __slots__ = ("_bits", "_mask")

    def __init__(self, seed: int | None) -> None:
        source = Random(seed) if seed is None else Random(f"{seed}:ids")
        self._bits = source.getrandbits
        self._mask = self._bits(64)

    def uuid(self) -> str:
        """A random identifier in UUID form, version 4."""
        value = self._bits(128)
        value = (value & ~(0xF << 76) | (4 << 76)) & ~(0x3 << 62) | (0x2 << 62)
        return _dashed(f"{value:032x}")

    def hex(self) -> str:
        """A random identifier as 32 hexadecimal characters, tied to no conversation."""
        return f"{self._bits(128):032x}"

    def message(self, conversation: int, number: int) -> str:
        """The id of message ``number`` of the conversation with this serial number."""
        value = (conversation << _COUNTER_BITS) | (number & 0xFFFFFF)
        return (
            f"{(value * _MULTIPLIER & _MASK64) ^ self._mask:016x}{_check(value ^ self._mask):016x}"
        )

    def conversation_of(self, message_id: str) -> tuple[int, int] | None:
        """(serial of the conversation, number of the message); None for an id we never gave.

        Accepts the plain and the dashed form.
        """
        text = message_id.replace("-", "").lower()
        if len(text) != 32:
            return None
        try:
            high, low = int(text[:16], 16), int(text[16:], 16)
        except ValueError:
            return None
        value = (high ^ self._mask) * _INVERSE & _MASK64
        if _check(value ^ self._mask) != low:
            return None
        return value >> _COUNTER_BITS, value & 0xFFFFFF


def dashed(message_id: str) -> str:
    """A message id in UUID form, as ``channel.messageId`` shows it."""
    return _dashed(message_id)
