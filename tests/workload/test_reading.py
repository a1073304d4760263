"""Files of texts are read, or refused with file and line."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import foreign
from harness.config.target import read_targets
from harness.errors import ConfigError
from harness.foreign import check_file, read_text
from harness.judge.reading import read_objectives
from harness.simulator.dialogue import read_dialogue
from harness.workload.data import read_table, read_texts


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


def test_what_somebody_writes_into_a_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    text = "x" * 100_000 + "\n"
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    assert read_text(pipe) == text
    writer.join()
    theirs, ours = os.pipe()  # as of <(command) in a shell
    os.write(ours, b"hello")
    os.close(ours)
    assert read_text(Path(f"/dev/fd/{theirs}")) == "hello"
    with pytest.raises(ConfigError, match="a pipe, and nothing is written into it"):
        read_text(Path(f"/dev/fd/{theirs}"))
    os.close(theirs)


def test_what_would_never_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "PIPE_WITHIN_S", 0.05)
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"pipe: a pipe, and nothing has come from it for"):
        read_text(pipe)
    with pytest.raises(ConfigError, match=r"^/dev/zero: not a regular file$"):
        read_text(Path("/dev/zero"))
    assert read_text(Path(os.devnull)) == ""


def test_what_is_read_more_than_once_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    for file, why in (
        (pipe, "pipe is not a regular file: a script is read more than once"),
        (tmp_path, "is a folder; expected a script"),
        (tmp_path / "none", "there is none"),
    ):
        with pytest.raises(ConfigError, match=why):
            check_file(file, "there is none", what="a script")
    for read in (read_targets, read_table, read_texts):
        with pytest.raises(ConfigError, match="pipe is not a regular file"):
            read(pipe)


TOML = {
    read_targets: '[targets.t]\nurl = "ws://h/v1?deploymentId=00000000-0000-0000-0000-000000000000"\n',
    read_objectives: 'objectives = ["leftovers == 0"]\n',
    read_dialogue: 'greeting = "Hello"\nfallback = "Yes"\n[[answer]]\nto = "a"\nsay = "b"\n',
}


@pytest.mark.parametrize(("read", "text"), TOML.items())
def test_each_toml_file_is_read_as_editors_save_it_or_refused_with_its_line(
    tmp_path: Path, read: Callable[[Path], object], text: str
) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    read(file)
    for data, why in (
        (text.encode() + "# Zoë".encode("latin-1"), r"not UTF-8 text \(byte \d+\); save the file"),
        (text.encode() + b"x = 1\0", "not TOML: Expected newline"),
    ):
        file.write_bytes(data)
        with pytest.raises(ConfigError, match=rf"a\.toml, line {data.count(10) + 1}: {why}"):
            read(file)
    file.unlink()
    file.symlink_to(file)
    with pytest.raises(ConfigError, match=r"a\.toml: Too many levels of symbolic links$"):
        read(file)
