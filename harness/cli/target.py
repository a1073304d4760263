"""Write a commented file of named targets, or show what is in it.

examples:
  harness target init
  harness target list
  harness target regions
"""

from harness import deploy
from harness.cli.parsing import Command, Namespace, argument, targets_option
from harness.config.target import REGIONS, read_targets
from harness.errors import ExitCode
from harness.rundir.layout import write_new
from harness.streams import open_console, plain_table


def run(args: Namespace) -> int:
    """Write or list."""
    console = open_console()
    if args.what == "init":
        write_new(args.targets, deploy.path("targets.toml").read_text(encoding="utf-8"))
        console.print(f"wrote {args.targets}: fill it in, then harness preflight --target NAME")
        return ExitCode.PASS
    if args.what == "regions":
        table = plain_table("region", "guest socket", "time zone", left=True)
        for region, (domain, zone) in REGIONS.items():
            table.add_row(region, f"webmessaging.{domain}", zone)
    else:
        table = plain_table("name", "host", "window", "approval", "sessions at most", left=True)
        for name, terms in read_targets(args.targets).items():
            zone = f" {terms.zone or 'zone unknown'}" if terms.window else ""
            zone = f"{terms.window_text}{zone}" if terms.guarded else "free"
            cap = "none" if terms.max_sessions is None else f"{terms.max_sessions:,}"
            table.add_row(name, terms.target.netloc, zone, terms.approval or "none", cap)
    console.print(table)
    return ExitCode.PASS


COMMAND = Command(
    run,
    argument(
        "what",
        "init: write the file; list: show it; regions: the vendor's regions",
        choices=("init", "list", "regions"),
    ),
    targets_option(),
)
