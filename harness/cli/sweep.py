"""End the sessions that a run left behind. Resumes each with its token, sends Clear, waits for the
proof, and notes it in the ledger. You can interrupt and repeat it. The exit code is 0 only when
nothing is left.

examples:
  harness sweep latest
  harness sweep latest --dry-run
  harness sweep 20261122-231500-ab12 20261122-233000-cd34 --rate 5/s
"""

from pathlib import Path

from harness.cli.parsing import (
    Command,
    Namespace,
    argument,
    option,
    place_options,
    reports_option,
    take_runs,
    tell,
)
from harness.errors import ConfigError, ExitCode
from harness.guest.settings import read_sign_ins
from harness.ledger.runs import with_parts
from harness.reconcile.platform import credentials_of
from harness.reconcile.sweep import (
    SweepOrder,
    owners,
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
    late_within_s = seconds(args.late_within, "--late-within")
    effect_s = None if args.effect is None else seconds(args.effect, "--effect")
    if per_second <= 0:
        raise ConfigError("--rate: expected more than zero")
    sign_ins = () if args.sign_ins is None else read_sign_ins(args.sign_ins)
    directories = with_parts(take_runs(args, args.runs), tell)
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
        late_within_s=late_within_s,
        sign_ins=sign_ins,
        swept_too=owners(directories),
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
    run,
    argument("runs RUN", "runs: directories, ids, or 'latest'", many=True),
    reports_option(),
    option("--dry-run", "only say what would be done"),
    option(
        "--rate RATE", "maximum rate of new connections, such as 10/s or 600/min", default="10/s"
    ),
    option("--deadline TIME", "give up after this time", default="30m"),
    option(
        "--late-within TIME",
        "how long after it was sent a request that was never answered may still open a session: "
        "until then such a session stays a leftover, and the sweep waits for it",
        default="60s",
    ),
    option(
        "--derive",
        "if a ledger file is lost or damaged, regenerate its tokens from the run's secret "
        "and try them",
    ),
    option(
        "--sign-ins FILE",
        "JWTs of signed-in guests, one per line: such a session can be cleared only with "
        "its own JWT (default: the run's own file)",
        type=Path,
    ),
    option(
        "--platform",
        "disconnect leftovers through the Platform API; its credentials are in "
        "HARNESS_CLIENT_ID and HARNESS_CLIENT_SECRET, or in the variables that the target "
        "names",
    ),
    option(
        "--effect TIME",
        "how long to wait until a disconnect shows (default: 1m, or longer if the "
        "preflight saw a longer delay)",
    ),
    *place_options(),
    option("--force", "sweep even if the run is still going on"),
)
