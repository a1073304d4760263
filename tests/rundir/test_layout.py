"""The names of a run's files have one owner, and what is written is whole."""

import ast
import os
import re
import resource
import signal
from collections.abc import Iterable
from errno import ENOSPC
from pathlib import Path

import pytest
from source import modules

from harness.errors import ConfigError
from harness.rundir import layout
from harness.rundir.layout import (
    RunDirectory,
    RunFile,
    write_atomically,
    write_json,
    write_new,
    write_once,
    writing,
)

OWNER = "rundir/layout.py"
PAGES = (".html", ".md", ".csv")


def templates(nodes: Iterable[ast.AST]) -> list[ast.expr]:
    """The names of templates, which are those of the pages that they make."""
    return [
        argument
        for node in nodes
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get_template"
        for argument in node.args
    ]


def names() -> list[str]:
    """All names that a run directory knows, without what differs from process to process."""
    run = RunDirectory(Path("run"))
    of_run = [
        getattr(run, name).name
        for name, kind in vars(RunDirectory).items()
        if isinstance(kind, RunFile)
    ]
    per_process = [kind("").name for kind in (run.ledger, run.intervals, run.histograms)]
    parts = [part for name in per_process for part in re.split(r"(?=\.)", name)]
    pages = [
        value
        for name, value in vars(layout).items()
        if name.isupper() and isinstance(value, str) and "." in value
    ]
    return [*of_run, *parts, *pages]


def test_nobody_else_spells_the_name_of_a_file_of_a_run() -> None:
    known = {f"/{name}" if name.endswith(PAGES) else name for name in names()}
    known = {name for name in known if "." in name or name.endswith("-")} - {".jsonl"}
    assert {"run.json", "start.json", "ledger-", ".sqlite", "/report.html", "failures.txt"} <= known
    spelt = [
        f"{module}: {node.value!r}"
        for module, nodes in modules().items()
        if module != OWNER
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if " " not in node.value and any(name in f"/{node.value}" for name in known)
        if node not in templates(nodes)
    ]
    assert spelt == []


def test_nobody_else_spells_how_the_name_of_a_folder_begins_or_ends() -> None:
    """By them visits are told from runs."""
    parts = {
        value
        for name, value in vars(layout).items()
        if name.endswith(("_PREFIX", "_SUFFIX")) and isinstance(value, str)
    }
    assert {"guest-", "preflight-", "capacity-", "-merged"} <= parts
    spelt = [
        f"{module}: {node.value!r}"
        for module, nodes in modules().items()
        if module != OWNER
        for node in nodes
        if isinstance(node, ast.Constant) and node.value in parts
    ]
    assert spelt == []


def test_nobody_else_replaces_a_file() -> None:
    """``a.replace(b)`` with one argument is a path's; so is every rename."""
    found = set()
    for module, nodes in modules().items():
        if module.startswith("simulator/"):
            continue  # it knows no runs; its settings are replaced so
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                moves = name == "replace" and len(node.args) == 1 and not node.keywords
                if moves or name in ("rename", "fsync"):
                    found.add(f"{module}: {name}")
    # What is set aside is kept; the list of workers is only ever added to; a file of a worker that
    # is copied anew grows beside the old copy and takes its place.
    others = {
        "ledger/reader.py: rename",
        "ledger/ledger.py: fsync",
        "load/cluster/replication.py: replace",
    }
    assert found == {f"{OWNER}: replace", f"{OWNER}: fsync", *others}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_json(tmp_path / "a.json", {"a": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomically(path, "half")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b'{\n  "a": 1\n}'
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_of_several_writers_counts(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_once(path, b"first")
    write_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_told_by_its_path_and_the_system_s_reason(tmp_path: Path) -> None:
    full = "x can't be written: No space left on device"
    with pytest.raises(ConfigError, match=full), writing(Path("x")):
        raise OSError(ENOSPC, "No space left on device")
    with (
        pytest.raises(ConfigError, match="x can't be written: no reason given"),
        writing(Path("x")),
    ):
        raise OSError("no reason given")
    here = write_new(tmp_path / "one", "mine")
    with pytest.raises(ConfigError, match="one is there already; it was left as it is"):
        write_new(here, "yours")
    with pytest.raises(ConfigError, match="two can't be written: Not a directory"):
        write_new(here / "two", "yours")
    assert here.read_text() == "mine"


def test_a_new_file_that_could_not_be_written_whole_is_not_in_the_way(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(ConfigError, match=r"new\.py can't be written: File too large"):
            write_new(tmp_path / "new.py", "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not (tmp_path / "new.py").exists()
