"""Tests mirror modules: each module has its test file and each test file its module."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
# __init__ and __main__ only hand on what other modules define.
HANDS_ON = {"__init__.py", "__main__.py"}
# Tests of the whole, which belong to no single module.
WHOLE = {"test_layout.py", "test_public_api.py"}
WHOLE_FOLDERS = {"run", "benchmarks"}


def modules() -> set[str]:
    found = (path.relative_to(ROOT / "harness") for path in (ROOT / "harness").rglob("*.py"))
    return {path.as_posix() for path in found if path.name not in HANDS_ON}


def mirrored() -> set[str]:
    here = ROOT / "tests"
    names = set()
    for path in here.rglob("test_*.py"):
        inside = path.relative_to(here)
        if inside.parts[0] not in WHOLE_FOLDERS and inside.name not in WHOLE:
            names.add((inside.parent / inside.name.removeprefix("test_")).as_posix())
    return names


def test_every_module_has_a_test_file() -> None:
    assert modules() - mirrored() == set()


def test_every_test_file_has_a_module() -> None:
    assert mirrored() - modules() == set()


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for folder in ("harness", "locustfiles")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 400} == {}
