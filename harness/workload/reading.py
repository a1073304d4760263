"""Text files that people write: UTF-8, or one sentence that says where they are not."""

from pathlib import Path

from harness.errors import ConfigError


def read_text(file: Path) -> str:
    """A file's text, without a byte order mark. ConfigError names file and line."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}, line {line}: not UTF-8 text (byte {error.start}); save the file as UTF-8"
        ) from None
