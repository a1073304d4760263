"""Limits by name, and the sliding window that holds them."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.simulator.options import read_limits
from harness.simulator.settings import DOCUMENTED, OFF, limit_wait_s


def test_documented_values() -> None:
    assert DOCUMENTED.requests_per_connection_per_minute == 60
    assert DOCUMENTED.messages_per_session_per_second == 5
    assert DOCUMENTED.connections_per_minute == 1000
    assert DOCUMENTED.health_checks_per_connection_per_minute == 2
    assert DOCUMENTED.connections_per_session == 3


def test_off_leaves_the_sizes_which_are_protocol() -> None:
    assert OFF.requests_per_connection_per_minute == 0
    assert OFF.idle_seconds == 0
    assert OFF.text_bytes == 4096
    assert OFF.connections_per_session == 3


def test_single_limits_change_the_base() -> None:
    assert read_limits("off", {"text_bytes": "10"}).text_bytes == 10
    assert read_limits("documented", {"idle_seconds": "0"}).idle_seconds == 0


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        ("some", {}),
        ("off", {"speed": "1"}),
        ("off", {"text_bytes": "-1"}),
        ("off", {"text_bytes": "x"}),
    ],
)
def test_nonsense_is_refused(base: str, changes: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="limit"):
        read_limits(base, changes)


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 6), st.floats(0.1, 10))
def test_no_window_ever_holds_more_than_the_limit(
    gaps: list[float], limit: int, window: float
) -> None:
    holder = SimpleNamespace(times=None)
    now, taken = 0.0, []
    for gap in gaps:
        now += gap
        wait = limit_wait_s(holder, "times", limit, window, now)
        if wait == 0:
            taken.append(now)
        else:
            assert 0 < wait <= window * (1 + 1e-9) + 1e-3
    for at in taken:
        assert sum(1 for other in taken if at - window < other <= at) <= limit
