"""``harness script``: what a conversation script would send, before it sends anything."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.report.console import open_console
from harness.units import duration_text, seconds
from harness.workload.estimate import Estimate, estimate
from harness.workload.feeder import Feeder
from harness.workload.script import Script
from harness.workload.script_file import Loaded, read_script
from harness.workload.script_schema import script_schema


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "check: reads a conversation script and its data, and says what it would send, how long it "
        "takes and which of the service's documented limits it would break. Nothing is sent.\n"
        "schema: prints the JSON schema of scripts, for editors.\n\n"
        "exit code: 0 the script keeps the limits, 7 it would break one, 8 it is wrong"
    )
    parser.epilog = (
        "examples:\n"
        "  harness script check shop.yaml\n"
        "  harness script check shop.yaml --reply 200ms --guests 5000\n"
        "  harness script schema > script.schema.json\n"
    )
    parser.add_argument("action", choices=("check", "schema"))
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the script (YAML)")
    parser.add_argument(
        "--reply", default="1s", metavar="TIME", help="how long replies take (default: 1s)"
    )
    parser.add_argument(
        "--guests", type=int, metavar="N", help="check that unique rows are enough for so many"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    if args.action == "schema":
        print(json.dumps(script_schema(), indent=2))
        return ExitCode.PASS
    if args.file is None:
        raise ConfigError("harness script check: which FILE?")
    loaded = read_script(args.file)
    if args.guests is not None:
        _check_rows(loaded, args.guests)
    found = estimate(loaded.script, reply_s=seconds(args.reply, "--reply"))
    if args.json:
        print(json.dumps(asdict(found) | {"breaks": list(found.breaks)}, indent=2))
    else:
        _show(found, loaded, open_console())
    return ExitCode.PREFLIGHT if found.breaks else ExitCode.PASS


def _check_rows(loaded: Loaded, guests: int) -> None:
    if guests < 1:
        raise ConfigError(f"--guests: expected one or more, got {guests}")
    if loaded.table is not None and loaded.script.feeder is not None:
        Feeder(table=loaded.table, mode=loaded.script.feeder.mode).check_enough(guests)


def _foreign(script: Script) -> list[str]:
    """What becomes of the other tool's settings."""
    config, told = script.config, []
    if config is None:
        return []
    if script.pause_before_texts_s:
        told.append(
            f"config: each text comes {duration_text(script.pause_before_texts_s)} after what is "
            "before it, as ovotech's tool waits; not where the script itself pauses"
        )
        told.append("config: deploymentId and region are not used: say --target")
    if config.origin:
        told.append(
            f"config: harness guest sends the origin {config.origin}; for a run say "
            f"--origin {config.origin}"
        )
    return told


def _show(found: Estimate, loaded: Loaded, console: Console) -> None:
    table = Table(show_edge=False, box=None, pad_edge=False)
    columns = (
        "scenario",
        "of guests",
        "takes",
        "texts",
        "waits",
        "requests",
        "in a minute",
        "in 1 s",
    )
    for name in columns:
        table.add_column(name, justify="left" if name == "scenario" else "right")
    for one in found.scenarios:
        table.add_row(
            one.name,
            f"{one.share:.0%}",
            duration_text(one.duration_s),
            str(one.texts),
            str(one.waits),
            str(one.requests),
            str(one.peak_per_min),
            str(one.peak_per_s),
        )
    console.print(table)
    print(
        f"the mean guest: {duration_text(found.mean_duration_s)}, {found.mean_texts:.3g} texts, "
        f"{found.mean_requests:.3g} requests"
    )
    if loaded.table is not None and loaded.script.feeder is not None:
        mode = loaded.script.feeder.mode
        print(f"data: {loaded.table.name}, {len(loaded.table.rows):,} rows, {mode}")
    for sentence in _foreign(loaded.script):
        print(sentence)
    for sentence in found.breaks:
        print(f"would break a limit: {sentence}")
    if not found.breaks:
        print("keeps the service's documented limits")
