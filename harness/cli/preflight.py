"""Check everything before a run: the way to the target and its TLS, the deployment's configuration,
one guest from end to end, platform credentials if there are any, this machine, the schedule,
approval and window. The guest says two texts, listens after each, and clears. Runs, audits and
sweeps use what it learns: does the flow greet, how many messages has an answer, how long does it
take? A run against a real deployment needs a preflight that passed in the last four hours.

exit codes: 0 passed (there may be warnings); 7 something failed; 8 bad input.

examples:
  harness preflight --target staging
  harness preflight --target staging --locustfile locustfiles/load.py --users 200
  harness preflight --target 'ws://127.0.0.1:8080/v1?deploymentId=UUID' --no-guest
"""

from rich.text import Text

from harness.cli.parsing import Command, Namespace, option, reports_option, targets_option
from harness.config.run_config import CA_FILE, ORIGIN
from harness.config.target import resolve_target
from harness.errors import ExitCode, UsageError
from harness.preflight.checks import FAIL, OK, SKIPPED, WARN
from harness.preflight.guard import write_stamp, write_table
from harness.preflight.probes import Planned, check_all
from harness.rundir.layout import CALIBRATION
from harness.streams import HowFar, open_console, plain_table
from harness.studies.calibrate.calibration import check_planned
from harness.supervise.children import inspect_locustfile

STYLES = {OK: "green", WARN: "yellow", FAIL: "bold red", SKIPPED: "dim"}


def run(args: Namespace) -> int:
    """Check one thing after the other and show what was found."""
    if args.quick and args.no_guest:
        raise UsageError("--quick and --no-guest do not go together")
    terms = resolve_target(args.target, args.targets, ca_file=args.ca_file, origin=args.origin)
    inspected = inspect_locustfile(args.locustfile, {}) if args.locustfile else {}
    planned = Planned(inspected=inspected, users=args.users, processes=max(1, args.processes))
    calibrated = check_planned(
        args.reports / CALIBRATION,
        planned.intent,
        processes=planned.processes,
        tls=terms.target.scheme == "wss",
    )
    console = open_console()
    with HowFar(console, "checking") as how_far:
        result = check_all(
            terms,
            planned,
            calibrated=calibrated,
            reports=args.reports,
            quick=args.quick,
            no_guest=args.no_guest,
            tell=how_far.tell,
        )
    table = plain_table()
    for check in result.checks:
        table.add_row(Text(check.status, style=STYLES[check.status]), check.name, check.text)
    console.print(table)
    if not args.no_guest:
        write_stamp(args.reports, terms, passed=result.passed, learned=result.learned)
    if result.directory is not None:
        path = write_table(result.directory, result.table(terms))
        console.print(Text.assemble(("table      ", "dim"), str(path)))
    verdict = ("passed", "bold green") if result.passed else ("FAILED", "bold red")
    console.print(Text.assemble(("preflight  ", "dim"), verdict))
    return ExitCode.PASS if result.passed else ExitCode.PREFLIGHT


COMMAND = Command(
    run,
    option("--target NAME", "a name from the targets file, or a URL", required=True),
    targets_option(),
    option("--locustfile FILE", "also check its schedule against the limits"),
    option("-u, --users N", "slots that the run will have", type=int),
    option("--processes N", "worker processes that the run will have", default=1),
    option(CA_FILE),
    option(ORIGIN),
    option("--quick", "one text and one reply only; learns nothing"),
    option("--no-guest", "do not send a guest; this does not count as a preflight"),
    reports_option(),
)
