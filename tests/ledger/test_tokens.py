"""Derived tokens: the same again from the secret alone, never the same twice, private."""

import multiprocessing
import stat
import uuid
from pathlib import Path

import pytest

from harness.errors import LedgerError
from harness.ledger.ledger import (
    Tokens,
    claim_number,
    claimed,
    derive,
    guest_tag,
    run_secret,
)
from harness.rundir.layout import RunDirectory


def test_a_token_can_be_made_again_from_the_secret(tmp_path: Path) -> None:
    tokens = Tokens.of(tmp_path, "host-1")
    made = [tokens.next() for _ in range(3)]
    assert made == [derive(run_secret(tmp_path), 0, sequence) for sequence in (1, 2, 3)]
    assert derive(b"another secret", 0, 1) not in made


def test_a_token_has_the_form_of_a_random_uuid_and_none_comes_twice() -> None:
    made = {derive(b"s" * 32, worker, n) for worker in range(4) for n in range(1, 501)}
    assert len(made) == 2000
    assert {uuid.UUID(token).version for token in made} == {4}
    assert {uuid.UUID(token).variant for token in made} == {uuid.RFC_4122}


def test_a_known_answer() -> None:
    # So that a later version still finds the tokens of a run made by this one.
    assert derive(bytes(32), 3, 17) == "4a0caf86-283d-4116-966a-7d718bc4be1f"


def test_the_secret_is_for_the_owner_only_and_stays(tmp_path: Path) -> None:
    first = run_secret(tmp_path)
    assert stat.S_IMODE(RunDirectory(tmp_path).secret.stat().st_mode) == 0o600
    assert run_secret(tmp_path) == first
    claim_number(tmp_path, "a")
    assert stat.S_IMODE(RunDirectory(tmp_path).workers.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"secret", "workers.jsonl"}


def _claim(directory: Path, name: str) -> tuple[bytes, int]:
    return run_secret(directory), claim_number(directory, name)


@pytest.mark.process
def test_processes_that_start_together_share_the_secret_and_no_number(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.starmap(_claim, [(tmp_path, f"w{n}") for n in range(12)])
    assert len({secret for secret, _ in found}) == 1
    assert sorted(number for _, number in found) == list(range(12))
    assert claimed(tmp_path) == {f"w{n}": number for n, (_, number) in enumerate(found)}


def test_a_damaged_secret_is_told_and_not_replaced(tmp_path: Path) -> None:
    RunDirectory(tmp_path).secret.write_bytes(b"short")
    with pytest.raises(LedgerError, match="expected 32 bytes, not 5"):
        run_secret(tmp_path)
    assert RunDirectory(tmp_path).secret.read_bytes() == b"short"


def test_a_damaged_line_still_is_a_number_that_was_given(tmp_path: Path) -> None:
    claim_number(tmp_path, "a")
    with RunDirectory(tmp_path).workers.open("ab") as file:
        file.write(b"gar\x00bage\n")
    assert claim_number(tmp_path, "c") == 2
    assert claimed(tmp_path) == {"a": 0, "worker 1": 1, "c": 2}


def test_without_a_list_nobody_has_claimed(tmp_path: Path) -> None:
    assert claimed(tmp_path) == {}


def test_a_folder_that_is_not_there_is_a_ledger_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="can't be used"):
        run_secret(tmp_path / "no")
    with pytest.raises(LedgerError, match="can't be written"):
        claim_number(tmp_path / "no", "a")


def test_a_guests_tag_does_not_show_its_token() -> None:
    token = derive(bytes(32), 0, 1)
    assert guest_tag(token) == guest_tag(token)
    assert token[:8] not in guest_tag(token)
    assert len(guest_tag(token)) == 16
