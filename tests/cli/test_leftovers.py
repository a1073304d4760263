"""Leftovers are listed; tokens are shortened unless asked for."""

import json
import shutil
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import ExitCode
from harness.ledger.ledger import Stage, Store

TOKEN = "12345678-90ab-cdef-1234-567890abcdef"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    store = Store(tmp_path / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"})
    store.write(
        [(1, TOKEN, Stage.INTENDED, 1, 1), (2, "other", Stage.INTENDED, 1, 1)],
        [(Stage.LOST, "clear_unanswered", "m-1", 2, 1), (Stage.CLEARED, "", "", 2, 2)],
        {},
    )
    store.close()
    return tmp_path


def test_json_is_exact_and_safe(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leftovers", str(run_dir), "--json"]) == ExitCode.LEFTOVERS
    output = capsys.readouterr().out
    (row,) = json.loads(output)["leftovers"]
    assert (row["token"], row["state"]) == ("12345678…", "lost")
    assert (row["reason"], row["holds_conversation"]) == ("clear_unanswered", True)
    assert TOKEN not in output


def test_whole_tokens_only_when_asked_for(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["leftovers", str(run_dir), "--csv", "--show-tokens"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("token,state,reason")
    assert lines[1].startswith(f"{TOKEN},lost,clear_unanswered")


def test_for_people(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["leftovers", str(run_dir)])
    output = capsys.readouterr().out
    assert "1 left over: clear_unanswered 1" in output
    assert "harness sweep" in output
    assert TOKEN not in output


def test_none_and_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leftovers", str(tmp_path)]) == ExitCode.PASS
    assert main(["leftovers", "nowhere", "--reports", str(tmp_path)]) == ExitCode.CONFIG
    assert "there is no run 'nowhere'" in capsys.readouterr().err


def test_a_damaged_file_is_warned_of_and_never_a_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ledger-w.sqlite").write_bytes(b"garbage " * 1000)
    assert main(["leftovers", str(tmp_path)]) == ExitCode.INVALID
    output = capsys.readouterr()
    assert "ledger-w.sqlite" in output.err
    assert "there may be some" in output.out
    assert main(["sweep", str(tmp_path)]) == ExitCode.LEFTOVERS
    assert "nothing to do" not in capsys.readouterr().out


def test_the_copy_of_a_lost_workers_ledger_is_never_a_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    Store(tmp_path / "run" / "ledger-far.sqlite", {"worker": "far", "copy_of": "far"}).close()
    for which in (["run"], ["--all"]):
        assert main(["leftovers", *which, "--reports", str(tmp_path)]) == ExitCode.INVALID
        output = capsys.readouterr()
        assert "far was lost on another machine" in output.err
        assert "there may be some" in output.out


def test_the_run_that_is_taken_is_told_and_the_others_with_leftovers(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("guest-1", "r-2"):
        (run_dir / name).mkdir()
        shutil.copy(run_dir / "ledger-w.sqlite", run_dir / name)
    (run_dir / "r-3").mkdir()
    (run_dir / "r-3" / "start.json").write_text('{"started": "2036-01-01T00:00:00Z"}')
    here = ["--reports", str(run_dir)]
    assert main(["leftovers", "latest", *here]) == ExitCode.PASS
    output = capsys.readouterr()
    assert "run r-3: it was begun, and no guest has come" in output.err
    assert "also left sessions without proof" in output.err
    assert "guest-1" in output.err
    assert main(["leftovers", "--all", *here]) == ExitCode.LEFTOVERS
    output = capsys.readouterr()
    assert output.out.count("1 left over: clear_unanswered 1") == 3
    assert main(["leftovers", "--all", "--json", *here]) == ExitCode.LEFTOVERS
    rows = json.loads(capsys.readouterr().out)["leftovers"]
    assert {row["run"] for row in rows} == {"guest-1", "r-2", run_dir.name}
    assert main(["leftovers", "--all", "latest", *here]) == ExitCode.USAGE
    assert main(["leftovers", "--all", "--reports", str(run_dir / "r-3")]) == ExitCode.PASS


def test_a_folder_that_is_not_there_is_no_folder_without_leftovers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leftovers", "--all", "--reports", str(tmp_path / "none")]) == ExitCode.CONFIG
    output = capsys.readouterr()
    assert f"there is no folder {tmp_path / 'none'}/" in output.err
    assert not output.out


def test_json_and_csv_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leftovers", "latest", "--json", "--csv"]) == ExitCode.USAGE
    assert capsys.readouterr() == ("", "error: --json and --csv do not go together\n")
