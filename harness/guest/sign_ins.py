"""The sign-ins of authenticated guests: a file of JWTs, each the key to a customer's account."""

import re
from pathlib import Path

from harness.errors import ConfigError
from harness.workload.reading import read_text

_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*")


def read_sign_ins(file: Path) -> tuple[str, ...]:
    """The JWTs of a file. ConfigError names file and line and shows no secret."""
    lines = read_text(file).splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip() and not _JWT.fullmatch(line.strip()):
            raise ConfigError(f"{file}, line {number}: expected a JWT (three parts with dots)")
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise ConfigError(f"{file}: empty; expected JWTs, one a line")
    return found
