"""Signed tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.simulator.rest import Signer, bearer


def test_a_token_is_good_until_its_time() -> None:
    signer = Signer("secret")
    jwt = signer.sign({"for": "guest", "exp": 100})
    assert jwt.count(".") == 2
    assert signer.claims(jwt, 99) == {"for": "guest", "exp": 100}
    assert signer.claims(jwt, 100) is None
    assert Signer("other").claims(jwt, 99) is None


@given(st.text() | st.none() | st.integers())
def test_anything_else_is_not_ours(value: object) -> None:
    assert Signer("secret").claims(value, 0) is None


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_a_changed_token_is_not_ours(place: int, letter: str) -> None:
    jwt = Signer("secret").sign({"exp": 100})
    at = place % len(jwt)
    changed = jwt[:at] + letter + jwt[at + 1 :]
    if changed != jwt:
        assert Signer("secret").claims(changed, 0) is None


@pytest.mark.parametrize(
    ("header", "token"),
    [("bearer x", "x"), ("Bearer  x ", "x"), ("Basic x", None), ("", None), (None, None)],
)
def test_bearer(header: str | None, token: str | None) -> None:
    assert bearer(header) == token
