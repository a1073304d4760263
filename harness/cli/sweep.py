"""``harness sweep``: end what a run left behind."""

from pathlib import Path

from harness.cli.parsing import Command, Namespace, argument, option
from harness.cli.which_run import place_options, reports_option, take_runs
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.guest.settings import read_sign_ins
from harness.reconcile.platform import (
    credentials_of,
)
from harness.reconcile.sweep import (
    SweepOrder,
    refuse_read_only,
    refuse_while_running,
    sweep_run,
)
from harness.streams import open_console
from harness.units import rate_per_s, seconds


def run(args: Namespace) -> int:
    """Sweep run after run."""
    per_second = rate_per_s(args.rate, "--rate")
    deadline_s = seconds(args.deadline, "--deadline")
    effect_s = None if args.effect is None else seconds(args.effect, "--effect")
    if per_second <= 0:
        raise ConfigError("--rate: expected more than zero")
    sign_ins = () if args.sign_ins is None else read_sign_ins(args.sign_ins)
    directories = take_runs(args, args.runs)
    refuse_while_running(directories, force=args.force)
    if not args.dry_run:
        for directory in directories:
            refuse_read_only(directory)
    if args.platform:
        for directory in directories:
            credentials_of(directory)  # better missed now than after the first part
    order = SweepOrder(
        per_second=per_second,
        deadline_s=deadline_s,
        sign_ins=sign_ins,
        derive=args.derive,
        platform=args.platform,
        effect_s=effect_s,
        api_url=args.api_url,
        login_url=args.login_url,
        dry_run=args.dry_run,
    )
    console = open_console()
    left = sum(sweep_run(directory, order, console) for directory in directories)
    return ExitCode.LEFTOVERS if left else ExitCode.PASS


COMMAND = Command(
    "sweep",
    run,
    [
        argument(
            "runs",
            many=True,
            metavar="RUN",
            help="run directory, run id, or 'latest'; several at once",
        ),
        reports_option(),
        option("--dry-run", flag=True, help="say what would be done"),
        option("--rate", default="10/s", help="new connections at most, e.g. 10/s or 600/min"),
        option("--deadline", default="30m", metavar="TIME", help="give up after this"),
        option(
            "--derive",
            flag=True,
            help=(
                "also try tokens that a lost or damaged ledger can't show, made again from the "
                "run's secret"
            ),
        ),
        option(
            "--sign-ins",
            type=Path,
            metavar="FILE",
            help=(
                "JWTs of signed-in guests, one a line: only with its own can such a session be "
                "resumed and cleared (by default those of the run's own file)"
            ),
        ),
        option(
            "--platform",
            flag=True,
            help=(
                "disconnect what is left over the Platform API "
                "(HARNESS_CLIENT_ID and HARNESS_CLIENT_SECRET in the environment, or the variables "
                "that the target names)"
            ),
        ),
        option(
            "--effect",
            metavar="TIME",
            help=(
                "how long the effect of a disconnect is waited for (1m, or longer where the "
                "preflight saw that it shows later)"
            ),
        ),
        *place_options(),
        option("--force", flag=True, help="also when the run is still at work"),
    ],
    description=(
        "End the sessions that a run left behind: resume each with its token, send Clear, wait for "
        "the proof, and settle it in the ledger. Can be interrupted and repeated; the exit code is "
        "0 only when nothing is left."
    ),
    epilog=(
        "examples:\n"
        "  harness sweep latest\n"
        "  harness sweep latest --dry-run\n"
        "  harness sweep 20261122-231500-ab12 20261122-233000-cd34 --rate 5/s\n"
    ),
)
