"""What can be said against options before anything is done."""

import os
import socket
from argparse import Namespace
from pathlib import Path

import pytest

from harness.cli.main import command_of
from harness.errors import ConfigError
from harness.supervise.parameters import (
    behaviour_of,
    check_numbers,
    length_of,
    parameters_of,
    run_time_of,
    simulator_options,
    too_short,
)
from harness.supervise.run import supervise


def parsed(*words: str) -> Namespace:
    return command_of("run").parse("file.py", *words)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-u", "0"], "--users: expected more than zero"),
        (["--processes", "0"], "--processes: expected one or more"),
        (["--processes", "301"], "--processes: 301 workers are more than one master can lead"),
        (["--master", "--worker"], "--master and --worker do not go together"),
        (["--master", "--processes", "2"], "--master and --processes"),
        (["--master"], "--expect-workers N"),
        (["--expect-workers", "2"], "goes with --master"),
        (["--master", "--expect-workers", "0"], "--expect-workers: expected one or more"),
        (["--worker", "--slo", "x.toml"], "--worker and --slo"),
        (["--worker", "-u", "5"], "--worker and --users"),
        (["--worker", "-t", "5s"], "--worker and --run-time"),
        (["--target", "name", "--sim-fault", "stall=1"], "--target and --sim-fault"),
        (["--target", "name", "--keep-sim"], "--target and --keep-sim"),
        (["--occupancy", "0"], "--occupancy: expected more than zero"),
        (["--occupancy", "9", "-u", "9"], "--occupancy and --users do not go together"),
        (["--occupancy", "9", "--rate", "1/s"], "--occupancy and --rate do not go together"),
        (["--occupancy", "9", "--over", "1m"], "--occupancy and --over .say -t. do not go"),
        (["--worker", "--master-port", "0"], "--master-port: expected 1 to 65535, got 0"),
        (["--metrics-port", "99999"], "--metrics-port: expected 1 to 65535"),
        (["--stop-timeout=-1s"], "--stop-timeout: expected a duration"),
    ],
)
def test_clashes(words: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        check_numbers(parsed(*words))


def test_a_broken_or_endless_file_is_refused_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.supervise.run.LocustProcess", None)
    (tmp_path / "targets.toml").write_text("[targets\n")
    os.mkfifo(tmp_path / "pipe")
    for option, file, why in (
        ("--targets", "targets.toml", r"targets\.toml, line 1: not TOML"),
        ("--targets", "pipe", "pipe is not a regular file"),
        ("--slo", "pipe", "pipe is not a regular file"),
        ("--sign-ins", "pipe", "pipe is not a regular file"),
    ):
        with pytest.raises(ConfigError, match=why):
            supervise(parsed(option, str(tmp_path / file)))


def test_where_a_master_can_not_listen_is_told_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.supervise.run.LocustProcess", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for words, why in (
            (["--master-port", port], rf"at 127\.0\.0\.1:{port}: another process listens there"),
            (["--bind", "192.0.2.1"], r"--bind: 192\.0\.2\.1 is no address of this machine"),
            (["--bind", "nobody.invalid"], "--bind: 'nobody.invalid' is no address"),
        ):
            with pytest.raises(ConfigError, match=why):
                supervise(parsed("--master", "--expect-workers", "1", *words))


def test_what_is_asked_travels_by_the_environment() -> None:
    variables = parameters_of(parsed("--rate", "30/min", "--over", "5m", "--seed", "0"))
    assert variables == {"HARNESS_RATE": "30/min", "HARNESS_OVER": "5m", "HARNESS_SEED": "0"}
    assert parameters_of(parsed("--occupancy", "20")) == {"HARNESS_OCCUPANCY": "20"}
    for words in (["--rate", "fast"], ["--over", "soon"], ["--rate", "0/s"], ["--over", "0s"]):
        with pytest.raises(ConfigError, match=f"{words[0]}: expected .*, got .?{words[1]}"):
            parameters_of(parsed(*words))


def test_how_guests_conduct_themselves_travels_by_the_environment() -> None:
    assert behaviour_of(parsed()) == {}
    assert behaviour_of(parsed("--auto-join", "on", "--connections", "60", "--history", "off")) == {
        "HARNESS_AUTO_JOIN": "on",
        "HARNESS_CONNECTIONS": "60",
        "HARNESS_HISTORY": "off",
    }
    words = ("--greets", "on", "--turns", "on", "--turn-silence", "2s", "--replies", "off")
    assert behaviour_of(parsed(*words, "--listen", "off")) == {
        "HARNESS_GREETS": "on",
        "HARNESS_TURNS": "on",
        "HARNESS_TURN_SILENCE": "2s",
        "HARNESS_REPLIES": "off",
        "HARNESS_LISTEN": "off",
    }
    with pytest.raises(ConfigError, match=r"--sign-ins: there is no file gone\.txt"):
        behaviour_of(parsed("--sign-ins", "gone.txt"))


def test_the_run_time_follows_the_schedule() -> None:
    plan = {"arrivals": {"duration_s": 20.0}}
    longest_s = run_time_of(parsed(), plan)
    assert longest_s > 22  # processes may be slow to start
    assert length_of(parsed(), plan, longest_s) == 20
    assert run_time_of(parsed("-t", "5s"), plan) == length_of(parsed("-t", "5s"), plan, 5) == 5
    assert run_time_of(parsed(), {"arrivals": None}) == 60


def test_the_embedded_simulator_may_be_like_the_real_service() -> None:
    assert simulator_options(parsed()) == ["--limits", "off"]
    live = simulator_options(parsed("--sim-like", "live"))
    assert live == ["--limits", "documented", "--like", "live"]
    free = simulator_options(parsed("--sim-like", "live", "--sim-limits", "off"))
    assert free == ["--limits", "off", "--like", "live"]


def test_several_reasons_are_a_list() -> None:
    with pytest.raises(ConfigError) as refused:
        check_numbers(parsed("--worker", "-u", "5", "-t", "5s"))
    assert str(refused.value) == (
        "these options do not go together:\n  - --worker and --users\n  - --worker and --run-time"
    )


@pytest.mark.parametrize(
    ("option", "value"), [("--over", "5"), ("--sim-bot-delay", "200"), ("-t", "0.5")]
)
def test_a_duration_needs_its_unit(option: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"such as {value}ms, {value}s or {value}m"):
        parsed(option, value)
    assert parsed(option, "0")
    assert parsed(option, f"{value}s")


def test_a_run_time_that_cuts_the_schedule_is_told_before_the_run() -> None:
    plan = {"arrivals": {"duration_s": 300.0}}
    warning = too_short(parsed("-t", "10s"), plan, 10)
    assert warning.startswith(
        "-t 10s cuts the schedule of 5m short, so the verdict will be INVALID"
    )
    assert warning.endswith("use --over 10s")
    assert too_short(parsed("-t", "5m"), plan, 300) == ""
    assert too_short(parsed(), plan, 302) == ""
    assert too_short(parsed("-t", "10s"), {"arrivals": None}, 10) == ""
