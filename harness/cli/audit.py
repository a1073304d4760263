"""Compare a run's ledger with what the service itself shows as open, through the Platform API. The
OAuth credentials are in HARNESS_CLIENT_ID and HARNESS_CLIENT_SECRET, or in the variables that the
target names. The service shows changes late, so it is asked again until all conversations of the
run are known to be over, or until the deadline. The exit code is 0 if all are over, 4 if something
is open, 9 if some could not be checked.

examples:
  harness audit latest
  harness audit 20261122-231500-ab12 --deadline 10m --queue QUEUE-ID --flow FLOW-ID
  harness audit latest --json
"""

from harness.cli.parsing import (
    Command,
    Namespace,
    json_option,
    option,
    place_options,
    reports_option,
    run_argument,
    take_run,
)
from harness.errors import ConfigError, ExitCode
from harness.platform_api.conversations import observe, result_or_none
from harness.reconcile.audit import Audit, audit, audit_block, end_figures, show_audit
from harness.reconcile.platform import (
    learned_of,
    long_enough_s,
    note_afterwards,
    open_search,
    platform_of,
)
from harness.rundir.layout import RunDirectory
from harness.streams import open_console, show_json
from harness.units import seconds

DEADLINE_S = 120.0


def run(args: Namespace) -> int:
    """Ask, compare, tell."""
    chosen_s = None if args.deadline is None else seconds(args.deadline, "--deadline")
    directory = take_run(args)
    if parts := RunDirectory(directory).parts():
        names = ", ".join(str(part) for part in parts)
        raise ConfigError(f"the run {directory.name} was merged: audit each of its parts: {names}")
    learned = learned_of(directory)
    deadline_s = chosen_s
    if deadline_s is None:
        lags_s = learned.analytics_ends_s, learned.analytics_shows_s
        deadline_s = long_enough_s(DEADLINE_S, *lags_s)
    console = open_console(stderr=args.json)
    facts = platform_of(directory)
    queues = args.queue or facts.get("queues", [])
    flows = args.flow or facts.get("flows", [])

    def on_look(result: Audit) -> None:
        console.print(
            f"look {result.looks}: {result.certainly_open:,} of this run open, "
            f"{len(result.unknown):,} unknown, "
            f"{result.visible:,} of {result.spoke:,} conversations visible",
            style="dim",
        )

    places = {"api_url": args.api_url, "login_url": args.login_url}
    with open_search(directory, console, **places) as search:
        result = audit(directory, search, deadline_s=deadline_s, on_look=on_look)
        counts = result_or_none(observe, search.api, queues=queues, flows=flows) or {}
    block = audit_block(result, counts, deadline_s, search.api.waited_s)
    ends = end_figures(directory, result.ends)
    note_afterwards(directory, "audit", block, console, operations=ends)
    if args.json:
        show_json(block)
    else:
        show_audit(directory, result, counts, deadline_s, console)
    if result.certainly_open:
        return ExitCode.LEFTOVERS
    return ExitCode.PASS if result.clean else ExitCode.UNKNOWN


COMMAND = Command(
    run,
    run_argument(),
    reports_option(),
    option(
        "--deadline TIME",
        "keep asking for this long (default: 2m, or longer if the preflight saw a longer delay)",
    ),
    *[
        option(
            f"--{kind} ID",
            f"also count all open conversations of this {kind}",
            repeated=True,
        )
        for kind in ("queue", "flow")
    ],
    *place_options(),
    json_option(),
)
