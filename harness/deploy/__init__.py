"""For those who run the harness elsewhere: files for containers, clusters and dashboards.

A whole run on a cluster (kustomize) or on one host (Compose) is written as files to apply.

The same commands stand in both. They name files by paths relative to the image's work folder, where
``files`` is mounted, so each command also works as a plain process beside that folder.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import yaml

from harness.config import run_config
from harness.config.run_config import LOG_FORMAT, METRICS_ADDRESS, TERM_GRACE
from harness.config.target import Terms, read_target
from harness.errors import ConfigError, expect
from harness.foreign import read_bytes

HOME = "/harness"
"""The work folder of the image."""
FILES = "files"
REPORTS = run_config.REPORTS.default
BUS, METRICS = run_config.MASTER_PORT, 9646
USER = 10001
LEAVE_S = 30
"""The time between the end of clearing and the kill of the container, in which the record and the
report are made."""
SIGN_INS = "sign-ins/jwts"
"""Where the JWTs of guests who sign in are mounted."""
WORKERS_WITHIN = "15m"
"""A cluster may have to start machines first."""
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
FILE_NAME = re.compile(r"[-._a-zA-Z0-9]{1,100}")
MOST_BYTES = 900_000
"""A ConfigMap may hold 1 MiB, and what is no text is encoded in it."""
TARGETS_FILE = run_config.TARGETS.default
DECIDED = {
    "--target", "--targets", "--ca-file", "--master", "--worker", "--processes", "--bind",
    "--master-host", "--master-port", "--expect-workers", "--metrics-port", "--reports",
    "--term-grace", "--log-format",
}  # fmt: skip
"""Options of ``harness run`` that this command sets itself, because they follow from where the run
takes place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A run on several machines. ``files`` are contents by name, the locustfile among them. Raises
    ConfigError for an invalid name, image or number of workers."""

    name: str
    image: str
    workers: int
    target: str
    locustfile: str
    files: Mapping[str, bytes]
    parameters: Mapping[str, str] = field(default_factory=dict)
    """variables that every process has to be given alike"""
    ca_file: str = ""
    sign_ins: bool = False
    """guests sign in: their JWTs are in a Secret, which is not written here"""
    more: tuple[str, ...] = ()
    """further words for the master's command line"""
    term_grace_s: int = 150
    log_format: str = ""
    """of master and workers; empty: text"""

    def __post_init__(self) -> None:
        form = "a letter, then small letters, digits and hyphens, at most 40"
        expect(bool(NAME.fullmatch(self.name)), "--name", form, repr(self.name))
        expect(self.workers >= 1, "--workers", "one or more", self.workers)
        named = bool(self.image) and not re.search(r"\s", self.image)
        expect(named, "--image", "the name of an image", repr(self.image))

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of every process."""
        log_format = {LOG_FORMAT.variable: self.log_format} if self.log_format else {}
        return {**self.parameters, TERM_GRACE.variable: f"{self.term_grace_s}s", **log_format}

    @property
    def _target(self) -> list[str]:
        words = ["--target", self.target, "--targets", f"{FILES}/{TARGETS_FILE}"]
        return [*words, "--ca-file", f"{FILES}/{self.ca_file}"] if self.ca_file else words

    @property
    def preflight(self) -> list[str]:
        """The command that must succeed before the master's."""
        return ["preflight", *self._target, "--locustfile", f"{FILES}/{self.locustfile}"]

    @property
    def master(self) -> list[str]:
        """The command whose exit code is the run's."""
        return [
            "run", f"{FILES}/{self.locustfile}", "--master", "--bind", "0.0.0.0",
            "--expect-workers", str(self.workers), "--workers-within", WORKERS_WITHIN,
            *self._target, "--metrics-port", str(METRICS), *self.more,
        ]  # fmt: skip

    @property
    def worker(self) -> list[str]:
        """The command of each worker."""
        host = f"{self.name}-master"
        return ["run", f"{FILES}/{self.locustfile}", "--worker", "--master-host", host]

    @property
    def sweep(self) -> list[str]:
        """The command that ends what was left."""
        # A lost worker's disk is lost too: what it did in its last seconds has to be derived.
        signed = ("--sign-ins", SIGN_INS) if self.sign_ins else ()
        return ["sweep", "latest", "--derive", *signed]


def refuse_decided(words: Iterable[str]) -> None:
    """Raises ConfigError for an option of a run that follows from where it runs."""
    if decided := sorted({word.partition("=")[0] for word in words} & DECIDED):
        raise ConfigError(f"{decided[0]}: harness deploy decides this; it does not go behind --")


def refuse_used(out: Path) -> None:
    """Raises ConfigError if the folder exists and is not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out: {out} is there already; it was left as it is")


def read_terms(name: str, file: Path) -> Terms:
    """A target of the file that containers can reach. Raises ConfigError."""
    terms = read_target(name, file)
    if terms.target.loopback:
        raise ConfigError(f"{name} is on this machine: a container would not find it")
    if terms.sign_ins is not None and str(terms.sign_ins) != SIGN_INS:
        raise ConfigError(
            f'{file}: [targets.{name}] sign_ins: expected "{SIGN_INS}", which is where '
            f"containers find them, got {str(terms.sign_ins)!r}"
        )
    return terms


def read_files(paths: Iterable[Path], targets: Path) -> dict[str, bytes]:
    """Contents by name, the file of targets among them. Raises ConfigError."""
    contents = {TARGETS_FILE: read_bytes(targets)}
    for path in paths:
        if not FILE_NAME.fullmatch(path.name):
            raise ConfigError(f"{path}: expected a name of letters, digits, dots and hyphens")
        if path.name in contents:
            raise ConfigError(f"{path}: there are two files of the name {path.name}")
        try:
            contents[path.name] = read_bytes(path)
        except OSError as error:
            raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None
    if sum(map(len, contents.values())) > MOST_BYTES:
        raise ConfigError(f"the files are more than {MOST_BYTES:,} bytes: build them into an image")
    return contents


def kubernetes(wanted: Deployment) -> dict[str, str | bytes]:
    """Texts by path, in three folders for ``kubectl apply -k``: prepare, run, after."""
    name = wanted.name
    files = sorted(wanted.files)
    return {
        "README.md": _steps(wanted),
        "prepare/kustomization.yaml": _kustomization(
            "claim.yaml",
            "network.yaml",
            configMapGenerator=[
                {"name": f"{name}-files", "files": [f"{FILES}/{file}" for file in files]}
            ],
            generatorOptions={"disableNameSuffixHash": True},
        ),
        "prepare/claim.yaml": _yaml(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": _metadata(name, f"{name}-reports"),
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "5Gi"}},
                },
            },
            head="Records and ledgers: what a sweep works from. It outlives the run.",
        ),
        "prepare/network.yaml": _yaml(_service(name), *_policies(name)),
        **{f"prepare/{FILES}/{file}": text for file, text in wanted.files.items()},
        "run/kustomization.yaml": _kustomization("master.yaml", "workers.yaml"),
        "run/master.yaml": _yaml(_master(wanted)),
        "run/workers.yaml": _yaml(_workers(wanted)),
        "after/kustomization.yaml": _kustomization("sweep.yaml", "report.yaml"),
        "after/sweep.yaml": _yaml(_sweep(wanted)),
        "after/report.yaml": _yaml(_report(wanted)),
    }


def _kustomization(*resources: str, **more: Any) -> str:
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return _yaml({**kind, "resources": list(resources), **more})


def _labels(name: str, component: str = "") -> dict[str, str]:
    labels = {"app.kubernetes.io/name": "harness", "app.kubernetes.io/instance": name}
    return {**labels, "app.kubernetes.io/component": component} if component else labels


def _metadata(name: str, whole: str, component: str = "") -> dict[str, Any]:
    return {"name": whole, "labels": _labels(name, component)}


def _service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, f"{name}-master", "master"),
        "spec": {
            "clusterIP": "None",
            # Workers look for the master while it still waits for its preflight.
            "publishNotReadyAddresses": True,
            "selector": _labels(name, "master"),
            "ports": [{"name": "workers", "port": BUS}, {"name": "metrics", "port": METRICS}],
        },
    }


def _policies(name: str) -> list[dict[str, Any]]:
    """Only workers speak to the master's port; nobody speaks to the others."""
    workers = {"podSelector": {"matchLabels": _labels(name, "worker")}}
    rules = {
        "master": [
            {"from": [workers], "ports": [{"port": BUS, "protocol": "TCP"}]},
            {"ports": [{"port": METRICS, "protocol": "TCP"}]},
        ],
        "worker": [],
        "sweep": [],
        "report": [],
    }
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(name, f"{name}-{component}", component),
            "spec": {
                "podSelector": {"matchLabels": _labels(name, component)},
                "policyTypes": ["Ingress"],
                "ingress": ingress,
            },
        }
        for component, ingress in rules.items()
    ]


def _container(
    wanted: Deployment, component: str, args: list[str], cpu: str, memory: tuple[str, str]
) -> dict[str, Any]:
    environment = [{"name": key, "value": text} for key, text in wanted.environment.items()]
    mounts = [
        {"name": "reports", "mountPath": f"{HOME}/{REPORTS}"},
        {"name": "files", "mountPath": f"{HOME}/{FILES}", "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    if wanted.sign_ins:
        place = f"{HOME}/{SIGN_INS}".removesuffix("/jwts")
        mounts.append({"name": "sign-ins", "mountPath": place, "readOnly": True})
    return {
        "name": component,
        "image": wanted.image,
        "args": args,
        "env": environment,
        # Credentials, under the names that the targets file gives them.
        "envFrom": [{"secretRef": {"name": f"{wanted.name}-secrets", "optional": True}}],
        "resources": {
            "requests": {"cpu": cpu, "memory": memory[0]},
            "limits": {"cpu": "1", "memory": memory[1]},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _pod(
    wanted: Deployment, component: str, container: dict[str, Any], *, keeps: bool, **more: Any
) -> dict[str, Any]:
    """The pod of a process. With ``keeps`` its reports folder is the persistent volume claim;
    without, it ends with the pod."""
    claim = {"persistentVolumeClaim": {"claimName": f"{wanted.name}-reports"}}
    volumes: list[dict[str, Any]] = [
        {"name": "reports", **(claim if keeps else {"emptyDir": {}})},
        {"name": "files", "configMap": {"name": f"{wanted.name}-files"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if wanted.sign_ins:
        secret = {"secretName": f"{wanted.name}-sign-ins", "defaultMode": 0o440}
        volumes.append({"name": "sign-ins", "secret": secret})
    return {
        "metadata": {
            "labels": _labels(wanted.name, component),
            "annotations": {
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                "karpenter.sh/do-not-disrupt": "true",
                **more.pop("annotations", {}),
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": wanted.term_grace_s + LEAVE_S,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **more,
            "containers": [container],
            "volumes": volumes,
        },
    }


def _job(
    wanted: Deployment, component: str, template: dict[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(wanted.name, f"{wanted.name}-{component}", component),
        "spec": {**more, "template": template},
    }


def _master(wanted: Deployment) -> dict[str, Any]:
    preflight = _container(wanted, "preflight", wanted.preflight, "500m", ("512Mi", "1Gi"))
    master = _container(wanted, "master", wanted.master, "500m", ("512Mi", "2Gi"))
    master["env"].append({"name": METRICS_ADDRESS.variable, "value": "0.0.0.0"})
    ports = {"workers": BUS, "metrics": METRICS}
    master["ports"] = [{"name": name, "containerPort": port} for name, port in ports.items()]
    scrape = {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS)}
    pod = _pod(wanted, "master", master, keeps=True, annotations=scrape, initContainers=[preflight])
    # Not again by itself: what a run has left is swept before the next one.
    return _job(wanted, "master", pod, backoffLimit=0)


def _workers(wanted: Deployment) -> dict[str, Any]:
    worker = _container(wanted, "worker", wanted.worker, "1", ("1Gi", "2Gi"))
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _labels(wanted.name, "worker")},
    }
    pod = _pod(wanted, "worker", worker, keeps=False, topologySpreadConstraints=[spread])
    moved = {"type": "DisruptionTarget", "status": "True"}
    return _job(
        wanted,
        "worker",
        pod,
        completionMode="Indexed",
        parallelism=wanted.workers,
        completions=wanted.workers,
        backoffLimitPerIndex=3,  # one that fails is started anew, and ends no other
        podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [moved]}]},
    )


def _sweep(wanted: Deployment) -> dict[str, Any]:
    sweep = _container(wanted, "sweep", wanted.sweep, "250m", ("256Mi", "1Gi"))
    return _job(wanted, "sweep", _pod(wanted, "sweep", sweep, keeps=True), backoffLimit=2)


def _report(wanted: Deployment) -> dict[str, Any]:
    """Only waits, so that ``kubectl cp`` has a pod to copy from."""
    report = _container(wanted, "report", [], "50m", ("32Mi", "128Mi"))
    del report["args"], report["envFrom"]
    report["command"] = ["sleep", "3600"]
    pod = _pod(wanted, "report", report, keeps=True)
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    metadata = _metadata(wanted.name, f"{wanted.name}-report", "report")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}


def _steps(wanted: Deployment) -> str:
    name = wanted.name
    signed = (
        f"kubectl create secret generic {name}-sign-ins --from-file=jwts=FILE\n"
        if wanted.sign_ins
        else ""
    )
    return Template(path("kubernetes.md").read_text(encoding="utf-8")).substitute(
        name=name,
        workers=wanted.workers,
        target=wanted.target,
        master=",".join(f"{key}={text}" for key, text in _labels(name, "master").items()),
        signed=signed,
        home=HOME,
        reports=REPORTS,
    )


def compose(wanted: Deployment) -> dict[str, str | bytes]:
    """Texts by path, in one folder for ``docker compose``."""
    folders = [FILES, *([SIGN_INS.removesuffix("/jwts")] if wanted.sign_ins else [])]
    mounted = [f"./{folder}:{HOME}/{folder}:ro" for folder in folders]
    kept, own = [f"{REPORTS}:{HOME}/{REPORTS}", *mounted], [f"{HOME}/{REPORTS}", *mounted]
    services = {
        "preflight": _composed(wanted, wanted.preflight, kept, "1g") | {"profiles": ["by-hand"]},
        "master": _composed(wanted, wanted.master, kept, "2g")
        | {
            "hostname": f"{wanted.name}-master",
            "networks": {"load": {"aliases": [f"{wanted.name}-master"]}},
            "ports": [f"127.0.0.1:{METRICS}:{METRICS}"],
        },
        "worker": _composed(wanted, wanted.worker, own, "2g")
        | {
            "scale": wanted.workers,
            "depends_on": ["master"],
            "restart": "on-failure:3",
        },
        "sweep": _composed(wanted, wanted.sweep, kept, "1g") | {"profiles": ["by-hand"]},
    }
    services["master"]["environment"][METRICS_ADDRESS.variable] = "0.0.0.0"
    whole = {
        "name": wanted.name,
        "services": services,
        "networks": {"load": {}},
        "volumes": {REPORTS: {}},
    }
    head = f"""{wanted.workers} workers against {wanted.target} on this host. Beside this file:

  docker compose run --rm preflight
  docker compose up --detach
  docker compose logs --follow master
  docker compose wait master                  # prints the run's exit code
  docker compose run --rm sweep               # exit code 4: something is left open
  docker compose cp master:{HOME}/{REPORTS} .
  docker compose down                         # with --volumes the ledgers go too

Credentials go into secrets.env, one NAME=value a line, under the names that the targets file gives
them."""
    if wanted.sign_ins:
        head += f" JWTs of guests go into {SIGN_INS}, one a line."
    return {
        "compose.yaml": _yaml(whole, head=head),
        **{f"{FILES}/{file}": text for file, text in wanted.files.items()},
    }


WRITERS = {"kubernetes": kubernetes, "compose": compose}
"""Texts by path, what says what to type first."""


def write(what: str, wanted: Deployment, out: Path) -> Path:
    """Write the files of one of :data:`WRITERS` into a folder; the one to read first.

    Raises OSError.
    """
    texts = WRITERS[what](wanted)
    for path, text in texts.items():
        place = out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
    return out / next(iter(texts))


def _composed(
    wanted: Deployment, command: list[str], volumes: list[str], memory: str
) -> dict[str, Any]:
    local = {"pull_policy": "never"} if wanted.image.startswith("localhost/") else {}
    return {
        "image": wanted.image,
        **local,
        "command": [word.replace("$", "$$") for word in command],
        "environment": {key: text.replace("$", "$$") for key, text in wanted.environment.items()},
        "env_file": [{"path": "secrets.env", "required": False}],
        "volumes": volumes,
        "networks": {"load": {}},
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "ulimits": {"nofile": {"soft": 65536, "hard": 65536}},
        "mem_limit": memory,
        "cpus": 1.0,
        "stop_grace_period": f"{wanted.term_grace_s + LEAVE_S}s",
    }


class _Dumper(yaml.SafeDumper):
    """Without anchors: each manifest is to be read and changed by itself."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - yaml's form
        return True


def _yaml(*documents: dict[str, Any], head: str = "") -> str:
    comment = "".join(f"# {line}".rstrip() + "\n" for line in head.splitlines())
    return comment + "---\n".join(
        yaml.dump(one, Dumper=_Dumper, sort_keys=False, width=100) for one in documents
    )


def path(name: str) -> Path:
    """The path of one of the files of this package."""
    return Path(__file__).parent / name
