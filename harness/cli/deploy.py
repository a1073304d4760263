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

import secrets
from pathlib import Path

from harness import deploy
from harness.cli.parsing import Command, Namespace, argument, option, targets_option
from harness.cli.run import COMMAND as RUN
from harness.config.run_config import LOG_FORMAT, PARAMETERS, SEED
from harness.errors import ExitCode
from harness.machine import too_many_workers
from harness.supervise.children import inspect_alone
from harness.supervise.parameters import check_numbers, parameters_of
from harness.units import seconds


def run(args: Namespace) -> int:
    """Check all that a container would refuse, and write."""
    deploy.refuse_decided(args.rest)
    deploy.refuse_used(args.out)
    wanted = _deployment(args, RUN.parse(f"{deploy.FILES}/{args.locustfile.name}", *args.rest))
    check_numbers(RUN.parse(*wanted.master[1:]))
    files = {f"{deploy.FILES}/{name}": content for name, content in wanted.files.items()}
    parameters = {key: text for key, text in wanted.parameters.items() if key != SEED.variable}
    inspect_alone(f"{deploy.FILES}/{wanted.locustfile}", files, parameters)
    first = deploy.write(args.what, wanted, args.out)
    print(f"wrote {args.out}; {first} says what to type")
    if sentence := too_many_workers(args.workers):
        print(f"warning: {sentence}")
    if "@sha256:" not in args.image:
        print("the image has no digest: nothing holds master and workers to the same one")
    return ExitCode.PASS


def _deployment(args: Namespace, options: Namespace) -> deploy.Deployment:
    """``args`` of ``harness deploy``; ``options`` are what stands behind ``--``, as of a run.

    What is asked of the run in either is for every process. Raises ConfigError.
    """
    terms = deploy.read_terms(args.target, args.targets)
    ca_file = terms.target.ca_file
    files = deploy.read_files(
        [args.locustfile, *args.file, *([ca_file] if ca_file else [])], args.targets
    )
    # The master's slots follow from it.
    occupancy = [] if args.occupancy is None else ["--occupancy", str(args.occupancy)]
    parameters = {**parameters_of(args), **parameters_of(options)}
    parameters.setdefault(SEED.variable, str(secrets.randbelow(2**31)))
    return deploy.Deployment(
        name=args.name,
        image=args.image,
        workers=args.workers,
        target=args.target,
        locustfile=args.locustfile.name,
        files=files,
        parameters=parameters,
        ca_file=ca_file.name if ca_file else "",
        sign_ins=terms.sign_ins is not None,
        more=(*occupancy, *args.rest),
        log_format=args.log_format or "",
        term_grace_s=round(seconds(args.term_grace, "--term-grace")),
    )


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
