"""Plan the load test of a launch from a few numbers: guests in session and new guests per minute at
the peak, agents, generator machines, cost. Compares them with the service's documented limits and
with the approved window. Writes a locustfile for the plan and prints the commands that run it.

examples:
  harness plan --chats-per-hour 3000 --peak-factor 1.6 --handle-time 8m --messages 12
  harness plan --from monday.csv --handle-time 8m --messages 12 --concurrency 3
  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\
      --capacity 120/min --locustfile launch_plan.py --target staging
  harness plan --chats-per-hour 3000 --handle-time 8m --messages 12 \\
      --capacity reports/capacity-20261122-231500-ab12
"""

from pathlib import Path

from harness.cli.parsing import Command, Namespace, option, reports_option, targets_option
from harness.errors import ExitCode
from harness.streams import open_console, print_json_text
from harness.studies.plan.inputs import read_inputs
from harness.studies.plan.page import show, write_plan


def run(args: Namespace) -> int:
    """Plan, print, and write locustfile, page and JSON."""
    written = write_plan(read_inputs(args), args.reports, args.locustfile)
    if args.json:
        print_json_text(written.facts.read_text(encoding="utf-8"))
        return ExitCode.PASS
    console = open_console()
    show(written.rows, written.plan, console)
    console.print(f"locustfile  {written.locustfile}\npage  {written.page}")
    return ExitCode.PASS


COMMAND = Command(
    run,
    option("--locustfile FILE", "locustfile to write (default: beside the page)", type=Path),
    option("--target TARGET", "target of the printed commands"),
    targets_option(),
    option("--json", "print JSON instead of a table"),
    reports_option(),
    "the load",
    option("--chats-per-hour N", "chats in the busy hour"),
    option(
        "--from CSV",
        "instead: guests per interval (start,guests), read in intervals of 15 minutes or more",
        type=Path,
        name="profile",
    ),
    option("--peak-factor X", "worst quarter hour relative to the busy hour's mean (default: 1)"),
    option("--handle-time TIME", "length of a chat without waiting, such as 8m", required=True),
    option("--bot-time TIME", "part of it before an agent is needed", default="0s"),
    option("--messages N", "texts of a guest per chat", required=True),
    "the agents",
    option("--concurrency N", "chats of an agent at once", default="1"),
    option("--to-agents SHARE", "chats that reach an agent", default="100%"),
    option("--shrinkage SHARE", "paid time without chats", default="0%"),
    option("--answer-within TIME", "longest wait for an agent", default="30s"),
    option("--service-level SHARE", "chats answered in that time", default="80%"),
    option("--patience TIME", "mean wait after which a guest gives up"),
    "the test",
    option("--test-duration TIME", "length of the test at the peak", default="1h"),
    option("--window TIME", "approved hours per night (default: the target's, or 6h)"),
    option("--capacity RATE", "measured capacity, as 390/min, or a capacity search's folder"),
    option(
        "--ai-tokens-per-guest N",
        "AI tokens of a chat: agentic virtual agent 1.2, virtual agent 0.5, digital bot flow 0.02",
    ),
    "the generator machines",
    option(
        "--calibration FILE",
        "figures of harness calibrate (default: calibration.json in the reports folder)",
        type=Path,
    ),
    option("--guests-per-machine N", "sessions at once (default: 5000)"),
    option("--rate-per-machine RATE", "new guests (default: 50/s)"),
    option("--messages-per-machine RATE", "messages (default: 1000/s)"),
    "what leftovers cost",
    option("--leftover-rate SHARE", "chats that are left over", default="0.5%"),
    option("--leftover-time TIME", "time a leftover stays open", default="1h"),
)
