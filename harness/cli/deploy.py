"""Write all that a run on several machines needs: files, preflight, master, workers, sweep, a way
to the report, and the commands to type. The locustfile is imported as a container would import it,
so that you see now what is missing. Credentials are never written: they come from a Secret, or from
a file that stays with you.

Options after -- go to the master's harness run.

examples:
  harness deploy kubernetes load.py --target staging --workers 4 --rate 5/s \\
    --over 20m --image registry.example/harness@sha256:DIGEST
  harness deploy compose shop.yaml --target staging --workers 2 --image harness:1
  harness deploy compose load.py --target staging --workers 2 \\
    --image harness:1 --file slo.toml -- --slo files/slo.toml --warm-up 1m
"""

from pathlib import Path

from harness import deploy
from harness.cli.parsing import Command, Namespace, argument, option, targets_option
from harness.cli.run import COMMAND as RUN
from harness.config.run_config import LOG_FORMAT, PARAMETERS
from harness.errors import ExitCode
from harness.supervise.deployment import deployment_of, inspect_alone
from harness.supervise.parameters import check_numbers


def run(args: Namespace) -> int:
    """Check all that a container would refuse, and write."""
    deploy.refuse_decided(args.rest)
    deploy.refuse_used(args.out)
    wanted = deployment_of(args, RUN.parse(f"{deploy.FILES}/{args.locustfile.name}", *args.rest))
    check_numbers(RUN.parse(*wanted.master[1:]))
    inspect_alone(wanted)
    first = deploy.write(args.what, wanted, args.out)
    print(f"wrote {args.out}; {first} says what to type")
    if "@sha256:" not in args.image:
        print("the image has no digest: nothing holds master and workers to the same one")
    return ExitCode.PASS


COMMAND = Command(
    run,
    argument("what kubernetes|compose", "what to write files for", choices=deploy.WRITERS),
    argument("LOCUSTFILE", "Python, or a script (YAML)", type=Path),
    option("--target NAME", "a name from the targets file", required=True),
    targets_option(),
    option("--workers N", "workers, one core each", type=int, required=True),
    option("--image IMAGE", "image built from the Dockerfile, best with its digest", required=True),
    option("--name NAME", "name that all objects get", default="harness"),
    option(
        "--file FILE",
        "a file that the locustfile reads or imports",
        type=Path,
        repeated=True,
    ),
    *(one for one in RUN.params if one.name in {parameter.key for parameter in PARAMETERS}),
    option("--term-grace TIME", "time that a stopped container has to clear", default="150s"),
    option(LOG_FORMAT),
    option("--out DIR", "new folder to write to", type=Path, default=Path("deploy")),
    usage="harness deploy kubernetes|compose LOCUSTFILE [OPTIONS] [-- OPTIONS OF harness run]",
    takes_rest=True,
)
