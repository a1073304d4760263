"""The probe lets itself in and out and opens nothing."""

from typing import Any

import pytest

from harness.config.target import parse_target
from harness.errors import UpgradeRejected
from harness.transport.websocket import probe

pytestmark = pytest.mark.process


def test_a_probe_creates_no_session(simulator: Any) -> None:
    before = simulator.truth()["sessions"]["opened"]
    phases = probe(parse_target(simulator.url))
    assert phases["connect"] >= phases["tcp"] > 0
    assert simulator.truth()["sessions"]["opened"] == before


def test_an_unknown_deployment_is_told(simulator: Any) -> None:
    url = simulator.url.rpartition("=")[0] + "=12345678-90ab-cdef-1234-567890abcdef"
    with pytest.raises(UpgradeRejected, match="unknown deployment id"):
        probe(parse_target(url))
