"""A stamp is read as it was written, and a damaged one is none."""

from dataclasses import replace
from pathlib import Path

from harness.config.target import Terms, parse_target
from harness.preflight.guard import Learned, read_learned, read_stamp, write_stamp

TERMS = Terms(
    name="t",
    target=parse_target("ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"),
)


def test_there_and_back(tmp_path: Path) -> None:
    assert read_stamp(tmp_path, TERMS) is None
    for passed in (True, False):
        write_stamp(tmp_path, TERMS, passed=passed)
        found = read_stamp(tmp_path, TERMS)
        assert found is not None
        assert (found.passed, found.fingerprint) == (passed, TERMS.fingerprint)


def test_a_damaged_stamp_is_none(tmp_path: Path) -> None:
    write_stamp(tmp_path, TERMS, passed=True)
    path = tmp_path / ".preflight" / "t.json"
    for text in ("", "[]", '{"passed": true}', '{"fingerprint": "x", "at": "now", "passed": true}'):
        path.write_text(text)
        assert read_stamp(tmp_path, TERMS) is None


def test_what_was_learnt_is_kept_while_the_target_stays_the_same(tmp_path: Path) -> None:
    assert read_learned(tmp_path, TERMS) is None
    learned = Learned(greets=True, clear_s=0.25, turn_messages=2, purpose_analytics="external")
    write_stamp(tmp_path, TERMS, passed=True, learned=learned)
    assert read_learned(tmp_path, TERMS) == learned
    write_stamp(tmp_path, TERMS, passed=True)  # a quick one
    assert read_learned(tmp_path, TERMS) == learned
    changed = replace(TERMS, written={"auto_join": True})
    assert read_learned(tmp_path, changed) is None


def test_what_does_not_fit_is_not_known() -> None:
    assert Learned.of(None) == Learned.of([]) == Learned.of({"other": 1}) == Learned()
    odd = {
        "greets": 1,
        "turn_messages": True,
        "clear_s": "soon",
        "close_code": 1000,
        "retired_s": 1,
    }
    assert Learned.of(odd) == Learned(close_code=1000, retired_s=1)
