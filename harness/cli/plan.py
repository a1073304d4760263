"""``harness plan``: what a launch needs, before anything is tested."""

import json
from dataclasses import asdict
from pathlib import Path

from harness.cli.parsing import Command, Namespace, option, section
from harness.cli.which_run import reports_option
from harness.exit_codes import ExitCode
from harness.rundir.layout import make_run_directory, new_run_id
from harness.streams import open_console
from harness.studies.plan.inputs import read_machines, read_wanted
from harness.studies.plan.model import plan_launch
from harness.studies.plan.page import (
    locustfile_of,
    plan_rows,
    show,
    write_locustfile,
    write_plan_page,
)


def run(args: Namespace) -> int:
    """Plan, print, and write page and JSON."""
    machines = read_machines(args)
    wanted = read_wanted(args, machines)
    plan = plan_launch(wanted)
    if args.locustfile is not None:
        write_locustfile(args.locustfile, wanted, plan)
    folder = make_run_directory(args.reports, f"plan-{new_run_id()}")
    rows = plan_rows(wanted, plan, machines.source)
    page = write_plan_page(folder, wanted, plan, rows, locustfile=locustfile_of(wanted, plan))
    told = {"wanted": asdict(wanted), "machines": machines.source, "plan": plan.as_dict()}
    text = json.dumps(told, indent=2)
    (folder / "plan.json").write_text(text)
    if args.json:
        print(text)
        return ExitCode.PASS
    console = open_console()
    show(rows, plan, console)
    if args.locustfile is not None:
        print(f"wrote {args.locustfile}")
    console.print(f"page  {page}", highlight=False, soft_wrap=True)
    return ExitCode.PASS


COMMAND = Command(
    "plan",
    run,
    [
        option("--locustfile", type=Path, metavar="FILE", help="write a ready locustfile"),
        option("--json", flag=True, help="print JSON instead of a table"),
        reports_option(),
        *section(
            "the load",
            option("--chats-per-hour", metavar="N", help="chats in the busy hour"),
            option(
                "profile",
                "--from",
                type=Path,
                metavar="CSV",
                help="or: guests per interval (start,guests)",
            ),
            option(
                "--peak-factor",
                metavar="X",
                help="worst minutes of the busy hour over its mean (default: 1)",
            ),
            option(
                "--handle-time", required=True, metavar="TIME", help="length of a chat, e.g. 8m"
            ),
            option("--messages", required=True, metavar="N", help="messages of a guest per chat"),
        ),
        *section(
            "the agents",
            option("--concurrency", default="1", metavar="N", help="chats per agent at a time"),
            option("--to-agents", default="100%", metavar="SHARE", help="chats that reach one"),
            option(
                "--answer-within",
                default="30s",
                metavar="TIME",
                help="a guest's longest wait for an agent",
            ),
            option("--service-level", default="80%", metavar="SHARE", help="answered in that time"),
            option("--patience", metavar="TIME", help="mean wait after which a guest gives up"),
        ),
        *section(
            "the test",
            option(
                "--test-duration",
                default="1h",
                metavar="TIME",
                help="length of the test at the peak",
            ),
            option("--window", default="6h", metavar="TIME", help="approved hours of a night"),
            option(
                "--capacity",
                metavar="RATE",
                help="measured capacity, e.g. 390/min, or the folder of a capacity search",
            ),
        ),
        *section(
            "the generator machines",
            option(
                "--calibration",
                type=Path,
                metavar="FILE",
                help="what harness calibrate found (default: calibration.json of the reports)",
            ),
            option("--guests-per-machine", metavar="N", help="sessions at once (5000)"),
            option("--rate-per-machine", metavar="RATE", help="new guests (50/s)"),
            option("--messages-per-machine", metavar="RATE", help="messages (1000/s)"),
        ),
        *section(
            "what leftovers cost",
            option(
                "--leftover-rate", default="0.5%", metavar="SHARE", help="chats that are left over"
            ),
            option("--leftover-time", default="1h", metavar="TIME", help="how long one stays"),
        ),
    ],
    description=(
        "Plans a launch from a few numbers: guests in session and new ones per minute at the peak "
        "against the service's documented limits, agents, whether a test of that size fits the "
        "approved window, generator machines, and what leftovers would cost in agents' hours."
    ),
    epilog=(
        "examples:\n"
        "  harness plan --chats-per-hour 3000 --peak-factor 1.6 --handle-time 8m --messages 12\n"
        "  harness plan --from monday.csv --handle-time 8m --messages 12 --concurrency 3\n"
        "  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\\n"
        "      --capacity 120/min --locustfile launch_plan.py --json\n"
        "  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\\n"
        "      --capacity reports/capacity-20261122-231500-ab12\n"
    ),
)
