"""A preflight against the simulator: the way, the configuration, who may connect."""

from pathlib import Path
from typing import Any

import pytest
from sessions import Simulated

from harness.config.target import Terms, resolve_target
from harness.preflight.checks import Status
from harness.preflight.probes import check_reachability, fetch_config, fetch_domains

pytestmark = pytest.mark.process

NOBODY = "12345678-90ab-cdef-1234-567890abcdef"


def named(tmp_path: Path, url: str, more: str = "") -> Terms:
    file = tmp_path / "targets.toml"
    file.write_text(f'[targets.t]\nurl = "{url}"\n{more}')
    return resolve_target("t", file)


def test_the_way_and_the_configuration(simulator: Any, tmp_path: Path) -> None:
    terms = named(tmp_path, simulator.url)
    reach, tls = check_reachability(terms)
    assert (reach.status, tls.status) == (Status.OK, Status.OK)
    config, offset_s, fetched = fetch_config(terms)
    assert fetched.status is Status.OK
    assert config is not None
    assert config["messenger"]["apps"]["conversations"]["conversationClear"]["enabled"] is True
    assert offset_s is not None
    assert abs(offset_s) < 5


def test_an_unknown_deployment_fails_at_both_doors(simulator: Any, tmp_path: Path) -> None:
    terms = named(tmp_path, simulator.url.rpartition("=")[0] + f"={NOBODY}")
    assert check_reachability(terms)[0].status is Status.FAIL
    _, _, fetched = fetch_config(terms)
    assert "unknown deployment" in fetched.text


def test_who_may_connect_is_read_beside_the_configuration(tmp_path: Path) -> None:
    with Simulated("--deployment", "allow_all_domains=false") as world:
        assert fetch_domains(named(tmp_path, world.url)) == {
            "allowAllDomains": False,
            "allowedDomains": [],
        }
    assert fetch_domains(named(tmp_path, world.url)) is None  # nobody is there any more
