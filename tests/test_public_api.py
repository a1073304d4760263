"""What users rely on: the names locustfiles import, and a README that tells the truth."""

import ast
import re
from pathlib import Path

import agreed

import harness.load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_names_for_locustfiles() -> None:
    names = sorted(harness.load.__all__)
    assert [name for name in names if not hasattr(harness.load, name)] == []
    agreed.hold("load.txt", "".join(f"{name}\n" for name in names))


def test_locustfiles_import_only_locust_the_standard_library_and_the_public_api() -> None:
    allowed = {"locust", "harness.load", "random", "os", "pathlib", "time"}
    for path in (ROOT / "locustfiles").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module in allowed, path.name
            elif isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed, path.name


def test_the_readmes_locustfile_is_a_good_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "readme.py"
    path.write_text(block)
    from harness.load.inspection import inspect

    found = inspect(path)
    assert found.get("error") is None
    assert found["users"] == ["Shopper"]
    assert found["arrivals"]["slots"] == 60


def test_files_that_the_readme_shows_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []
