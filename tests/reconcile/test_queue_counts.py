"""Queues and flows are counted before and after; what can't be counted stops nothing."""

import json
import os
import uuid
from pathlib import Path

import pytest
from locusts import environment_for, finish, launch, locustfile, only_run
from sessions import Guest, Simulated

from harness.config.target import parse_target
from harness.judge.record import build_record
from harness.reconcile.platform import note_counts
from harness.rundir.layout import read_start, write_start

GIVEN = {"OUR_ID": "simulated-client", "OUR_SECRET": "simulated-secret"}
NAMES = {"client_id_env": "OUR_ID", "client_secret_env": "OUR_SECRET"}
NOWHERE = "ws://127.0.0.1:9/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"


@pytest.mark.process
def test_what_the_run_leaves_shows_in_the_counts(tmp_path: Path) -> None:
    with Simulated() as world:
        target = parse_target(world.url)
        facts = {**NAMES, "queues": [world.queue_id], "flows": [world.flow_id]}
        write_start(tmp_path, target=world.url, platform=facts)
        note_counts(tmp_path, "before", target, GIVEN)
        Guest(world, str(uuid.uuid4()))
        note_counts(tmp_path, "after", target, GIVEN)
    baseline = build_record(tmp_path)["baseline"]
    assert baseline["before"]["counts"]["oFlow"] == 0
    assert baseline["after"]["counts"] == {"oFlow": 1, "oInteracting": 0, "oWaiting": 0}
    assert baseline["before"]["when"] <= baseline["after"]["when"]


def test_why_there_are_no_counts(tmp_path: Path) -> None:
    write_start(tmp_path, platform={**NAMES, "queues": ["q"], "flows": []})
    note_counts(tmp_path, "before", parse_target(NOWHERE), {"OUR_ID": "one alone"})
    assert "baseline" not in read_start(tmp_path)
    note_counts(tmp_path, "before", parse_target(NOWHERE.replace("127.0.0.1", "a.example")), GIVEN)
    assert "does not say where" in read_start(tmp_path)["baseline"]["before"]["why"]


def test_nobody_asked(tmp_path: Path) -> None:
    for platform in ({}, {**NAMES, "queues": [], "flows": []}):
        write_start(tmp_path, platform=platform)
        note_counts(tmp_path, "before", parse_target(NOWHERE), GIVEN)
        assert "baseline" not in read_start(tmp_path)


@pytest.mark.process
def test_a_run_at_a_target_that_names_its_queues(tmp_path: Path) -> None:
    with Simulated() as world:
        targets = tmp_path / "targets.toml"
        targets.write_text(
            f'[targets.twin]\nurl = "{world.url}"\nqueues = ["{world.queue_id}"]\n'
            f'flows = ["{world.flow_id}"]\nclient_id_env = "OUR_ID"\n'
            'client_secret_env = "OUR_SECRET"\n'
        )
        Guest(world, "somebody else's")  # is there before and after
        words = ("-u", "2", "-r", "2", "-t", "2", "--headless", "--only-summary")
        environment = environment_for(tmp_path, "twin", HARNESS_TARGETS=str(targets), **GIVEN)
        _, told = finish(launch(locustfile(tmp_path), environment, *words))
    assert "oFlow 1 → 1" in told, told
    record = (only_run(tmp_path) / "run.json").read_text()
    assert json.loads(record)["baseline"]["after"]["counts"]["oFlow"] == 1
    for path in only_run(tmp_path).glob("*.json*"):
        assert GIVEN["OUR_SECRET"] not in path.read_text()
    assert "OUR_ID" not in os.environ
