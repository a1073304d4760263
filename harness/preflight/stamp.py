"""The memory of a preflight: a small file in the reports folder, read before a run begins."""

from datetime import UTC, datetime
from pathlib import Path

import orjson

from harness.errors import ConfigError
from harness.guard import Stamp
from harness.targets import Terms

FOLDER = ".preflight"


def write_stamp(reports: Path, terms: Terms, *, passed: bool) -> None:
    """Note that a preflight of this target has been. Raises ConfigError."""
    path = _path(reports, terms)
    found = {
        "fingerprint": terms.fingerprint,
        "at": datetime.now(UTC).isoformat(),
        "passed": passed,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(found))
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror or error}") from error


def read_stamp(reports: Path, terms: Terms) -> Stamp | None:
    """The last preflight of this target; None when there was none that can be read."""
    try:
        found = orjson.loads(_path(reports, terms).read_bytes())
        return Stamp(
            fingerprint=str(found["fingerprint"]),
            at=datetime.fromisoformat(found["at"]),
            passed=found["passed"] is True,
        )
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def _path(reports: Path, terms: Terms) -> Path:
    return reports / FOLDER / f"{terms.name or terms.fingerprint}.json"
