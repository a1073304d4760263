"""The lock files hold all that they need: with hashes, pip refuses a file that lacks one."""

from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def locked(name: str) -> set[str]:
    """The distributions that a lock file names for this Python on this machine."""
    lines = (ROOT / name).read_text().splitlines()
    requirements = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    return {
        canonicalize_name(one.name)
        for one in requirements
        if not one.marker or one.marker.evaluate()
    }


def needed_by(name: str) -> set[str]:
    try:
        requirements = [Requirement(text) for text in requires(name) or ()]
    except PackageNotFoundError:  # another file's
        return set()
    return {
        canonicalize_name(one.name)
        for one in requirements
        if not one.marker or one.marker.evaluate({"extra": ""})
    }


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_a_lock_file_holds_what_each_of_its_packages_needs(name: str) -> None:
    versions = locked(name)
    missing = {one: gone for one in sorted(versions) if (gone := needed_by(one) - versions)}
    assert missing == {}
    assert needed_by("web-messaging-harness") <= versions
