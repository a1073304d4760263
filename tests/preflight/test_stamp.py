"""A stamp is read as it was written, and a damaged one is none."""

from pathlib import Path

from harness.config import parse_target
from harness.preflight.stamp import FOLDER, read_stamp, write_stamp
from harness.targets import Terms

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
    path = tmp_path / FOLDER / "t.json"
    for text in ("", "[]", '{"passed": true}', '{"fingerprint": "x", "at": "now", "passed": true}'):
        path.write_text(text)
        assert read_stamp(tmp_path, TERMS) is None
