"""What Locust's command line and the environment say about a run.

The options are Locust options, so a master hands them on to its workers. None of them is secret.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.guard import Rule, parse_overrides
from harness.config.run_config import LOCUST_OPTIONS, RunConfig
from harness.config.run_config import RUN_ID as HANDED_RUN_ID
from harness.config.target import Target
from harness.config.targets_file import Terms, resolve_target
from harness.errors import ConfigError
from harness.load.guest_options import GuestOptions, read_guest_options
from harness.preflight.stamp import Learned, read_learned
from harness.units import seconds

HOW_TO_SIMULATE = (
    "no target: say where the guests go, for example\n"
    "  harness run LOCUSTFILE                  (starts the simulator by itself)\n"
    "or start the simulator in another terminal and name its url and deployment id:\n"
    "  harness simulate\n"
    "  HARNESS_TARGET='ws://127.0.0.1:PORT/v1?deploymentId=UUID' locust -f LOCUSTFILE"
)

RUN_ID = "harness_run_id"
SHARES = "harness_shares"
LEARNED = "harness_learned"
"""Attributes that the master adds to Locust's options; they travel to the workers with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a run needs to know besides the locustfile."""

    terms: Terms
    reports: Path
    overrides: dict[Rule, str] = field(default_factory=dict)
    metrics: tuple[str, int] | None = None
    """address and port of the Prometheus endpoint"""
    slo: Path | None = None
    """a TOML file of objectives beside those of the locustfile"""
    warm_up_s: float | None = None
    """so long from the beginning nothing is judged; None: as the shape says"""
    confident: bool = False
    """what is met within chance is NO_DATA"""
    disk_guard: bool = True
    """refuse a run that does not fit on the disk, and end one before the disk is full"""
    run_id: str | None = None
    """given by the master or by ``harness run``; otherwise made at the start"""
    term_grace_s: float = 8.0
    """after SIGTERM everything open has to be cleared by then: who sends it kills us later"""
    learned: Learned | None = None
    """what preflights of the target have taught, if anything"""
    guest_options: GuestOptions = field(default_factory=GuestOptions)
    """how guests keep to limits, join, sign in and come back"""

    @property
    def target(self) -> Target:
        """Where the guests go."""
        return self.terms.target


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the harness's options to Locust's parser (whose groups can't take Locust's extras)."""
    try:
        config = RunConfig.of_process()
    except ConfigError as error:
        parser.error(str(error))
    for one in LOCUST_OPTIONS:
        arguments: dict[str, Any] = {
            "env_var": one.variable,
            "include_in_web_ui": False,
            "default": config.get(one),
            "help": one.help,
        }
        parser.add_argument(one.option, **arguments)
    # Locust's own default is every interface of the machine, without a login.
    parser.set_defaults(web_host="127.0.0.1")


def read_options(parsed: argparse.Namespace) -> RunOptions:
    """The options of this process. Raises ConfigError with what to do about it."""
    url = getattr(parsed, "target", "")
    if not url:
        raise ConfigError(HOW_TO_SIMULATE)
    terms = resolve_target(
        url,
        Path(parsed.targets),
        ca_file=parsed.ca_file or None,
        origin=parsed.origin or None,
    )
    reports = Path(parsed.reports)
    told = getattr(parsed, LEARNED, None)  # by the master, who has the reports folder
    learned = read_learned(reports, terms) if told is None else Learned.of(told)
    return RunOptions(
        terms=terms,
        overrides=parse_overrides([part for part in parsed.override.split(";") if part.strip()]),
        reports=reports,
        metrics=_metrics(parsed.metrics_address, parsed.metrics_port),
        slo=Path(parsed.slo) if parsed.slo else None,
        warm_up_s=seconds(parsed.warm_up, "--warm-up") if parsed.warm_up else None,
        confident=_on_off("--confident", parsed.confident),
        disk_guard=_on_off("--disk-guard", parsed.disk_guard),
        run_id=getattr(parsed, RUN_ID, None) or RunConfig.of_process().get(HANDED_RUN_ID) or None,
        term_grace_s=seconds(parsed.term_grace, "--term-grace"),
        learned=learned,
        guest_options=read_guest_options(parsed, terms, learned),
    )


def _on_off(option: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise ConfigError(f"{option}: expected on or off, got {text!r}")
    return text == "on"


def _metrics(address: str, port: str) -> tuple[str, int] | None:
    if not port:
        return None
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"--metrics-port: expected a port, got {port!r}")
    return address, int(port)
