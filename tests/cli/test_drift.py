"""The drift command: table, JSON and exit codes. (What it finds: studies/drift/test_figures.py.)"""

import json
from pathlib import Path

import pytest
from made_once import made_once

from harness.cli import drift
from harness.cli.main import main
from harness.errors import ConfigError, ExitCode
from harness.ledger.ledger import Stage, Store
from harness.measure.model import Sample
from harness.measure.recorder import Recorder
from harness.measure.snapshot import IntervalWriter


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return slower_by_the_minute(tmp_path)


@made_once
def slower_by_the_minute(directory: Path) -> None:
    writer = IntervalWriter(directory, "w", started_ns=10**18)
    for minute in range(40):
        recorder = Recorder()
        for step in range(100):
            took = (100 + 3 * minute) * 10**6 + step
            recorder.add(Sample("reply", 0, 0, took, took))
        writer.write(
            recorder.take(),
            ended_ns=10**18 + (minute + 1) * 60 * 10**9,
            length_s=60.0,
            state={"phase": "running", "sessions": {}, "arrivals": {}, "process": {}},
        )
    writer.close()
    store = Store(directory / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"})
    store.write([(1, "t", Stage.INTENDED, 1, 1)], [(Stage.CLEARED, "", "", 2, 1)], {})
    store.close()


@pytest.mark.slow
def test_a_drift_has_its_exit_code(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", str(run_dir)]) == ExitCode.OBJECTIVES
    output = capsys.readouterr().out
    assert "drifting" in output
    assert "The service drifts" in output


@pytest.mark.slow
def test_json(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["drift", str(run_dir), "--json", "--warm-up", "2m"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "drifting"
    assert {finding["name"] for finding in answer["findings"]} >= {"reply p50", "reply p95"}


def test_nothing_to_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", str(tmp_path)]) == ExitCode.CONFIG
    assert "no measurements" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["nan", "0", "-1", "1", "inf"])
def test_a_leak_that_can_not_be_tolerated(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "any", "--tolerated-leak", share]) == ExitCode.CONFIG
    assert "--tolerated-leak: expected a share above 0 and below 1" in capsys.readouterr().err


def test_a_page_lies_beside_the_run_unless_it_can_not_be_written(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["drift", str(run_dir), "--limit", "reply p50=1s"]) == ExitCode.OBJECTIVES
    assert str(run_dir / "drift.html") in capsys.readouterr().out
    assert "At this pace the limit of 1.00 s is reached in" in (run_dir / "drift.html").read_text()

    def full(*_: object) -> None:
        raise ConfigError("drift.html can't be written: No space left on device")

    monkeypatch.setattr(drift, "write_page", full)
    assert main(["drift", str(run_dir), "--json"]) == ExitCode.OBJECTIVES
    output = capsys.readouterr()
    assert "no page: drift.html can't be written" in output.err
    assert json.loads(output.out)["verdict"] == "drifting"


@pytest.mark.parametrize("limit", ["memory", "=5", "memory="])
def test_a_limit_without_figure_or_value(
    run_dir: Path, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    assert main(["drift", str(run_dir), "--limit", limit]) == ExitCode.CONFIG
    assert "--limit: expected FIGURE=VALUE" in capsys.readouterr().err
