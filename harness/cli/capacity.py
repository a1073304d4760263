"""Find the highest load at which the objectives are still met. The load is the arrival rate of an
open workload, or with --by occupancy the guests in session of a closed one. Each level is a run of
its own: it warms up, holds until its figures are clear of their limits, and drains. A level that is
still getting better is held longer. The search doubles the load until a level fails, then narrows
down. At the end it repeats one level below the limit and one above. If they now differ, the service
has changed: the answer is a range without a confidence, with exit code 5. A limit of the generator
is never reported as one of the service.

exit codes: 0 an answer was found; 5 the levels did not decide; 8 bad input; 130 stopped.

examples:
  harness capacity --objective 'reply p95 < 500ms' --start 60/min --highest 1200/min
  harness capacity --objective 'reply p95 < 1s' --by occupancy --start 20 --highest 2000
  harness capacity my_locustfile.py --slo objectives.toml --start 2/s --hold 5m
  harness capacity --target staging --master --expect-workers 4 --bind 10.0.0.1 \\
    --objective 'reply p95 < 1s'
  harness capacity --resume reports/capacity-20261122-231500-ab12
  harness capacity --objective 'reply p95 < 1s' --sim-profile simulator.toml --wanted 300/min
"""

from harness.cli.parsing import (
    Command,
    Namespace,
    argument,
    let_runs_print_text,
    option,
    reports_option,
    targets_option,
)
from harness.config.run_config import CA_FILE, MASTER_PORT, SLO
from harness.errors import ExitCode
from harness.report.html.page import write_page
from harness.rundir.layout import CAPACITY_PAGE
from harness.streams import open_console, show_json
from harness.studies.capacity import answer as answers
from harness.studies.capacity.runner import open_search, run_levels
from harness.studies.capacity.search import AnswerKind, Quantity, answer


def run(args: Namespace) -> int:
    """Search until the answer is narrow enough."""
    let_runs_print_text()
    console = open_console(stderr=args.json)
    search = open_search(args)
    by = search.by
    wanted = None if args.wanted is None else by.parse(args.wanted, "--wanted")
    if not run_levels(search, console):
        return ExitCode.INTERRUPTED
    result = answer(search.plan, search.tried)
    shown = answers.as_dict(
        by, result, search.levels, wanted=wanted, directory=str(search.directory)
    )
    page = write_page(search.directory / CAPACITY_PAGE, answers.capacity_page(shown))
    answers.show(by, result, shown, console)
    console.print(f"page  {page}")
    if args.json:
        show_json(shown)
    decided = result.kind in (AnswerKind.KNEE, AnswerKind.AT_LEAST)
    return ExitCode.PASS if decided else ExitCode.NO_DATA


COMMAND = Command(
    run,
    argument("LOCUSTFILE", "the guests of each level", default="locustfiles/load.py"),
    option("--target TARGET", "as for harness run; one simulator serves all levels", default="sim"),
    targets_option(str),
    option("--override RULE=REASON", "as for harness run, at every level", repeated=True),
    option(CA_FILE),
    option("--objective TEXT", "what a level must meet, such as 'reply p95 < 1s'", repeated=True),
    option(SLO),
    option(
        "--by",
        "what is raised: the arrival rate, or the guests in session at once",
        choices=[str(by) for by in Quantity],
    ),
    option("--start LOAD", "load of the first level (default: 30/min, or 10 guests at once)"),
    option("--highest LOAD", "never go above this load (default: 1000/min, or 1000 guests)"),
    option("--hold TIME", "minimum time per level", default="60s"),
    option("--longest TIME", "maximum time per level (default: 16 times --hold)"),
    option(
        "--settle TIME",
        "never fail a level before this: time to add machines (default: 3 times --hold)",
    ),
    option("--warm-up TIME", "time at the start of each level that is not judged", default="15s"),
    option("--resolution SHARE", "stop when the answer's range is this narrow", default=0.08),
    option("--max-levels N", "maximum number of levels, without those held again", default=16),
    option("--processes N", "worker processes per level", type=int),
    option("--master", "lead workers on other machines: harness worker HOST --again"),
    option("--expect-workers N", "begin each level when this many workers are connected", type=int),
    option("--bind ADDRESS", "address on which the master listens (default: 127.0.0.1)"),
    option("--master-port PORT", f"port of the master (default: {MASTER_PORT})", type=int),
    option("--seed N", "repeat the arrivals of each level", type=int),
    option("--wanted LOAD", "the load that you need: the answer says what room is above it"),
    reports_option(),
    option("--resume DIR", "continue an interrupted search"),
    option("--sim-profile FILE", "settings of the embedded simulator (TOML)"),
    option("--json", "print the answer as one JSON object"),
)
