"""What a locustfile would break is known before the run, as far as it can be."""

from pathlib import Path
from typing import Any

import pytest
from locust import between

from harness.errors import ConfigError
from harness.judge.objective import parse_objective
from harness.load.admission import (
    beyond_waits,
    check_rows,
    mean_think_s,
    might_break,
    origins_left_out,
    would_break,
)
from harness.load.user import GuestUser, ScriptUser, open_script
from harness.workload.think import uniform

STORM = "scenarios:\n  Storm:\n    - repeat: 100\n      steps: [{say: a}, {think: 300ms}]\n"
CALM = "feeder: {file: n.csv, mode: unique}\nscenarios:\n  Calm:\n    - say: '{{n}}'\n"


def scripted(folder: Path, text: str) -> Any:
    (folder / "n.csv").write_text("n\n1\n2\n")
    (folder / "s.yaml").write_text(text)
    kind = type("Scripted", (ScriptUser,), {"abstract": True, "script": "s.yaml"})
    kind.opened = open_script("s.yaml", folder, "Scripted")  # type: ignore[attr-defined]
    return kind


def thinking(think: Any) -> Any:
    return type("Thinker", (GuestUser,), {"abstract": True, "think_time": think})


def test_a_script_is_played_on_paper(tmp_path: Path) -> None:
    (told,) = would_break([scripted(tmp_path, STORM), thinking("10ms")])
    assert told.startswith("s.yaml: Storm: 102 requests in a minute")
    assert would_break([scripted(tmp_path, CALM)]) == []


def test_a_script_for_another_origin_is_told(tmp_path: Path) -> None:
    theirs = scripted(tmp_path, "config: {origin: 'https://a.example'}\n" + STORM)
    (told,) = origins_left_out([theirs, thinking("1s")], None)
    assert told.startswith("s.yaml names the Origin https://a.example, this run sends none")
    assert origins_left_out([theirs], "https://a.example") == []


@pytest.mark.parametrize(
    ("think", "mean_s"),
    [
        ("6s", 6),
        ("uniform(1s, 3s)", 2),
        (2, 2),
        (uniform("1s", "3s"), 2),
        (between(2, 2), 2),
        (lambda user: user.shop.pause, None),
    ],
)
def test_the_mean_think_time(think: Any, mean_s: float | None) -> None:
    assert mean_think_s(think, "x") == mean_s


def test_a_hasty_think_time_is_told_with_what_it_would_come_to(tmp_path: Path) -> None:
    (told,) = might_break([thinking("500ms"), thinking("2s"), scripted(tmp_path, CALM)])
    assert told.startswith("Thinker: with a think time of 500ms ")
    assert "about 120 requests" in told
    with pytest.raises(ConfigError, match=r"Thinker\.think_time: "):
        might_break([thinking("a while")])


def test_unique_rows_must_be_enough_for_an_open_workload(tmp_path: Path) -> None:
    calm = scripted(tmp_path, CALM)
    check_rows([calm], 2)
    check_rows([calm, thinking("1s")], 3)
    with pytest.raises(ConfigError, match="3 guests need a row of their own and there are 2"):
        check_rows([calm], 3)


class Hasty(GuestUser):
    abstract = True

    def talk(self) -> None:
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="2s")


class Patient(GuestUser):
    abstract = True

    def talk(self) -> None:
        with self.guest() as guest:
            guest.await_greeting(within=60)
            guest.say("hello")
            guest.await_reply()


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        ("reply p95 < 5s", ["Hasty: a wait for a reply ends after 2s"]),
        ("reply p95 < 1s", []),
        ("greeting p50 <= 2s", ["Hasty"]),
        ("reply p95 > 5s", []),
        ("connect p95 < 5s", []),
        ("reply p99 < 30s", ["Hasty", "Patient: a wait for a reply ends after 30s"]),
    ],
)
def test_a_limit_that_no_wait_of_a_python_story_reaches_is_told(
    objective: str, told: list[str]
) -> None:
    made_at_run_time = type("Made", (GuestUser,), {"abstract": True})
    found = beyond_waits([Hasty, Patient, made_at_run_time], [parse_objective(objective)])
    assert len(found) == len(told)
    for sentence, start in zip(found, told, strict=True):
        assert sentence.startswith(start)
