"""Sets of texts: sizes mean what they say, every language is complete, bad files are placed."""

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.limits import MAX_TEXT_BYTES
from harness.workload.data import Size, languages, read_texts, texts


@pytest.mark.parametrize("language", languages())
def test_every_language_has_every_size(language: str) -> None:
    short, medium, long, limit = (texts(size, language=language) for size in Size)
    for one in (short, medium, long, limit):
        assert len(set(one)) == len(one) >= 5
        assert all(text.strip() == text and "\n" not in text for text in one)
    assert max(map(len, short)) < min(map(len, medium))
    assert max(map(len, medium)) * 2 < min(map(len, long))
    assert {len(text.encode()) for text in limit} == {MAX_TEXT_BYTES}
    assert "\ufffd" not in "".join(limit)


def test_the_usual_set_is_short_english() -> None:
    assert texts() == texts("short", language="en")
    assert "Where is my order?" in texts()
    assert {"en", "de", "fr", "es", "it", "pt", "ja"} == set(languages())


def test_texts_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    file.write_bytes("\ufeffGrüß Gott\n\n  # 4711 is my number\n".encode())
    assert texts(file=file) == ("Grüß Gott", "# 4711 is my number")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "own.txt: empty; expected texts, one a line"),
        (b"hello\n" + b"x" * 4097, "own.txt, line 2: 4097 bytes; the service takes 4096"),
        (b"gr\xfc\xdf", r"own.txt, line 1: not UTF-8 text \(byte 2\)"),
    ],
)
def test_bad_files_are_placed(tmp_path: Path, data: bytes, why: str) -> None:
    file = tmp_path / "own.txt"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=why):
        read_texts(file)


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="size: expected one of short, medium, long, limit"):
        texts("huge")
    with pytest.raises(ConfigError, match=r"language: expected one of en, de, .* got 'tlh'"):
        texts("short", language="tlh")
    with pytest.raises(ConfigError, match=r"gone\.txt: No such file"):
        texts(file="gone.txt")
