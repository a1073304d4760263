"""``harness report``: makes the reports of a run from what lies in its directory."""

import argparse
from pathlib import Path

from harness.exit_codes import ExitCode
from harness.report.rundir import REPORTS, resolve_run


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Makes the HTML report of a run, as often as wanted, from what the run left in its "
        "directory. A run that crashed gives a partial report that says so."
    )
    parser.epilog = (
        "examples:\n  harness report latest\n  harness report reports/20261122-140501-launch\n"
    )
    parser.add_argument("run", help="a run's directory, its id, or 'latest'")
    parser.add_argument(
        "--reports-dir", type=Path, default=REPORTS, help="where runs are kept (default: reports)"
    )


def run(args: argparse.Namespace) -> int:
    """Make it and print where it is."""
    run_dir = resolve_run(args.run, args.reports_dir)
    from harness.report.page import write_report  # the chart library is needed only now

    print(write_report(run_dir))
    return ExitCode.PASS
