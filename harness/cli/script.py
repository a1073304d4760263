"""check: reads a conversation script and its data. Says what it would send, how long it takes, and
which documented limits of the service it would break. Sends nothing.

schema: prints the JSON schema of scripts, for editors.

from-har: writes a script from a chat in a browser, recorded as HAR by Chrome or Edge, or from a
file of harness guest --record. It carries over no token, id or reply. Personal data that it can
recognise becomes a column of invented data.

exit code: 0 the script keeps the limits, 7 it would break one, 8 it is wrong

examples:
  harness script check shop.yaml
  harness script check shop.yaml --reply 200ms --guests 5000
  harness script schema > script.schema.json
  harness script from-har chat.har --out shop.yaml
"""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from harness.cli.parsing import Command, Namespace, argument, option
from harness.errors import ConfigError, ExitCode, UsageError
from harness.limits import WOULD_BREAK
from harness.streams import open_console, plain_table, show_json
from harness.units import duration_text, seconds
from harness.workload.har.scripting import write_draft
from harness.workload.script.estimate import Estimate, estimate, foreign_settings
from harness.workload.script.file import Loaded, read_script
from harness.workload.script.model import script_schema


def run(args: Namespace) -> int:
    """Do it."""
    if args.action != "from-har" and (args.out is not None or args.force):
        raise UsageError("--out and --force go with from-har")
    if args.action == "schema":
        show_json(script_schema())
        return ExitCode.PASS
    if args.file is None:
        raise UsageError(f"harness script {args.action}: expected FILE")
    if args.action == "from-har":
        return _from_har(args)
    loaded = read_script(args.file)
    if args.guests is not None:
        _check_rows(loaded, args.guests)
    result = estimate(loaded.script, reply_s=seconds(args.reply, "--reply"))
    if args.json:
        show_json(asdict(result) | {"breaks": list(result.breaks)})
    else:
        _show(result, loaded, open_console())
    return ExitCode.PREFLIGHT if result.breaks else ExitCode.PASS


def _from_har(args: Namespace) -> int:
    for sentence in write_draft(args.file, args.out, force=args.force):
        print(sentence)
    return ExitCode.PASS


def _check_rows(loaded: Loaded, guests: int) -> None:
    if guests < 1:
        raise ConfigError(f"--guests: expected one or more, got {guests}")
    if loaded.feeder is not None:
        loaded.feeder.check_enough(guests)


def _show(result: Estimate, loaded: Loaded, console: Console) -> None:
    table = plain_table(
        "scenario", "of guests", "takes", "texts", "waits", "requests", "in a minute", "in 1 s",
    )  # fmt: skip
    for one in result.scenarios:
        counts = (one.texts, one.waits, one.requests, one.peak_per_min, one.peak_per_s)
        takes = duration_text(one.duration_s)
        table.add_row(one.name, f"{one.share:.0%}", takes, *map(str, counts))
    console.print(table)
    print(
        f"the mean guest: {duration_text(result.mean_duration_s)}, {result.mean_texts:.3g} texts, "
        f"{result.mean_requests:.3g} requests"
    )
    if (feeder := loaded.feeder) is not None:
        rows = len(feeder.table.rows)
        print(f"data: {feeder.table.name}, {rows:,} row{'s' * (rows != 1)}, {feeder.mode}")
    for sentence in foreign_settings(loaded.script):
        print(sentence)
    for sentence in result.breaks:
        print(f"{WOULD_BREAK}{sentence}")
    if not result.breaks:
        print("keeps the service's documented limits")


COMMAND = Command(
    run,
    argument("action", "what to do, as above", choices=("check", "schema", "from-har")),
    argument("FILE", "the script, or the recording", required=False, type=Path),
    option("--reply TIME", "assumed time of a reply", default="1s"),
    option(
        "--guests N", "check that the data has enough unique rows for this many guests", type=int
    ),
    option("--json", "print JSON instead of a table"),
    option(
        "--out FILE", "from-har: script to write (default: named after the recording)", type=Path
    ),
    option("--force", "from-har: replace existing files"),
)
