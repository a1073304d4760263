"""Compare a run with one or several base runs. For each operation and percentile it shows the
change, its interval, and a word: faster, slower, no difference seen, or cannot tell. It also
compares errors, leftovers and the generator's health, and first of all how the runs were set up.
With several base runs it knows how much equal runs vary.

exit code: 0 no deciding figure is worse by an amount that matters, 3 one is, 5 too little data, 6
one of the runs is INVALID

examples:
  harness compare 20261115-main latest
  harness compare monday tuesday wednesday latest --html
  harness compare base.run latest --figure 'reply p95' --matters 10
"""

from harness.cli.parsing import Command, Namespace, argument, option, reports_option
from harness.errors import ConfigError, UsageError
from harness.ledger.runs import resolve_run
from harness.rundir.layout import COMPARISON_PAGE
from harness.units import seconds


def run(args: Namespace) -> int:
    """Print the comparison; its exit code."""
    _refuse_nonsense(args)
    *bases, new = [resolve_run(text, args.reports) for text in args.runs]
    from harness.report.html.page import write_page
    from harness.studies.compare.comparison import compare
    from harness.studies.compare.page import comparison_page, comparison_text
    from harness.studies.compare.statistics import Rules

    rules = Rules(
        confidence=args.confidence / 100,
        negligible=args.negligible / 100,
        matters=args.matters / 100,
        between_runs=args.between_runs / 100,
        least=seconds(args.least, "--least") * 1000,
    )
    comparison = compare(bases, new, rules=rules, named=args.figure)
    print(comparison_text(comparison), end="")
    if args.html:
        page = write_page(new / COMPARISON_PAGE, comparison_page(comparison))
        print(f"\n{page}")
    return comparison.exit_code


def _refuse_nonsense(args: Namespace) -> None:
    if len(args.runs) < 2:
        raise UsageError("expected two runs or more: the base, and last the run to judge")
    for name, least in (("confidence", 50.0), ("negligible", 0.0), ("between_runs", 0.0)):
        value = getattr(args, name)
        if not least <= value < 100:
            raise ConfigError(
                f"--{name.replace('_', '-')}: expected {least:g} up to below 100 percent, "
                f"got {value:g}"
            )
    if not args.negligible < args.matters < 100:
        raise ConfigError(
            f"--matters: expected more than --negligible ({args.negligible:g}) and less than 100 "
            f"percent, got {args.matters:g}"
        )


COMMAND = Command(
    run,
    argument("runs RUN", "the base run or runs, then the run to judge", many=True),
    option(
        "--figure FIGURE",
        "figure that decides the exit code, such as 'reply p95' or 'errors of reply' (default: "
        "p95 and errors of reply, session_open and delivered, and leftovers)",
        repeated=True,
    ),
    option("--html", "write compare.html into the directory of the last run"),
    option("--confidence PERCENT", "confidence of all words together, in per cent", default=95.0),
    option("--negligible PERCENT", "ignore changes smaller than this, in per cent", default=1.0),
    option(
        "--matters PERCENT",
        "a change of this size matters, in per cent: 'no difference seen' rules it out",
        default=5.0,
    ),
    option("--least TIME", "ignore changes smaller than this time", default="500us"),
    option(
        "--between-runs PERCENT",
        "known variation of a percentile between equal runs, in per cent",
        default=0.0,
    ),
    reports_option(),
)
