"""The files for containers and clusters: valid by their schemas, careful, true to our options."""

from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import ComposeSpecification, Service
from pydantic import ValidationError

from harness.cli.main import command_of
from harness.deploy import path
from harness.supervise.parameters import check_numbers

MANIFESTS = list(yaml.safe_load_all(path("kubernetes.yaml").read_text()))
COMPOSE = yaml.safe_load(path("compose.yaml").read_text())


def jobs() -> dict[str, dict[str, Any]]:
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
        for manifest in MANIFESTS
        if manifest["kind"] == "Job"
    }


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: m["kind"])
def test_manifests_are_valid(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.32", strict=True)


def test_the_schema_would_find_a_mistake() -> None:
    job = yaml.safe_load(yaml.safe_dump(next(m for m in MANIFESTS if m["kind"] == "Job")))
    job["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.32", strict=True)


def test_the_compose_file_is_valid_and_knows_only_keys_of_the_schema() -> None:
    ComposeSpecification.model_validate(COMPOSE)
    known = set(Service.model_fields) | {f.alias for f in Service.model_fields.values()}
    for name, service in COMPOSE["services"].items():
        assert set(service) <= known, name
    with pytest.raises(ValidationError):
        ComposeSpecification.model_validate({"services": {"m": {"image": ["x"]}}})


def test_nobody_runs_as_root_or_without_limits() -> None:
    for name, pod in jobs().items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        (container,) = pod["containers"]
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert not mounts["/reports"].get("readOnly"), "ledgers are written there"
    for service in COMPOSE["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "mem_limit" in service
        assert "reports:/reports" in service["volumes"]


def test_the_commands_are_ours() -> None:
    commands = {name: pod["containers"][0]["args"] for name, pod in jobs().items()}
    for name, service in COMPOSE["services"].items():
        filled = [word.replace("${WORKERS:-2}", "2") for word in service["command"]]
        commands[f"compose {name}"] = filled
    assert len(commands) == 4
    for words in commands.values():
        assert words[0] == "run"
        check_numbers(command_of("run").parse(*words[1:]))


def test_master_and_workers_are_asked_for_the_same() -> None:
    asked = [
        {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
        for pod in jobs().values()
    ]
    for one in asked:
        one.pop("HARNESS_METRICS_ADDRESS", None)
    assert asked[0] == asked[1]
    assert "HARNESS_SEED" in asked[0], "arrivals are drawn from it in every process"
