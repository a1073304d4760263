"""Make the reports of a run again from its directory: a page (report.html), a summary for a pull
request or chat (summary.md), one test case per objective for CI (junit.xml), and the run over time
(intervals.csv). A run that crashed gives a partial report that says so.

--merge makes one run of several that went on side by side, each with its share of the load: every
figure is counted from what all of them measured, and judged anew. The exit code is the verdict's.

examples:
  harness report latest
  harness report reports/20261122-140501-launch
  harness report latest --only markdown,junit
  harness report --live latest        (of the run that is going on now)
  harness report --merge reports-a/20261122-140501-ab12 reports-b/20261122-140503-cd34
"""

from pathlib import Path

from harness.cli.parsing import Command, Namespace, option, reports_option, run_argument, take_run
from harness.config.run_config import OVERRIDE
from harness.errors import ConfigError, ExitCode, UsageError
from harness.ledger.runs import resolve_going_on, resolve_run
from harness.report.terminal import show_summary
from harness.rundir.layout import sweep_command
from harness.streams import open_console


def run(args: Namespace) -> int:
    """Make them and print where they are."""
    if args.merge:
        if args.live or args.only:
            raise UsageError("--merge goes with neither --live nor --only")
        return _merge(args)
    if args.override:
        raise UsageError("--override goes with --merge")
    if len(args.runs) > 1:
        raise UsageError("name one run, or give --merge to make one of them")
    (args.run,) = args.runs
    if args.live:
        if args.only:
            raise UsageError("--live and --only do not go together")
        return _live(resolve_going_on(args.run, args.reports))
    run_dir = take_run(args)
    from harness.report.outputs import OUTPUTS, write_reports  # a run's start need not pay for it

    kinds = list(dict.fromkeys(args.only.split(","))) if args.only else list(OUTPUTS)
    for kind in kinds:
        if kind not in OUTPUTS:
            raise ConfigError(f"--only: expected some of {', '.join(OUTPUTS)}, got {kind!r}")
    for path in write_reports(run_dir, kinds):
        print(path)
    return ExitCode.PASS


def _merge(args: Namespace) -> int:
    from harness.judge.merging import MAY_DIFFER, merge_runs
    from harness.preflight.guard import read_reasons
    from harness.report.outputs import write_reports

    overrides = read_reasons(args.override, MAY_DIFFER)
    runs = [resolve_run(name, args.reports) for name in args.runs]
    directory, record = merge_runs(runs, args.reports, overrides=overrides)
    page, *_ = write_reports(directory)
    sweep = sweep_command(directory)
    show_summary(record, open_console(), report=str(page), sweep=sweep)
    return int(record["exit_code"])


def _live(run_dir: Path) -> int:
    from harness.report.outputs import write_live_report

    record, page = write_live_report(run_dir)
    show_summary(
        record.model_dump(by_alias=True, exclude_unset=True), open_console(), report=str(page)
    )
    return ExitCode.PASS


COMMAND = Command(
    run,
    run_argument("runs RUN", many=True),
    option("--merge", "make one run of these, in a directory of its own; they stay as they are"),
    option(
        OVERRIDE,
        "with --merge: let the runs differ in one thing (versions, arrival_stamps, origin, "
        "locustfile, objectives); the report shows the reason",
        repeated=True,
    ),
    option(
        "--live",
        "report on a running test: prints a summary and writes live.html; 'latest' is the "
        "newest running test",
    ),
    option("--only KIND[,KIND]", "make only these: html, markdown, junit, csv"),
    reports_option(),
)
