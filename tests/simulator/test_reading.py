"""Filling settings by the types of their fields."""

import pytest

from harness.errors import ConfigError
from harness.simulator.options import CHOICES, fill, whole
from harness.simulator.settings import ApiClient, DeploymentSettings, Knobs


def test_each_type_is_read_from_text_and_from_toml() -> None:
    knobs = fill(
        Knobs(),
        {
            "compress": "on",
            "keep_messages": "7",
            "platform_lag": "2m",
            "typing_field": "durationMs",
        },
        "knob",
    )
    assert (knobs.compress, knobs.keep_messages, knobs.platform_lag_s, knobs.typing_field) == (
        True,
        7,
        120,
        "durationMs",
    )
    assert fill(Knobs(), {"compress": True, "platform_lag_s": 1.5}, "knob").platform_lag_s == 1.5
    deployment = fill(DeploymentSettings(id="d"), {"allowed_domains": "a.com, b.com"}, "x")
    assert deployment.allowed_domains == ("a.com", "b.com")
    client = fill(ApiClient(), {"permissions": ["limits:organization:view"]}, "x")
    assert client.permissions == frozenset({"limits:organization:view"})


@pytest.mark.parametrize(
    "values",
    [
        {"nothing": 1},
        {"compress": "perhaps"},
        {"keep_messages": -1},
        {"keep_messages": "many"},
        {"keep_messages": True},
        {"platform_lag": "soon"},
        {"platform_lag": True},
        {"platform_lag": [1]},
        {"typing_field": "length"},
        {"typing_field": 3},
        {"connection_rate_reply": 500},
        {"clear_order": "echo,echo,closed"},
        [],
    ],
)
def test_what_does_not_fit_is_named(values) -> None:
    with pytest.raises(ConfigError, match=r"^knob"):
        fill(Knobs(), values, "knob")


def test_fields_may_be_left_out() -> None:
    with pytest.raises(ConfigError, match="not known"):
        fill(Knobs(), {"compress": True}, "knob", leave=("compress",))


def test_every_choice_is_of_a_knob_and_holds_its_default() -> None:
    for name, choices in CHOICES.items():
        assert getattr(Knobs(), name) in choices


def test_bounds() -> None:
    assert whole("--port", "80", 0, 65535) == 80
    with pytest.raises(ConfigError, match="from 0 to 65535"):
        whole("--port", "65536", 0, 65535)
