"""Files to begin with, and the ready ones."""

from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import ConfigError
from harness.load.__main__ import inspect
from harness.supervise.parameters import playable, ready, ready_folder
from harness.workload.script.file import read_script


def test_what_is_written_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["shop"], ["talk.yaml"], ["night", "--from", "load"]):
        assert main(["new", *words]) == 0
    output = capsys.readouterr().out
    assert "harness run shop.py" in output
    assert "harness run talk.yaml" in output
    inspected = inspect(tmp_path / "shop.py")
    assert inspected.get("error") is None
    assert inspected["users"] == ["Customer"]
    assert inspected["arrivals"]["duration_s"] == pytest.approx(120, rel=0.1)
    assert set(read_script(tmp_path / "talk.yaml").script.scenarios) == {
        "Where is my order", "Looking in",
    }  # fmt: skip
    assert (tmp_path / "night.py").read_text() == ready("load").read_text()


def test_nothing_is_replaced_and_what_is_unknown_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text("mine")
    for words, why in (
        (["shop"], "shop.py is there already"),
        (["x", "--from", "loaf"], "there is no ready locustfile 'loaf'; there are: breakpoint,"),
        (["x.yaml", "--from", "load"], "--from: a ready locustfile is Python"),
        (["no/folder"], "can't be written"),
        ([""], "expected the name of a file to write, got ''"),
        (["shop.txt"], "expected a name such as shop, shop.py or shop.yaml, got 'shop.txt'"),
        (["a/"], "expected the name of a file to write, got 'a/'"),
    ):
        assert main(["new", *words]) == 8
        assert why in capsys.readouterr().err
    assert (tmp_path / "shop.py").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["shop.py"]


def test_a_script_is_played_and_a_missing_default_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert playable("locustfiles/launch.py") == (str(ready_folder() / "smoke.py"), {})
    assert playable("own.py") == ("own.py", {})
    (tmp_path / "shop.yaml").touch()
    assert playable("shop.yaml") == (
        str(ready("script")), {"HARNESS_SCRIPT": str(tmp_path / "shop.yaml")}
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"there is no script 'none\.yml'"):
        playable("none.yml")
