"""Events are values."""

import dataclasses

import pytest

from harness.protocol import events


def test_equal_content_is_equal_and_content_is_fixed() -> None:
    failure = events.Failure(429, "slow down", None, 3.0)
    assert failure == events.Failure(429, "slow down", None, 3.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        failure.code = 200  # type: ignore[misc]
