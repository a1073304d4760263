"""A search looks at its files first, so that what is wrong with one is told before there is a
folder."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.studies.capacity.runner import check_files

STORY = """
from locust import task
from harness.load import ArrivalShape, GuestUser, as_asked, objective

class Visits(ArrivalShape):
    arrivals = as_asked(rate="1/s", over="1m")

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


def asked(**changes: Any) -> dict[str, Any]:
    usual = {
        "locustfile": "story.py", "target": "sim", "by": "rate", "slo": None, "objectives": [],
        "start": "1/s", "hold": "60s", "sim_profile": None,
    }  # fmt: skip
    return {**usual, **changes}


@pytest.mark.process
def test_a_good_search_has_nothing_against_it() -> None:
    Path("twin.toml").write_text('[bot]\ntime = "50ms"\n')
    Path("slo.toml").write_text('objectives = ["reply p95 < 5s"]')
    check_files(asked(sim_profile="twin.toml", slo="slo.toml"))
    check_files(asked(by="occupancy", start="20"))


@pytest.mark.parametrize(
    ("changes", "files", "why"),
    [
        ({"slo": "no.toml"}, {}, "there is no file of objectives 'no.toml'"),
        ({"slo": "s.toml"}, {"s.toml": "objectives = ["}, "s.toml, line 1: not TOML"),
        ({"slo": "s.toml"}, {"s.toml": ""}, "s.toml: no objective in it"),
        ({"sim_profile": "no.toml"}, {}, "--sim-profile: no.toml: can't be read"),
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
        check_files(asked(**changes))


@pytest.mark.process
def test_a_search_needs_something_that_breaks() -> None:
    with Path("story.py").open("a") as file:
        file.write('objective("dropped == 0")\n')
    with pytest.raises(ConfigError, match=r"no objective breaks under load .*dropped == 0"):
        check_files(asked())
    check_files(asked(objectives=["reply p95 < 5s"]))


@pytest.mark.process
def test_a_locustfile_that_does_not_rise_is_refused() -> None:
    fixed = STORY.replace('as_asked(rate="1/s"', "steady(per_second=1").replace(
        "as_asked", "steady"
    )
    Path("story.py").write_text(fixed)
    with pytest.raises(ConfigError, match=r"story\.py does not ask for it"):
        check_files(asked())
    check_files(asked(by="occupancy", start="20"))  # its schedule is set aside
