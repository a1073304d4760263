"""A script as load: read when the class is made, rows shared fairly, played by real Locust."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from locusts import ROOT, finish, only_run, passed, start

from harness.errors import ConfigError, ExitCode
from harness.ledger.ledger import guest_tag
from harness.load.user import ScriptUser, open_script
from harness.protocol.requests import attributes_size
from harness.rundir.layout import new_run_id
from harness.workload.script.file import OWN_ATTRIBUTE_BYTES


def test_rows_are_shared_among_workers(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("n\n1\n2\n3\n4\n5\n")
    (tmp_path / "s.yaml").write_text(
        "feeder:\n  file: n.csv\n  mode: unique\nscenarios:\n  a:\n    - say: '{{n}}'\n"
    )
    opened = open_script("s.yaml", tmp_path, "User")
    assert opened.feeder is not None
    rows = [[row["n"] for row in opened.feeder.rows_of(worker, 2)] for worker in (0, 1)]
    assert rows == [["1", "3", "5"], ["2", "4"]]


def test_what_is_wrong_is_told_when_the_class_is_made() -> None:
    with pytest.raises(ConfigError, match="names no script"):
        type("Nameless", (ScriptUser,), {"__module__": __name__})
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        type("Lost", (ScriptUser,), {"__module__": __name__, "script": "gone.yaml"})


def test_a_scripts_attributes_leave_room_for_the_runs_own() -> None:
    own = {"runId": new_run_id(), "guest": guest_tag(str(uuid.uuid4()))}
    assert attributes_size(own) <= OWN_ATTRIBUTE_BYTES


@pytest.mark.process
def test_the_example_runs_as_load(simulator: Any, tmp_path: Path) -> None:
    process = start(
        ROOT / "locustfiles" / "script.py",
        tmp_path,
        simulator.url,
        "--stop-timeout",
        "9",
        HARNESS_OVER="8s",
    )
    code, output = finish(process)
    run = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert run["sessions"]["leftover"] == 0, output
    assert run["sessions"]["cleared"] >= 1
    assert run["operations"]["reply"]["outcomes"].keys() <= {"ok", "cut_short"}
    assert run["guests"]["failed"] == 0
    # Eight seconds are too few for the objectives' percentiles.
    assert passed(code, output) or code == ExitCode.NO_DATA, output


@pytest.mark.process
def test_a_choice_that_is_not_offered_ends_that_story_and_the_run_goes_on(
    simulator: Any, tmp_path: Path
) -> None:
    (tmp_path / "words.csv").write_text("word\nmenu\nother\n")
    (tmp_path / "s.yaml").write_text(
        "feeder: words.csv\nscenarios:\n  pick one:\n    - say: '{{word}}'\n    - waitForReply\n"
        "    - choose: First\n    - waitForReply\n"
    )
    (tmp_path / "guests.py").write_text(
        "from harness.load import ScriptUser\n\n\nclass Guest(ScriptUser):\n    script = 's.yaml'\n"
    )
    words = ("-u", "2", "-r", "2", "-t", "4s", "--stop-timeout", "9", "--listen", "off")
    code, output = finish(start(tmp_path / "guests.py", tmp_path, simulator.url, *words))
    run = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert (code, run["verdict"]) == (ExitCode.OBJECTIVES, "FAIL"), output
    stories, guests = run["stories"], run["guests"]
    assert stories["broken_off"] == guests["why"]["broken_off"] > 2
    step = "pick one, step 3: choose: the choice was not offered"
    assert stories["where"] == [{"step": step, "count": stories["broken_off"]}]
    (told,) = stories["told"]  # of the row that came first
    assert "pick one, step 3" in told
    assert "'First'" in told
    assert re.search(r"words\.csv, line [23]\b", told)
