"""Signed tokens (JWT, HS256) as the service gives them to guests and their sign-in.

What the real ones claim inside is unknown; clients treat them as opaque.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import orjson


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """Signs and checks with one secret of this process."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def sign(self, claims: dict[str, Any]) -> str:
        """A JWT; ``exp`` in ``claims`` is when it ends, in epoch seconds."""
        head = _encoded(b'{"alg":"HS256","typ":"JWT"}') + "." + _encoded(orjson.dumps(claims))
        return f"{head}.{self._mark(head)}"

    def _mark(self, head: str) -> str:
        return _encoded(hmac.digest(self._secret, head.encode(), sha256))

    def claims(self, jwt: object, now: float) -> dict[str, Any] | None:
        """What a valid token claims; None if it is not ours or its time has passed."""
        if not isinstance(jwt, str) or not jwt.isascii():
            return None
        head, dot, mark = jwt.rpartition(".")
        if not dot or not hmac.compare_digest(mark, self._mark(head)):
            return None
        body = head.partition(".")[2]
        claims: dict[str, Any] = orjson.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return claims if claims["exp"] > now else None


def bearer(header: str | None) -> str | None:
    """The token of an Authorization header, whatever the case of ``bearer``."""
    scheme, _, value = (header or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None
