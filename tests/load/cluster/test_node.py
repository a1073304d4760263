"""The name of a node is the only one of its kind, and fit for a file."""

import re

import pytest

from harness.load.cluster.replication import new_node_name


def test_no_name_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "über/../" + "x" * 300)
    names = {new_node_name() for _ in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name) for name in names)
