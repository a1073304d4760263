"""``harness script``: what a conversation script would send, before it sends anything."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.cli.parsing import Command, Namespace, argument, option
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.streams import open_console
from harness.units import duration_text, seconds
from harness.workload.data import Feeder
from harness.workload.har.reading import read_recording
from harness.workload.har.scripting import draft
from harness.workload.script.estimate import Estimate, estimate
from harness.workload.script.file import Loaded, read_script
from harness.workload.script.model import Script, script_schema

STAND_IN = b"A stand-in for the file that was sent. "


def run(args: Namespace) -> int:
    """Do it."""
    if args.action == "schema":
        print(json.dumps(script_schema(), indent=2))
        return ExitCode.PASS
    if args.file is None:
        raise ConfigError(f"harness script {args.action}: which FILE?")
    if args.action != "from-har" and (args.out is not None or args.force):
        raise ConfigError("--out and --force go with from-har")
    if args.action == "from-har":
        return _from_har(args.file, args.out, force=args.force)
    loaded = read_script(args.file)
    if args.guests is not None:
        _check_rows(loaded, args.guests)
    found = estimate(loaded.script, reply_s=seconds(args.reply, "--reply"))
    if args.json:
        print(json.dumps(asdict(found) | {"breaks": list(found.breaks)}, indent=2))
    else:
        _show(found, loaded, open_console())
    return ExitCode.PREFLIGHT if found.breaks else ExitCode.PASS


def _from_har(file: Path, out: Path | None, *, force: bool) -> int:
    script = out or Path(f"{file.stem}.yaml")
    data = script.with_suffix(".csv")
    recording = read_recording(file)
    made = draft(recording, data_file=data.name)
    if not made.yaml:
        raise ConfigError(f"{file}: a guest connected and did nothing: there is nothing to script")
    written = {script: made.yaml.encode()}
    if made.csv:
        written[data] = made.csv.encode()
    for name, size in made.files.items():
        written[script.parent / name] = (STAND_IN * (size // len(STAND_IN) + 1))[:size]
    for path in () if force else written:
        if path.exists():  # all of them or none
            raise ConfigError(f"{path} is there already: --force replaces it, --out names another")
    for path, content in written.items():
        _write(path, content)
    loaded = read_script(script)
    steps = sum(len(one.steps) for one in loaded.script.scenarios.values())
    guests = len(loaded.script.scenarios)
    print(f"{script}: {guests} recorded guest{'s' if guests > 1 else ''}, {steps} steps")
    for path in [path for path in written if path != script]:
        print(f"{path}: {'invented data' if path == data else 'a stand-in of the same size'}")
    for sentence in made.dropped:
        print(f"not carried over: {sentence}")
    for sentence in made.notes:
        print(f"note: {sentence}")
    print(f"read {script} before you pass it on; {file} holds secrets: delete it when you are done")
    print(f"next: harness guest --script {script}")
    return ExitCode.PASS


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path}: can't be written ({error.strerror})") from None


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


COMMAND = Command(
    "script",
    run,
    [
        argument("action", choices=("check", "schema", "from-har"), help="what to do (see above)"),
        argument(
            "file", required=False, type=Path, metavar="FILE", help="the script (YAML), or the HAR"
        ),
        option("--reply", default="1s", metavar="TIME", help="how long replies take"),
        option(
            "--guests", type=int, metavar="N", help="check that unique rows are enough for so many"
        ),
        option("--json", flag=True, help="print JSON instead of a table"),
        option(
            "--out",
            type=Path,
            metavar="FILE",
            help="from-har: the script to write (default: its name)",
        ),
        option("--force", flag=True, help="from-har: replace files of that name"),
    ],
    description=(
        "check: reads a conversation script and its data, and says what it would send, how long it "
        "takes and which of the service's documented limits it would break. Nothing is sent.\n"
        "schema: prints the JSON schema of scripts, for editors.\n"
        "from-har: makes a script of what a guest did in a browser, from the HAR export of Chrome "
        "or Edge (or from a file of harness guest --record). No token, id or reply is carried "
        "over; personal data that a machine can tell becomes a column of invented data.\n\n"
        "exit code: 0 the script keeps the limits, 7 it would break one, 8 it is wrong"
    ),
    epilog=(
        "examples:\n"
        "  harness script check shop.yaml\n"
        "  harness script check shop.yaml --reply 200ms --guests 5000\n"
        "  harness script schema > script.schema.json\n"
        "  harness script from-har chat.har --out shop.yaml\n"
    ),
)
