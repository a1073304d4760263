"""``harness plan``: what a launch needs, before anything is tested."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote

from harness.cli.parsing import Command, Namespace, option, section
from harness.cli.which_run import reports_option
from harness.config.target import FILE
from harness.exit_codes import ExitCode
from harness.rundir.layout import make_run_directory, new_run_id, write_json
from harness.streams import open_console
from harness.studies.plan.inputs import read_inputs
from harness.studies.plan.locustfile import locustfile_of, write_locustfile
from harness.studies.plan.model import plan_launch
from harness.studies.plan.page import plan_rows, show, write_plan_page


def run(args: Namespace) -> int:
    """Plan, print, and write locustfile, page and JSON."""
    given = read_inputs(args)
    wanted = given.wanted
    folder = args.reports / f"plan-{new_run_id()}"
    path = args.locustfile or folder / "launch_plan.py"
    plan = plan_launch(
        wanted, locustfile=quote(str(path)), target=given.target, guarded=given.guarded
    )
    locustfile = locustfile_of(wanted, plan)
    if args.locustfile is not None:
        write_locustfile(path, locustfile)
    make_run_directory(args.reports, folder.name)
    if args.locustfile is None:
        write_locustfile(path, locustfile)
    rows = plan_rows(wanted, plan, machines=given.machines, arrivals=given.arrivals)
    page = write_plan_page(folder, wanted, plan, rows, locustfile=locustfile)
    told = {
        "wanted": asdict(wanted),
        "machines": given.machines,
        "arrivals": given.arrivals,
        "locustfile": str(path),
        "plan": plan.as_dict(),
    }
    kept = write_json(folder / "plan.json", told)
    if args.json:
        print(kept.read_text())
        return ExitCode.PASS
    console = open_console()
    show(rows, plan, console)
    console.print(f"locustfile  {path}\npage  {page}", highlight=False, soft_wrap=True)
    return ExitCode.PASS


COMMAND = Command(
    "plan",
    run,
    [
        option(
            "--locustfile",
            type=Path,
            metavar="FILE",
            help="where to write the plan's locustfile (default: beside the page)",
        ),
        option("--target", metavar="TARGET", help="target of the printed commands"),
        option(
            "--targets", type=Path, default=str(FILE), metavar="FILE", help="file of named targets"
        ),
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
                help=(
                    "instead: guests per interval (start,guests), read in intervals of 15 minutes "
                    "or more"
                ),
            ),
            option(
                "--peak-factor",
                metavar="X",
                help="worst quarter hour relative to the mean of the busy hour (default: 1)",
            ),
            option(
                "--handle-time",
                required=True,
                metavar="TIME",
                help="length of a chat without waiting, such as 8m",
            ),
            option(
                "--bot-time",
                default="0s",
                metavar="TIME",
                help="part of it before an agent is needed",
            ),
            option(
                "--messages",
                required=True,
                metavar="N",
                help="texts of a guest per chat",
            ),
        ),
        *section(
            "the agents",
            option("--concurrency", default="1", metavar="N", help="chats of an agent at once"),
            option(
                "--to-agents",
                default="100%",
                metavar="SHARE",
                help="chats that reach an agent",
            ),
            option(
                "--shrinkage",
                default="0%",
                metavar="SHARE",
                help="paid time without chats",
            ),
            option(
                "--answer-within",
                default="30s",
                metavar="TIME",
                help="longest wait for an agent",
            ),
            option(
                "--service-level",
                default="80%",
                metavar="SHARE",
                help="chats answered in that time",
            ),
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
            option(
                "--window",
                metavar="TIME",
                help="approved hours per night (default: the target's, or 6h)",
            ),
            option(
                "--capacity",
                metavar="RATE",
                help="measured capacity, such as 390/min, or the folder of a capacity search",
            ),
            option(
                "--ai-tokens-per-guest",
                metavar="N",
                help=(
                    "AI tokens of one chat: 1.2 with an agentic virtual agent, 0.5 with a virtual "
                    "agent, 0.02 with a digital bot flow"
                ),
            ),
        ),
        *section(
            "the generator machines",
            option(
                "--calibration",
                type=Path,
                metavar="FILE",
                help=(
                    "figures of harness calibrate (default: calibration.json in the reports folder)"
                ),
            ),
            option("--guests-per-machine", metavar="N", help="sessions at once (default: 5000)"),
            option("--rate-per-machine", metavar="RATE", help="new guests (default: 50/s)"),
            option("--messages-per-machine", metavar="RATE", help="messages (default: 1000/s)"),
        ),
        *section(
            "what leftovers cost",
            option(
                "--leftover-rate",
                default="0.5%",
                metavar="SHARE",
                help="chats that are left over",
            ),
            option(
                "--leftover-time",
                default="1h",
                metavar="TIME",
                help="time a leftover stays open",
            ),
        ),
    ],
    description=(
        "Plan the load test of a launch from a few numbers: guests in session and new guests per "
        "minute at the peak, agents, generator machines, cost. Compares them with the service's "
        "documented limits and with the approved window. Writes a locustfile for the plan and "
        "prints the commands that run it."
    ),
    epilog=(
        "examples:\n"
        "  harness plan --chats-per-hour 3000 --peak-factor 1.6 --handle-time 8m --messages 12\n"
        "  harness plan --from monday.csv --handle-time 8m --messages 12 --concurrency 3\n"
        "  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\\n"
        "      --capacity 120/min --locustfile launch_plan.py --target staging\n"
        "  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\\n"
        "      --capacity reports/capacity-20261122-231500-ab12\n"
    ),
)
