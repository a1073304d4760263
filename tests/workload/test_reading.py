"""Files of texts are read, or refused with file and line."""

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.workload.data import read_text


def test_what_is_utf_8_is_read_with_and_without_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    for mark in (b"", b"\xef\xbb\xbf"):
        file.write_bytes(mark + "Grüße\r\n".encode())
        assert read_text(file) == "Grüße\r\n"


def test_what_is_not_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("name\nZoë\n".encode() + "Müller\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"a\.csv, line 3: not UTF-8 text \(byte 11\); save"):
        read_text(file)
    with pytest.raises(ConfigError, match=r"b\.csv: No such file"):
        read_text(tmp_path / "b.csv")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_text(tmp_path)
