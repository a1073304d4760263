"""Filling settings by the types of their fields."""

from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from harness.errors import ConfigError
from harness.simulator.settings import (
    ApiClient,
    BotSettings,
    DeploymentSettings,
    Knobs,
    fill,
    number,
)


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


@pytest.mark.parametrize("settings", [Knobs(), BotSettings(), DeploymentSettings(id="d")])
def test_every_choice_holds_its_default_and_takes_no_other(settings) -> None:
    hints = get_type_hints(type(settings))
    choices = {name: get_args(kind) for name, kind in hints.items() if get_origin(kind) is Literal}
    assert choices
    for name, allowed in choices.items():
        assert getattr(settings, name) in allowed
        for one in allowed:
            assert getattr(fill(settings, {name: str(one)}, "x"), name) == one
        with pytest.raises(ConfigError, match=rf"^x: {name} is one of {allowed[0]}, "):
            fill(settings, {name: "nonsense"}, "x")


def test_bounds() -> None:
    assert number(int, "--port", "80", 0, 65535) == 80
    with pytest.raises(ConfigError, match="from 0 to 65535"):
        number(int, "--port", "65536", 0, 65535)
