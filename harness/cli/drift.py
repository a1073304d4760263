"""Judge a soak: does anything get worse over time? Each figure of the service and of the harness
gets a slope with its interval, a search for one sudden change, and a word: flat, drifting,
improving or undecided. Also says whether sessions leak. The exit code is 0 if nothing got worse, 3
if something drifts, 5 if it is undecided.

examples:
  harness drift latest
  harness drift 20261122-231500-ab12 --warm-up 30m --json
  harness drift latest --limit memory=2000 --limit 'reply p95=5s'
"""

from harness.cli.parsing import (
    Command,
    Namespace,
    json_option,
    option,
    reports_option,
    run_argument,
    take_run,
)
from harness.errors import ConfigError, ExitCode
from harness.report.html.page import write_page
from harness.rundir.layout import DRIFT_PAGE
from harness.streams import open_console, show_json
from harness.studies.drift.assess import TOLERATED_LEAK, check_tolerated
from harness.studies.drift.figures import as_dict, assess_run
from harness.studies.drift.page import drift_page, show_drift
from harness.studies.drift.trend import Drift
from harness.units import seconds

EXIT_CODES = {
    Drift.FLAT: ExitCode.PASS,
    Drift.IMPROVING: ExitCode.PASS,
    Drift.DRIFTING: ExitCode.OBJECTIVES,
    Drift.UNDECIDED: ExitCode.NO_DATA,
}


def run(args: Namespace) -> int:
    """Judge and show, in the terminal and as a page beside the run's files."""
    check_tolerated(args.tolerated_leak, "--tolerated-leak")
    directory = take_run(args)
    report = assess_run(
        directory,
        warmup_s=None if args.warm_up is None else seconds(args.warm_up, "--warm-up"),
        tolerated_leak=args.tolerated_leak,
        limits=_pairs(args.limit),
    )
    console = open_console(stderr=args.json)
    if not args.json:
        show_drift(report, console)
    try:
        page = write_page(directory / DRIFT_PAGE, drift_page(directory.name, report))
        console.print(f"page  {page}")
    except ConfigError as error:  # the disk takes no more; the answer is known all the same
        console.print(f"no page: {error}", style="yellow")
    if args.json:
        show_json(as_dict(report))
    return EXIT_CODES[report.verdict]


def _pairs(texts: list[str]) -> dict[str, str]:
    limits = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not (name and sign and value):
            raise ConfigError(f"--limit: expected FIGURE=VALUE, got {text!r}")
        limits[name] = value
    return limits


COMMAND = Command(
    run,
    run_argument(),
    reports_option(),
    option("--warm-up TIME", "ignore this much of the start (default: detected)"),
    option(
        "--tolerated-leak SHARE",
        "share of leftovers that does not count as a leak",
        default=TOLERATED_LEAK,
    ),
    option(
        "--limit FIGURE=VALUE",
        "also say when a drifting figure will reach this value, such as memory=2000 (MB) "
        "or 'reply p95=5s'; objectives count anyway",
        repeated=True,
    ),
    json_option(),
)
