"""What is asked of a run, checked before anything is done, and the ready locustfiles."""

import site
import sysconfig
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import harness
from harness.config.run_config import BEHAVIOUR, PARAMETERS, SCHEDULE_SPARE_S, Setting
from harness.config.run_config import SCRIPT as SCRIPT_VARIABLE
from harness.errors import ConfigError, UsageError, expect, listed
from harness.foreign import check_file
from harness.machine import too_many_workers
from harness.rundir.layout import write_new as write_new_file
from harness.units import duration_text, rate_per_s, seconds

MASTERS = ("slo", "expect_workers", "users", "spawn_rate", "run_time", "metrics_port")
"""What a worker has from its master."""
MASTER_ONLY = ("expect_workers", "bind", "master_port")
"""What says how a master leads."""


def check_numbers(args: Namespace) -> None:
    """Raises ConfigError where numbers are out of range, UsageError where options do not go
    together.
    """
    for name in ("users", "spawn_rate", "occupancy"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise ConfigError(f"{_option(name)}: expected more than zero, got {value}")
    check_processes(args.processes)
    if args.expect_workers is not None and args.expect_workers < 1:
        raise ConfigError(f"--expect-workers: expected one or more, got {args.expect_workers}")
    clashing: list[tuple[str, object, Iterable[str]]] = [
        ("--master", args.master, ("worker", "processes")),
        ("--worker", args.worker, MASTERS),
        ("--occupancy", args.occupancy, ("users", "rate", "over", "arrivals")),
        ("--target", args.target != "sim", ("keep_sim", *sorted(_simulated(args)))),
    ]
    together = [
        f"{one} and {_option(name)}{' (say -t)' if name == 'over' else ''}"
        for one, present, names in clashing
        for name in names
        if present and _is_set(getattr(args, name))
    ]
    if len(together) == 1:
        raise UsageError(f"{together[0]} do not go together")
    if together:
        raise UsageError(listed("these options do not go together", together))
    check_port("--metrics-port", args.metrics_port)
    check_port("--master-port", args.master_port)
    seconds(args.stop_timeout, "--stop-timeout")
    if args.term_grace is not None:
        seconds(args.term_grace, "--term-grace")
    if seconds(args.workers_within, "--workers-within") < 1:
        raise ConfigError(f"--workers-within: expected 1s or more, got {args.workers_within}")
    # Where it listens has a default here, and a worker is told the same port.
    check_master({"master": args.master, "expect_workers": args.expect_workers})


def check_master(options: Mapping[str, Any]) -> None:
    """``options``: ``master`` and, where they were given, what only a master takes.

    Raises UsageError where one is given to who leads nobody, or a master knows no number of
    workers.
    """
    if options.get("master") and options.get("expect_workers") is None:
        raise UsageError("--master: say how many workers to wait for (--expect-workers N)")
    for name in MASTER_ONLY:
        if options.get(name) is not None and not options.get("master"):
            raise UsageError(f"{_option(name)} goes with --master")


def check_port(option: str, port: int | None) -> None:
    """Raises ConfigError for a number that is given and is no port."""
    if port is not None:
        expect(0 < port < 65536, option, "1 to 65535", port)


def check_processes(processes: int | None) -> None:
    """Raises ConfigError for a number of worker processes that no machine can have."""
    if processes is not None and (processes < -1 or processes == 0):
        raise ConfigError(f"--processes: expected one or more, or -1, got {processes}")
    if sentence := too_many_workers(processes or 0):
        raise ConfigError(f"--processes: {sentence}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _simulated(args: Namespace) -> set[str]:
    """Options that the simulator has by the same names, but for their beginning."""
    return {name for name in vars(args) if name.startswith("sim_")}


def _is_set(value: object) -> bool:
    return value is not None and value is not False and value not in ("", [])


def parameters_of(args: Namespace) -> dict[str, str]:
    """The environment by which ready locustfiles learn what is asked of them."""
    if args.rate is not None:
        expect(rate_per_s(args.rate, "--rate") > 0, "--rate", "more than zero", args.rate)
    if args.over is not None:
        expect(seconds(args.over, "--over") > 0, "--over", "more than zero", args.over)
    for name in ("stay", "silence"):
        if getattr(args, name) is not None:
            seconds(getattr(args, name), f"--{name}")
    return _by_variable(args, PARAMETERS)


def behaviour_of(args: Namespace) -> dict[str, str]:
    """The environment that says how guests behave; what is not given stays open."""
    if args.sign_ins is not None:
        check_file(Path(args.sign_ins), f"--sign-ins: there is no file {args.sign_ins}")
    return _by_variable(args, BEHAVIOUR)


def _by_variable(args: Namespace, settings: Iterable[Setting]) -> dict[str, str]:
    """Texts by variable, of what was given."""
    values = {one.variable: getattr(args, one.key) for one in settings}
    return {name: str(value) for name, value in values.items() if value is not None}


def run_time_of(args: Namespace, plan: Mapping[str, Any]) -> float:
    """How long the run may last, in seconds. Raises ConfigError."""
    if args.run_time is not None:
        run_time_s = seconds(args.run_time, "--run-time")
    elif plan["arrivals"] is not None:
        run_time_s = plan["arrivals"]["duration_s"] + SCHEDULE_SPARE_S
    else:
        run_time_s = 60.0
    if run_time_s < 1:
        raise ConfigError(f"--run-time: expected one second or more, got {args.run_time}")
    return run_time_s


def length_of(args: Namespace, plan: Mapping[str, Any], run_time_s: float) -> float:
    """After how many seconds no guest comes any more, if nothing goes wrong."""
    if args.run_time is not None or plan["arrivals"] is None:
        return run_time_s
    return float(plan["arrivals"]["duration_s"])


CUT_SHARE = 0.9
"""Of a schedule: what is run for less long surely lacks more arrivals than a verdict allows."""


def too_short(args: Namespace, plan: Mapping[str, Any], run_time_s: float) -> str:
    """A sentence where the run time cuts the schedule: now it can still be asked for otherwise."""
    if args.run_time is None or plan["arrivals"] is None:
        return ""
    length_s = plan["arrivals"]["duration_s"]
    if run_time_s >= CUT_SHARE * length_s:
        return ""
    short, whole = duration_text(run_time_s), duration_text(length_s)
    return (
        f"-t {short} cuts the schedule of {whole} short, so the verdict will be INVALID; to make "
        f"the schedule itself shorter, use --over {short}"
    )


def simulator_options(args: Namespace) -> list[str]:
    """What the embedded simulator is started with."""
    words = ["--limits", args.sim_limits or ("documented" if args.sim_like else "off")]
    for name in sorted(_simulated(args) - {"sim_limits"}):
        value, option = getattr(args, name), _option(name.removeprefix("sim_"))
        if value is True:
            words.append(option)
        elif _is_set(value):
            for one in value if isinstance(value, list) else [value]:
                words += [option, str(one)]
    return words


SHARE = Path("share", "harness", "locustfiles")
"""Where an installed harness has them, below the folder of its scripts."""
SCRIPTS = (".yaml", ".yml")
DEFAULT = Path("locustfiles/launch.py")
ELSEWHERE = "smoke"
"""Run where there is no default file: it is short, and small."""


def ready_folder() -> Path:
    """The folder of the ready locustfiles: beside the sources, or as installed."""
    beside = Path(harness.__file__).parent.parent
    places = [beside / "locustfiles", beside / SHARE]
    places += [Path(root) / SHARE for root in (sysconfig.get_path("data"), site.USER_BASE) if root]
    for place in places:
        if (place / "smoke.py").is_file():
            return place
    raise ConfigError(f"the ready locustfiles are not installed: there is no {places[1]}")


def ready(name: str) -> Path:
    """One of them. Raises ConfigError naming those that there are."""
    folder = ready_folder()
    there = sorted(path.stem for path in folder.glob("*.py"))
    if name.removesuffix(".py") not in there:
        raise ConfigError(f"there is no ready locustfile {name!r}; there are: {', '.join(there)}")
    return folder / f"{name.removesuffix('.py')}.py"


def playable(file: str) -> tuple[str, dict[str, str]]:
    """The locustfile by which ``file`` is run, and what it finds in its environment.

    A script in YAML is played by a ready locustfile. The default file is replaced by a short
    ready one where there is none.
    """
    path = Path(file)
    if path.suffix in SCRIPTS:
        check_file(path, f"there is no script {file!r}", what="a script")
        return str(ready("script")), {SCRIPT_VARIABLE: str(path.resolve())}
    if path == DEFAULT and not path.exists():
        return str(ready(ELSEWHERE)), {}
    return file, {}


def write_new(name: str, like: str | None) -> Path:
    """Write a commented file to begin with; ``like`` names a ready locustfile to copy.

    Raises ConfigError when the file is there already or can't be written.
    """
    from harness import deploy  # not at the start of a run

    path = Path(name)
    if not path.name or name.endswith("/"):
        raise ConfigError(f"expected the name of a file to write, got {name!r}")
    template = deploy.path("new-script.yaml")
    if path.suffix not in SCRIPTS:
        path = path if path.suffix == ".py" else path.with_name(f"{path.name}.py")
        template = deploy.path("new-locustfile.txt") if like is None else ready(like)
    elif like is not None:
        raise ConfigError(f"--from: a ready locustfile is Python, {name} would be a script")
    return write_new_file(path, template.read_text(encoding="utf-8").replace("{name}", path.name))
