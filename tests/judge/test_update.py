"""After a sweep the account is what it is now; the verdict is what it was."""

import json
from pathlib import Path

import pytest

from harness.errors import ConfigError, ExitCode
from harness.judge.reading import (
    ENDED_EARLY,
    VERDICT_STAYS,
    bring_up_to_date,
    end_of_killed,
    make_end_of_killed,
    sweep_block,
)
from harness.judge.record import build_record, write_record
from harness.ledger.ledger import Stage, Store
from harness.ledger.reader import read_leftovers, settle
from harness.rundir.layout import RunDirectory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    store = Store(tmp_path / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"})
    store.write([(n, f"t{n}", Stage.INTENDED, 1, 1) for n in (1, 2, 3)], [], {})
    store.write([], [(Stage.LOST, "cut", "", 2, 1), (Stage.CLEARED, "", "", 2, 2)], {})
    store.close()
    return tmp_path


def test_the_account_moves_on_and_the_verdict_stays(directory: Path) -> None:
    before = build_record(directory)
    write_record(directory, before)
    assert before["sessions"]["leftover"] == 2
    for left in read_leftovers(directory):
        settle(left, "sweep: cleared")
    bring_up_to_date(directory, "sweep", sweep_block(2, 0, by="harness sweep"))
    after = json.loads((directory / "run.json").read_text())
    assert (after["sessions"]["leftover"], after["sessions"]["settled"]) == (0, 2)
    assert (after["sweep"]["settled"], after["sweep"]["left"]) == (2, 0)
    assert after["sweep"]["verdict"] == VERDICT_STAYS
    assert after["verdict"] == before["verdict"]
    assert after["exit_code"] == before["exit_code"]


def test_a_run_without_a_record_gets_one(directory: Path) -> None:
    after = bring_up_to_date(directory, "sweep", sweep_block(0, 2, by="harness sweep"))
    assert after["verdict"] == "INVALID"
    assert ENDED_EARLY in after["reasons"][0]


def test_a_killed_run_gets_its_record_from_whoever_looks_first(tmp_path: Path) -> None:
    store = Store(RunDirectory(tmp_path).ledger("w"), {"worker": "w"})
    store.write([(1, "t", Stage.JOINED, 1, 1)], [], {})
    store.close()
    assert make_end_of_killed(tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["verdict"], record["sessions"]["leftover"]) == ("INVALID", 1)
    assert ENDED_EARLY in record["reasons"]
    assert not make_end_of_killed(tmp_path)
    assert end_of_killed(tmp_path) == ""
    (tmp_path / "run.json").unlink()
    assert end_of_killed(tmp_path) == "its record was made now, from the files that it had written"
    for left in read_leftovers(tmp_path):
        settle(left, "sweep: cleared")
    after = bring_up_to_date(tmp_path, "sweep", sweep_block(1, 0, by="harness sweep"))
    assert after["sessions_at_end"]["leftover"] == 1  # the sweep is none of its merit
    assert after["exit_code"] == record["exit_code"] == ExitCode.LEFTOVERS


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_record_is_told_and_not_replaced(directory: Path, text: str) -> None:
    (directory / "run.json").write_text(text)
    with pytest.raises(ConfigError, match=r"run\.json"):
        bring_up_to_date(directory, "sweep", {})
    assert (directory / "run.json").read_text() == text
