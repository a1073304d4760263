"""From the command line to settings."""

import argparse

import pytest

from harness.errors import ConfigError
from harness.simulator import options


def read(*words: str):
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    return options.read(parser.parse_args(words))


def test_defaults() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.tls) == ("127.0.0.1", 0, False)
    assert settings.bot.time.mean_s == 0.05
    assert settings.limits.connections_per_minute == 1000


def test_the_seed_fixes_the_deployment() -> None:
    assert read("--seed", "5").deployments == read("--seed", "5").deployments
    assert read("--seed", "5").deployments != read("--seed", "6").deployments
    assert read().deployments != read().deployments


def test_faults_and_limits() -> None:
    settings = read(
        "--fault", "cut=0.1,how=rst", "--fault", "ignore_clear=#2", "--limit", "text_bytes=9"
    )
    assert settings.faults == {"cut": "0.1,how=rst", "ignore_clear": "#2"}
    assert settings.limits.text_bytes == 9


@pytest.mark.parametrize(
    "words",
    [
        ("--port", "x"),
        ("--port", "70000"),
        ("--port", "-1"),
        ("--seed", "1.5"),
        ("--bot-delay", "soon"),
        ("--bot-workers", "-1"),
        ("--fault", "cut"),
        ("--fault", "cut=3"),
        ("--fault", "nothing=1"),
        ("--limits", "some"),
        ("--limit", "text_bytes"),
    ],
)
def test_nonsense_is_refused(words) -> None:
    with pytest.raises(ConfigError):
        read(*words)
