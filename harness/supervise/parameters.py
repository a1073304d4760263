"""What is asked of a run by the options of ``harness run``, checked before anything is done."""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.config.run_config import BEHAVIOUR, PARAMETERS, SCHEDULE_SPARE_S, Setting
from harness.errors import ConfigError, listed
from harness.units import duration_text, rate_per_s, seconds


def check_numbers(args: Namespace) -> None:
    """Raises ConfigError where numbers are out of range, or options do not go together."""
    for name in ("users", "spawn_rate", "occupancy"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise ConfigError(f"--{name.replace('_', '-')}: expected more than zero, got {value}")
    if args.processes is not None and (args.processes < -1 or args.processes == 0):
        raise ConfigError(f"--processes: expected one or more, or -1, got {args.processes}")
    if args.expect_workers is not None and args.expect_workers < 1:
        raise ConfigError(f"--expect-workers: expected one or more, got {args.expect_workers}")
    clashing = [
        ("--master", args.master and args.worker, "--worker"),
        ("--master", args.master and args.processes, "--processes"),
        ("--worker", args.worker and args.slo, "--slo"),
        ("--worker", args.worker and args.expect_workers, "--expect-workers"),
        ("--worker", args.worker and args.users, "--users"),
        ("--worker", args.worker and args.spawn_rate, "--spawn-rate"),
        ("--worker", args.worker and args.run_time, "--run-time"),
        ("--worker", args.worker and args.metrics_port, "--metrics-port"),
        *[
            ("--occupancy", args.occupancy and given, option)
            for option, given in (
                ("--users", args.users),
                ("--rate", args.rate),
                ("--over (say -t)", args.over),
                ("--arrivals", args.arrivals),
            )
        ],
        *[
            ("--target", args.target != "sim" and given, option)
            for option, given in (
                ("--sim-fault", args.sim_fault),
                ("--sim-tls", args.sim_tls),
                ("--sim-bot", args.sim_bot),
                ("--sim-like", args.sim_like),
                ("--sim-from", args.sim_from),
                ("--sim-profile", args.sim_profile),
                ("--sim-bot-delay", args.sim_bot_delay),
                ("--sim-seed", args.sim_seed is not None),
                ("--keep-sim", args.keep_sim),
            )
        ],
    ]
    together = [f"{one} and {other}" for one, clash, other in clashing if clash]
    if len(together) == 1:
        raise ConfigError(f"{together[0]} do not go together")
    if together:
        raise ConfigError(listed("these options do not go together", together))
    if args.metrics_port is not None and not 0 < args.metrics_port < 65536:
        raise ConfigError(f"--metrics-port: expected 1 to 65535, got {args.metrics_port}")
    seconds(args.stop_timeout, "--stop-timeout")
    if args.term_grace is not None:
        seconds(args.term_grace, "--term-grace")
    if seconds(args.workers_within, "--workers-within") < 1:
        raise ConfigError(f"--workers-within: expected 1s or more, got {args.workers_within}")
    if args.master and args.expect_workers is None:
        raise ConfigError("--master: say how many workers to wait for (--expect-workers N)")
    if args.expect_workers is not None and not args.master:
        raise ConfigError("--expect-workers goes with --master")


def parameters_of(args: Namespace) -> dict[str, str]:
    """The environment by which ready locustfiles learn what is asked of them."""
    if args.rate is not None:
        rate_per_s(args.rate, "--rate")
    if args.over is not None:
        seconds(args.over, "--over")
    for name in ("stay", "silence"):
        if getattr(args, name) is not None:
            seconds(getattr(args, name), f"--{name}")
    return _given(args, PARAMETERS)


def behaviour_of(args: Namespace) -> dict[str, str]:
    """The environment that says how guests behave; what is not given stays open."""
    if args.sign_ins is not None and not Path(args.sign_ins).is_file():
        raise ConfigError(f"--sign-ins: there is no file {args.sign_ins}")
    return _given(args, BEHAVIOUR)


def _given(args: Namespace, settings: Iterable[Setting]) -> dict[str, str]:
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
    options = ["--limits", args.sim_limits or ("documented" if args.sim_like else "off")]
    if args.sim_profile:
        options += ["--profile", args.sim_profile]
    if args.sim_like:
        options += ["--like", args.sim_like]
    for fault in args.sim_fault:
        options += ["--fault", fault]
    if args.sim_tls:
        options.append("--tls")
    if args.sim_bot:
        options += ["--bot", args.sim_bot]
    if args.sim_from:
        options += ["--from", args.sim_from]
    if args.sim_bot_delay:
        options += ["--bot-delay", args.sim_bot_delay]
    if args.sim_seed is not None:
        options += ["--seed", str(args.sim_seed)]
    return options
