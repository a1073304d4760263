"""A search survives its process: what was asked and tried is on disk after each level.

A search looks at its files first, so that what is wrong with one is told before there is a
folder.
"""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.errors import ConfigError
from harness.rundir.layout import SEARCH
from harness.studies.capacity import runner
from harness.studies.capacity.holding import Judged
from harness.studies.capacity.models import Reading
from harness.studies.capacity.runner import (
    Search,
    _command,
    begin_search,
    check_files,
    resume_search,
    run_levels,
)
from harness.studies.capacity.search import Quantity


def options(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    file = tmp_path / "level.py"
    file.touch()
    return {
        "locustfile": str(file),
        "target": "sim",
        "by": "rate",
        "slo": None,
        "objectives": ["reply p95 < 500ms"],
        "start": "60/min",
        "highest": "600/min",
        "hold": "60s",
        "longest": None,
        "warm_up": "15s",
        "resolution": 0.08,
        "max_levels": 16,
        "processes": None,
        "seed": None,
        "sim_profile": None,
        **changes,
    }


def test_the_levels_of_a_search_over_machines_are_led_by_a_master(tmp_path: Path) -> None:
    led = {"master": True, "expect_workers": 4, "bind": "10.0.0.1", "master_port": 6000}
    search = begin_search(options(tmp_path, **led), tmp_path / "reports")
    words = _command(search, 1.0, "sim", tmp_path)
    at = words.index("--master")
    assert words[at : at + 7] == [
        "--master", "--expect-workers", "4", "--bind", "10.0.0.1", "--master-port", "6000",
    ]  # fmt: skip
    assert "--master" not in _command(
        begin_search(options(tmp_path), tmp_path / "reports"), 1.0, "sim", tmp_path
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"master": True}, "say how many workers to wait for"),
        ({"master": True, "expect_workers": 2, "processes": 2}, "do not go together"),
        ({"expect_workers": 2}, "--expect-workers goes with --master"),
        ({"bind": "10.0.0.1"}, "--bind goes with --master"),
        ({"master": True, "expect_workers": 0}, "expected one or more"),
        ({"master": True, "expect_workers": 1, "master_port": 0}, "expected 1 to 65535"),
        (
            {"master": True, "expect_workers": 9, "by": "occupancy", "start": "5", "highest": "9"},
            "5 guests are too few for --expect-workers",
        ),
    ],
)
def test_what_does_not_go_with_a_search_over_machines(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        begin_search(options(tmp_path, **changes), tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_a_search_is_resumed_as_it_was(tmp_path: Path) -> None:
    search = begin_search(options(tmp_path), tmp_path / "reports")
    search.levels.append(
        {
            "rate_per_s": 1.0,
            "judged": "under",
            "minutes": 1.5,
            "reason": "",
            "run": "level-01/r",
            "reading": {"value": -0.4, "error": 0.1},
        }
    )
    search.save()
    again = resume_search(search.directory)
    assert again.plan == search.plan
    (level,) = again.tried
    assert (level.rate, level.judged, level.minutes) == (1.0, Judged.UNDER, 1.5)
    assert level.reading == Reading(value=-0.4, error=0.1)
    assert (again.holding.hold_s, again.holding.longest_s) == (60.0, 960.0)
    assert "reply p95 < 500ms" in (search.directory / "objectives.toml").read_text()


def test_a_search_by_occupancy_asks_for_guests_at_once(tmp_path: Path) -> None:
    by = {"by": "occupancy", "start": "20", "highest": "400", "warm_up": "10s", "longest": "2m"}
    search = begin_search(options(tmp_path, **by), tmp_path / "reports")
    assert (search.plan.start, search.plan.highest, search.plan.whole) == (20, 400, True)
    search.levels.append({"guests": 20.0, "judged": "under", "minutes": 1.5, "reason": ""})
    search.save()
    assert [level.rate for level in resume_search(search.directory).tried] == [20]
    words = " ".join(_command(search, 57.0, "sim", tmp_path / "out"))
    # All of them come within six of the ten seconds of warm-up.
    assert "--occupancy 57 --spawn-rate 9.5000 --run-time 312s" in words
    assert "--rate" not in words
    assert "--over" not in words


def test_a_search_from_before_there_were_two_ways_goes_on(tmp_path: Path) -> None:
    search = begin_search(options(tmp_path), tmp_path / "reports")
    del search.options["by"]
    search.save()
    assert resume_search(search.directory).by is Quantity.RATE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hold": "0s"}, "--hold: expected one second or more"),
        ({"longest": "30s"}, "--longest: expected no less than --hold"),
        ({"start": "fast"}, "--start: expected a rate"),
        ({"start": "700/min"}, "--start: expected no more than --highest"),
        ({"start": "20"}, "--start: expected a rate such as .* go with --by occupancy"),
        ({"by": "occupancy"}, "--start: with --by occupancy expected a whole number of guests"),
        ({"by": "occupancy", "start": "20"}, "--highest: with --by occupancy expected a whole"),
        (
            {"by": "occupancy", "start": "2", "highest": "9", "processes": 4},
            "--start: 2 guests are too few for --processes",
        ),
        ({"warm_up": "2d"}, "--warm-up: expected one second or more and up to a day"),
        ({"resolution": float("nan")}, "--resolution: expected a share between 0 and 1"),
        ({"max_levels": 0}, "--max-levels: expected one or more"),
        ({"processes": 0}, "--processes: expected one or more"),
        ({"locustfile": "nowhere.py"}, "there is no locustfile"),
    ],
)
def test_nonsense_is_refused_before_there_is_a_folder(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        begin_search(options(tmp_path, **changes), tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


ASKED = (
    '"asked": {"target": "sim", "start": "1/s", "highest": "2/s", "hold": "9s", '
    '"resolution": 0.1, "max_levels": 4'
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": 7}',
        '{"schema": 1}',
        '{"schema": 1, "asked": {}, "levels": []}',
        f'{{"schema": 1, {ASKED}, "by": "moons"}}, "levels": []}}',
        f'{{"schema": 1, {ASKED}}}, "levels": [{{}}]}}',
        f'{{"schema": 1, {ASKED}}}, "levels": [{{"rate_per_s": "x", "judged": "under"}}]}}',
        f'{{"schema": 1, {ASKED}}}, "levels": [{{"rate_per_s": 1, "judged": "weird"}}]}}',
    ],
)
def test_what_is_no_search_can_not_go_on(tmp_path: Path, text: str) -> None:
    (tmp_path / SEARCH).write_text(text)
    with pytest.raises(ConfigError, match=SEARCH):
        resume_search(tmp_path)


@pytest.mark.parametrize("end", [ConfigError("the target is gone"), KeyboardInterrupt()])
def test_what_ends_a_search_after_a_level_leaves_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    levels = [
        {"rate_per_s": 1.0, "judged": "under", "minutes": 1.5, "reason": "", "figures": {}},
        end,
    ]

    def run_level(search: Search, *_: object, **__: object) -> None:
        if isinstance(level := levels.pop(0), BaseException):
            raise level
        search.levels.append(level)

    monkeypatch.setattr(runner, "_run_level", run_level)
    search = begin_search(options(tmp_path, target="ws://127.0.0.1:1/v1"), tmp_path / "reports")
    said = StringIO()
    by_hand = isinstance(end, KeyboardInterrupt)
    assert run_levels(search, Console(file=said, width=500)) is not by_hand
    assert [level.rate for level in search.tried] == [1.0]
    why = "stopped" if by_hand else "stopped: the target is gone"
    assert f"{why}; go on with: harness capacity --resume {search.directory}" in said.getvalue()


def test_a_search_without_a_level_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_level(*_: object, **__: object) -> None:
        raise ConfigError("the target is gone")

    monkeypatch.setattr(runner, "_run_level", run_level)
    search = begin_search(options(tmp_path, target="ws://127.0.0.1:1/v1"), tmp_path / "reports")
    with pytest.raises(ConfigError, match="the target is gone"):
        run_levels(search, Console(file=StringIO()))


STORY = """
from locust import task
from harness.load import ArrivalShape, GuestUser, from_options, objective

class Visits(ArrivalShape):
    arrivals = from_options(rate="1/s", over="1m")

class Guest(GuestUser):
    @task
    def talk(self):
        with self.guest() as guest:
            guest.say("hello")

"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("story.py").write_text(STORY)


def asked_of_files(**changes: Any) -> dict[str, Any]:
    usual = {
        "locustfile": "story.py", "target": "sim", "by": "rate", "slo": None, "objectives": [],
        "start": "1/s", "hold": "60s", "sim_profile": None,
    }  # fmt: skip
    return {**usual, **changes}


@pytest.mark.long
@pytest.mark.process
def test_a_good_search_has_nothing_against_it() -> None:
    Path("twin.toml").write_text('[bot]\ntime = "50ms"\n')
    Path("slo.toml").write_text('objectives = ["reply p95 < 5s"]')
    check_files(asked_of_files(sim_profile="twin.toml", slo="slo.toml"))
    check_files(asked_of_files(by="occupancy", start="20", objectives=["reply p95 < 5s"]))


@pytest.mark.parametrize(
    ("changes", "files", "why"),
    [
        ({"slo": "no.toml"}, {}, "there is no file of objectives 'no.toml'"),
        ({"slo": "s.toml"}, {"s.toml": "objectives = ["}, "s.toml, line 1: not TOML"),
        ({"slo": "s.toml"}, {"s.toml": ""}, "s.toml: no objective in it"),
        ({"sim_profile": "no.toml"}, {}, "--sim-profile: no.toml: No such file"),
        (
            {"sim_profile": "t.toml"},
            {"t.toml": "[bot]\nworkrs = 3\n"},
            "--sim-profile: t.toml: bot: 'workrs' is not known",
        ),
        ({"target": "nobody"}, {}, "the target 'nobody' is not a websocket URL"),
        (
            {"target": "nobody", "sim_profile": "t.toml"},
            {},
            "--sim-profile and --target do not go together",
        ),
        ({"locustfile": "no.py"}, {}, "there is no locustfile 'no.py'"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(
    changes: dict[str, Any], files: dict[str, str], why: str
) -> None:
    for name, text in files.items():
        Path(name).write_text(text)
    with pytest.raises(ConfigError, match=why):
        check_files(asked_of_files(**changes))


@pytest.mark.process
def test_a_search_needs_something_that_breaks() -> None:
    with pytest.raises(ConfigError, match=r"no objective: "):
        check_files(asked_of_files())
    with Path("story.py").open("a") as file:
        file.write('objective("dropped == 0")\n')
    with pytest.raises(ConfigError, match=r"no objective breaks under load .*dropped == 0"):
        check_files(asked_of_files())
    check_files(asked_of_files(objectives=["reply p95 < 5s"]))


@pytest.mark.long
@pytest.mark.process
def test_a_locustfile_that_does_not_rise_is_refused() -> None:
    fixed = STORY.replace('from_options(rate="1/s"', "steady(per_second=1").replace(
        "from_options", "steady"
    )
    Path("story.py").write_text(fixed)
    some = ["reply p95 < 5s"]
    with pytest.raises(ConfigError, match=r"story\.py does not use it"):
        check_files(asked_of_files(objectives=some))
    check_files(
        asked_of_files(by="occupancy", start="20", objectives=some)
    )  # its schedule is set aside
