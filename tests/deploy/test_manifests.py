"""What is written for clusters and for Compose: valid by its schemas, careful, of our options."""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import ComposeSpecification, Service
from pydantic import ValidationError

from harness.cli.main import command_of
from harness.deploy import Deployment, compose, kubernetes
from harness.rundir.layout import RunDirectory
from harness.supervise.parameters import check_numbers

VERSIONS = ("1.29", "1.33", "1.37")
WANTED = Deployment(
    name="shop",
    image="registry.example/harness@sha256:" + "0" * 64,
    workers=3,
    target="staging",
    locustfile="load.py",
    files={"load.py": b"# guests\n", "targets.toml": b"[targets.staging]\n", "ca.pem": b"\xff"},
    parameters={"HARNESS_RATE": "30/min", "HARNESS_SEED": "7"},
    ca_file="ca.pem",
    sign_ins=True,
    more=("--warm-up", "1m"),
)
CLUSTER = kubernetes(WANTED)
COMPOSE = yaml.safe_load(compose(WANTED)["compose.yaml"])
MANIFESTS = [
    document
    for path, text in CLUSTER.items()
    if path.endswith(".yaml") and not path.endswith("kustomization.yaml")
    for document in yaml.safe_load_all(text)
]
PODS = {
    manifest["metadata"]["name"]: (
        manifest if manifest["kind"] == "Pod" else manifest["spec"]["template"]
    )["spec"]
    for manifest in MANIFESTS
    if manifest["kind"] in ("Job", "Pod")
}
CONTAINERS = {
    container["name"]: container
    for pod in PODS.values()
    for container in (*pod.get("initContainers", ()), *pod["containers"])
}


def manifest(kind: str, name: str) -> dict[str, Any]:
    return next(m for m in MANIFESTS if (m["kind"], m["metadata"]["name"]) == (kind, name))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("one", MANIFESTS, ids=lambda m: m["kind"] + "-" + m["metadata"]["name"])
def test_manifests_are_valid(one: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(one, version, strict=True)


def test_the_schema_would_find_a_mistake() -> None:
    job = yaml.safe_load(yaml.safe_dump(manifest("Job", "shop-master")))
    job["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[0], strict=True)


@pytest.mark.process
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
def test_kustomize_takes_each_folder(tmp_path: Path) -> None:
    for path, text in CLUSTER.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
    built = []
    for folder in ("prepare", "run", "after"):
        done = subprocess.run(
            ["kubectl", "kustomize", str(tmp_path / folder)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        built += list(yaml.safe_load_all(done.stdout))
    (files,) = [m for m in built if m["kind"] == "ConfigMap"]
    assert files["metadata"]["name"] == "shop-files"
    assert set(files["data"]) | set(files["binaryData"]) == set(WANTED.files)
    assert len(built) == len(MANIFESTS) + 1


def test_whatever_is_mounted_is_made_or_said_to_be_made() -> None:
    made = {(m["kind"], m["metadata"]["name"]) for m in MANIFESTS}
    (generated,) = yaml.safe_load(CLUSTER["prepare/kustomization.yaml"])["configMapGenerator"]
    for pod in PODS.values():
        for volume in pod["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in made
            if config := volume.get("configMap"):
                assert config["name"] == generated["name"]
            if secret := volume.get("secret"):
                assert f"create secret generic {secret['secretName']} " in CLUSTER["README.md"]
    assert f"{generated['files']}" == f"{[f'files/{name}' for name in sorted(WANTED.files)]}"


def test_one_failed_worker_ends_no_other_and_the_master_is_never_started_twice() -> None:
    workers = manifest("Job", "shop-worker")["spec"]
    assert workers["completionMode"] == "Indexed"
    assert workers["completions"] == workers["parallelism"] == WANTED.workers
    assert workers["backoffLimitPerIndex"] > 0
    assert "backoffLimit" not in workers
    assert manifest("Job", "shop-master")["spec"]["backoffLimit"] == 0


def test_ledgers_of_workers_are_on_disks_of_their_own_and_the_masters_outlives_it() -> None:
    volumes = {
        name: next(v for v in pod["volumes"] if v["name"] == "reports")
        for name, pod in PODS.items()
    }
    assert volumes["shop-worker"] == {"name": "reports", "emptyDir": {}}
    claim = {"claimName": "shop-reports"}
    for name in ("shop-master", "shop-sweep", "shop-report"):
        assert volumes[name]["persistentVolumeClaim"] == claim
    spec = manifest("PersistentVolumeClaim", "shop-reports")["spec"]
    assert spec["accessModes"] == ["ReadWriteOnce"]
    for name, service in COMPOSE["services"].items():
        mounts = [volume for volume in service["volumes"] if volume.endswith("/harness/reports")]
        assert mounts == (
            ["/harness/reports"] if name == "worker" else ["reports:/harness/reports"]
        )


def test_only_workers_reach_the_masters_port() -> None:
    policy = manifest("NetworkPolicy", "shop-master")["spec"]
    bus = next(r for r in policy["ingress"] if r["ports"][0]["port"] == 5557)
    (allowed,) = bus["from"]
    job = manifest("Job", "shop-worker")["spec"]["template"]["metadata"]["labels"]
    assert allowed["podSelector"]["matchLabels"].items() <= job.items()
    for name in ("shop-worker", "shop-sweep"):
        assert manifest("NetworkPolicy", name)["spec"]["ingress"] == []
    service = manifest("Service", "shop-master")["spec"]
    master = manifest("Job", "shop-master")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= master.items()


def test_the_compose_file_is_valid_and_knows_only_keys_of_the_schema() -> None:
    ComposeSpecification.model_validate(COMPOSE)
    known = set(Service.model_fields) | {f.alias for f in Service.model_fields.values()}
    for name, service in COMPOSE["services"].items():
        assert set(service) <= known, name
    with pytest.raises(ValidationError):
        ComposeSpecification.model_validate({"services": {"m": {"image": ["x"]}}})


def test_an_image_of_this_host_is_never_looked_for_elsewhere() -> None:
    local = Deployment(
        **{name: getattr(WANTED, name) for name in WANTED.__slots__} | {"image": "localhost/x"}
    )
    for service in yaml.safe_load(compose(local)["compose.yaml"])["services"].values():
        assert service["pull_policy"] == "never"


def test_nobody_runs_as_root_or_without_limits() -> None:
    for pod in PODS.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
    for container in CONTAINERS.values():
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for service in COMPOSE["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "mem_limit" in service


def test_containers_are_killed_only_after_all_could_be_cleared() -> None:
    for name in ("shop-master", "shop-worker"):
        assert PODS[name]["terminationGracePeriodSeconds"] > WANTED.term_grace_s
    for container in ("master", "worker"):
        environment = {one["name"]: one["value"] for one in CONTAINERS[container]["env"]}
        assert environment["HARNESS_TERM_GRACE"] == f"{WANTED.term_grace_s}s"
        grace = COMPOSE["services"][container]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > WANTED.term_grace_s


def test_the_commands_are_ours_and_the_same_in_both() -> None:
    for name, service in COMPOSE["services"].items():
        command, *words = service["command"]
        assert words == CONTAINERS[name]["args"][1:]
        asked = command_of(command).parse(*words)
        if command == "run":
            check_numbers(asked)
    assert PODS["shop-master"]["initContainers"][0]["args"][0] == "preflight"


def test_all_processes_are_asked_for_the_same() -> None:
    for names in (CONTAINERS["worker"], CONTAINERS["preflight"]):
        own = {one["name"]: one["value"] for one in names["env"]}
        masters = {one["name"]: one["value"] for one in CONTAINERS["master"]["env"]}
        assert masters.pop("HARNESS_METRICS_ADDRESS") == "0.0.0.0"
        assert own == masters
        assert own["HARNESS_SEED"] == "7"


def test_master_and_workers_log_as_asked() -> None:
    asked = replace(WANTED, log_format="json")
    cluster, composed = kubernetes(asked), compose(asked)["compose.yaml"]
    for whole in (cluster["run/master.yaml"], cluster["run/workers.yaml"], composed):
        assert "HARNESS_LOG_FORMAT" in str(whole)
    assert "HARNESS_LOG_FORMAT" not in str(CLUSTER)


def test_no_secret_is_written() -> None:
    whole = "".join(str(text) for text in CLUSTER.values())
    assert "kind: Secret" not in whole
    for container in (CONTAINERS["preflight"], CONTAINERS["master"], CONTAINERS["sweep"]):
        (source,) = container["envFrom"]
        assert source["secretRef"] == {"name": "shop-secrets", "optional": True}


def test_the_build_takes_no_tokens_and_no_targets() -> None:
    lines = Path(".dockerignore").read_text().split()
    assert "*" in lines, "what is not named stays out"
    for pattern in ("**/targets.toml", "**/*.sqlite*", "**/secret", "**/*.jsonl", "**/reports"):
        assert pattern in lines
    dockerfile = Path("harness/deploy/Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY ")]
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    named = {word for words in copied for word in words if not word.startswith(("--", "/"))}
    assert named <= allowed


def healthy(home: Path) -> bool:
    """What the image's health check says of a folder."""
    text = Path("harness/deploy/Dockerfile").read_text().replace("\\\n", "")
    (check,) = [line for line in text.splitlines() if line.startswith("HEALTHCHECK ")]
    command = check.partition(" CMD ")[2]
    return subprocess.run(["sh", "-c", command], cwd=home, timeout=30, check=False).returncode == 0


@pytest.mark.process
def test_a_container_is_unhealthy_only_where_a_run_has_come_to_a_stop(tmp_path: Path) -> None:
    assert healthy(tmp_path), "nothing has begun"
    run = tmp_path / "reports" / "20261128-101500-abcd"
    run.mkdir(parents=True)
    (tmp_path / "reports" / "latest").symlink_to(run.name)
    assert healthy(tmp_path), "no process has written yet"
    files = RunDirectory(run)

    def wrote(ago_s: float, name: str) -> None:
        files.intervals(name).write_text("{}\n")
        then = time.time() - ago_s
        os.utime(files.intervals(name), (then, then))

    wrote(5, "one")
    wrote(200, "lost")
    assert healthy(tmp_path), "one of its processes is at work"
    wrote(200, "one")
    assert not healthy(tmp_path)
    wrote(3600, "one")
    wrote(3600, "lost")
    assert healthy(tmp_path), "what another container has left says nothing of this one"
    wrote(200, "one")
    files.record.write_text("{}")
    assert healthy(tmp_path), "it has ended"
