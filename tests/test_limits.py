"""The limits that the service documents, and that nothing else names them again."""

import re
from pathlib import Path

import harness
from harness import limits

PACKAGE = Path(harness.__file__).parent
TWIN = PACKAGE / "simulator"


def test_the_documented_limits() -> None:
    assert limits.MAX_TEXT_BYTES == 4096
    assert limits.MAX_ATTRIBUTE_BYTES == 2048
    assert limits.MAX_FILE_BYTES == 10 * 1024 * 1024
    assert limits.REQUESTS_PER_CONNECTION_PER_MINUTE == 60
    assert limits.MESSAGES_PER_SESSION_PER_SECOND == 5
    assert limits.CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE == 1000
    assert (limits.HEALTH_CHECK_EVERY_S, limits.TYPING_EVERY_S) == (45, 5)


def test_each_has_one_owner() -> None:
    own = re.compile(rf"^({'|'.join(name for name in vars(limits) if name.isupper())}) =", re.M)
    owners = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if not path.is_relative_to(TWIN) and own.search(path.read_text(encoding="utf-8"))
    }
    assert owners == {"limits.py"}  # the simulator has a reading of its own
