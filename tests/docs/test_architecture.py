"""The walk through the tree leads to files and names that are there."""

import re
from pathlib import Path

import pytest
from docs.manual import PAGES

import harness

PACKAGE = Path(harness.__file__).parent
PAGE = PAGES["architecture.md"]
SPANS = re.findall(r"`([^`\n]+)`", PAGE)


@pytest.mark.parametrize(
    "path", sorted({one for one in SPANS if re.search(r"/[\w-]*(\.\w+)?$", one)})
)
def test_paths_are_there(path: str) -> None:
    if path.startswith("/sim/"):
        return
    root = PACKAGE.parent if path.startswith("tests/") else PACKAGE
    assert (root / path).exists()


@pytest.mark.parametrize(
    ("names", "path"),
    re.findall(r"((?:`\w+` or )?`\w+`) (?:in|of) `([\w/]+\.py)`", PAGE),
)
def test_names_are_in_the_file_that_is_named(names: str, path: str) -> None:
    text = (PACKAGE / path).read_text()
    for name in re.findall(r"\w+", names.replace(" or ", " ")):
        assert re.search(rf"\b{name}\b", text), f"{name} in {path}"


def test_every_package_is_on_the_map() -> None:
    words = set(re.findall(r"\w+", PAGE))
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert sorted(packages - words - {"conform", "platform_api", "deploy"}) == []
