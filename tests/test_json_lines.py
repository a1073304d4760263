"""What is printed becomes JSON a line, and is read back as it was."""

import io
import json

import pytest

from harness.streams import JsonLines, plain_line

TOKEN = "0b7a51a4-5f6e-4b5a-9d3a-0123456789ab"


def test_each_line_is_one_object_however_it_is_written() -> None:
    behind = io.StringIO()
    lines = JsonLines(behind, "here")
    for part in ("err", "or: a token ", f"{TOKEN}\n\n", "one\ntwo  \nth"):
        lines.write(part)
    lines.names = lambda: ("r-1", "master")
    lines.write("ree\n")
    rows = [json.loads(line) for line in behind.getvalue().splitlines()]
    messages = [(one["level"], one["message"], one["run"]) for one in rows]
    assert messages == [
        ("ERROR", "error: a token 0b7a51a4…", ""),
        ("INFO", "one", ""), ("INFO", "two", ""), ("INFO", "three", "r-1"),
    ]  # fmt: skip
    assert [plain_line(line) for line in behind.getvalue().splitlines()][1:] == [
        "one", "two", "three",
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["", "error: x", '{"time":', '{"time": 1}', '{"time":"x"}', "[]"])
def test_what_is_no_line_of_ours_stays_as_it_is(line: str) -> None:
    assert plain_line(line) == line
