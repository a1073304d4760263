"""What a capacity search is given in files, looked at before there is a folder: objectives,
locustfile, the simulator's profile, the target."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.config.targets_file import FILE, resolve_target
from harness.errors import ConfigError
from harness.judge.objective import parse_objective
from harness.judge.record import KNOWN
from harness.judge.rejudge import read_objectives
from harness.simulator import options as simulator_options
from harness.studies.capacity.load_axis import Raised
from harness.studies.capacity.objective_intervals import GENERATORS_OWN
from harness.studies.inspect_locustfile import inspect_locustfile


def check_files(asked: Mapping[str, Any]) -> None:
    """Raises ConfigError that names the option or the file, its line, and what was expected.

    ``asked`` is what ``begin_search`` takes.
    """
    texts = list(asked["objectives"])
    if asked["slo"]:
        texts += [objective.text for objective in read_objectives(Path(asked["slo"]))]
    if asked["target"] == "sim":
        if asked["sim_profile"]:
            _check_profile(asked["sim_profile"])
    else:
        if asked["sim_profile"]:
            raise ConfigError("--sim-profile and --target do not go together")
        resolve_target(asked["target"], FILE)
    if asked.get("by") == Raised.OCCUPANCY:
        environment = {"HARNESS_OCCUPANCY": asked["start"]}
    else:
        environment = {"HARNESS_RATE": asked["start"], "HARNESS_OVER": asked["hold"]}
    _check_objectives(texts + inspect_locustfile(asked["locustfile"], environment)["objectives"])


def _check_objectives(texts: list[str]) -> None:
    """A search needs something that breaks under load; with no objective at all there are ours."""
    if texts and all(
        parse_objective(text, KNOWN, place="objectives").subject in GENERATORS_OWN for text in texts
    ):
        raise ConfigError(
            f"no objective breaks under load ({', '.join(texts)}): give one such as "
            "--objective 'reply p95 < 5s'"
        )


def _check_profile(path: str) -> None:
    parser = argparse.ArgumentParser()
    simulator_options.add_arguments(parser)
    try:
        simulator_options.read(parser.parse_args(["--profile", path]))
    except ConfigError as error:
        why = str(error).removeprefix(f"{path}: ").removeprefix("profile: ")
        raise ConfigError(f"--sim-profile: {path}: {why}") from None
