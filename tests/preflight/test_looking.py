"""A preflight against the simulator: the way, the configuration, one guest that leaves nothing."""

from pathlib import Path
from typing import Any

import pytest

from harness.ledger.leftovers import read_leftovers
from harness.preflight.checks import Status
from harness.preflight.looking import fetch_config, look_at_the_way, send_one_guest
from harness.targets import Terms, resolve_target

pytestmark = pytest.mark.process

NOBODY = "12345678-90ab-cdef-1234-567890abcdef"


def named(tmp_path: Path, url: str, more: str = "") -> Terms:
    file = tmp_path / "targets.toml"
    file.write_text(f'[targets.t]\nurl = "{url}"\n{more}')
    return resolve_target("t", file)


def test_the_way_and_the_configuration(simulator: Any, tmp_path: Path) -> None:
    terms = named(tmp_path, simulator.url)
    reach, tls = look_at_the_way(terms)
    assert (reach.status, tls.status) == (Status.OK, Status.OK)
    config, offset_s, fetched = fetch_config(terms)
    assert fetched.status is Status.OK
    assert config is not None
    assert config["messenger"]["apps"]["conversations"]["conversationClear"]["enabled"] is True
    assert offset_s is not None
    assert abs(offset_s) < 5


def test_an_unknown_deployment_fails_at_both_doors(simulator: Any, tmp_path: Path) -> None:
    terms = named(tmp_path, simulator.url.rpartition("=")[0] + f"={NOBODY}")
    assert look_at_the_way(terms)[0].status is Status.FAIL
    _, _, fetched = fetch_config(terms)
    assert "unknown deployment" in fetched.text


def test_one_guest_is_opened_answered_and_cleared(simulator: Any, tmp_path: Path) -> None:
    before = simulator.truth()["sessions"]
    check = send_one_guest(named(tmp_path, simulator.url), tmp_path)
    assert check.status is Status.OK, check.text
    after = simulator.truth()["sessions"]
    assert after["cleared"] - before["cleared"] == after["opened"] - before["opened"] == 1


def test_one_guest_that_can_not_be_proved_ended_is_a_leftover(
    simulator: Any, tmp_path: Path
) -> None:
    simulator.faults(ignore_clear=1)
    check = send_one_guest(named(tmp_path, simulator.url), tmp_path / "reports")
    assert check.status is Status.FAIL
    assert "harness sweep" in check.text
    (directory,) = (tmp_path / "reports").iterdir()
    assert len(list(read_leftovers(directory))) == 1
