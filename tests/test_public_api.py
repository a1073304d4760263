"""What users rely on: the names locustfiles import, and a README that tells the truth."""

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import agreed
import pytest

import harness.load
from harness.load import GuestSession, GuestUser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_names_for_locustfiles() -> None:
    names = sorted(harness.load.__all__)
    assert [name for name in names if not hasattr(harness.load, name)] == []
    agreed.hold("load.txt", "".join(f"{name}\n" for name in names))


def documented() -> Iterator[tuple[str, object]]:
    """Each public name of the API, and each verb of a guest."""
    for name in harness.load.__all__:
        yield name, getattr(harness.load, name)
    for kind in (GuestSession, GuestUser):
        verbs = {name for name, value in vars(kind).items() if inspect.isfunction(value)}
        verbs -= {"start", "stop", "note_end", "open", "abandon", "wait_time"}  # not for stories
        for verb in sorted(name for name in verbs if not name.startswith("_")):
            yield f"{kind.__name__}.{verb}", getattr(kind, verb)


TIMES = re.compile(
    r"\b(within|over|each|at|hold|rise|duration|in_session|median|value|values|low)\b"
)


@pytest.mark.parametrize(("name", "thing"), [pytest.param(*one, id=one[0]) for one in documented()])
def test_pydoc_shows_an_example_what_is_raised_and_units(name: str, thing: object) -> None:
    own = vars(thing).get("__doc__") if isinstance(thing, type) else thing.__doc__
    text = own or ""
    assert len(text) > 40, f"{name} has no docstring of its own"
    if isinstance(thing, type) and issubclass(thing, Exception):
        attributes = set(inspect.signature(thing.__init__).parameters) - {"self", "args", "kwargs"}
        own_init = "__init__" in vars(thing)
        missing = [one for one in attributes if own_init and f"``{one}``" not in text]
        assert set(missing) <= {"code", "text", "tracing_id"}, f"{name} does not say: {missing}"
        return
    assert re.search(r"``[^`]*[(\[. ][^`]*``|::\n", text), f"{name} shows no example"
    if isinstance(thing, type) and (issubclass(thing, tuple) or name == "Schedule"):
        return  # what is only looked at raises nothing
    assert re.search(r"[Rr]aises|ConfigError", text), f"{name} does not say what it raises"
    if inspect.isfunction(thing):
        timed = [one for one in inspect.signature(thing).parameters if TIMES.fullmatch(one)]
        by_kind = name.startswith("GuestSession.")  # the class says it once for all its verbs
        assert by_kind or not timed or re.search("unit|[Ss]econds", text), f"{name}: {timed}"


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
    from harness.load.__main__ import inspect

    inspected = inspect(path)
    assert inspected.get("error") is None
    assert inspected["users"] == ["Shopper"]
    assert inspected["arrivals"]["slots"] == 60


def test_files_that_the_readme_shows_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert missing == []


def test_every_exception_of_a_story_can_be_named_from_the_public_api() -> None:
    from harness.guest.outcomes import STORY_ENDS

    public = {getattr(harness.load, name) for name in harness.load.__all__}
    assert set(STORY_ENDS) <= public
    kinds = {kind for end in STORY_ENDS for kind in end.__subclasses__()}
    assert kinds <= public


def test_a_typed_locustfile_needs_nothing_from_inside() -> None:
    """That its types are right says ``make check``."""
    place = "tests/typed_locustfile.py"
    assert place in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
    nodes = list(ast.walk(ast.parse((ROOT / place).read_text())))
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    whole = [node for node in nodes if isinstance(node, ast.Import)]
    imported |= {alias.name for node in whole for alias in node.names}
    assert imported == {"locust", "harness.load"}
