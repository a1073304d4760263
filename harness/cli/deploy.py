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
import tempfile
from pathlib import Path

from harness import deploy
from harness.cli.parsing import Command, Namespace, argument, option, targets_option
from harness.cli.run import COMMAND as RUN
from harness.config.run_config import LOG_FORMAT, PARAMETERS, SEED
from harness.deploy import FILES, Deployment
from harness.errors import ConfigError, ExitCode
from harness.supervise.children import inspect_locustfile
from harness.supervise.parameters import check_numbers, parameters_of, playable
from harness.units import seconds

WRITERS = {"kubernetes": deploy.kubernetes, "compose": deploy.compose}


def run(args: Namespace) -> int:
    """Check all that a container would refuse, and write."""
    if decided := sorted({word.partition("=")[0] for word in args.rest} & deploy.DECIDED):
        raise ConfigError(f"{decided[0]}: harness deploy decides this; it does not go behind --")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise ConfigError(f"--out: {args.out} is there already; it was left as it is")
    terms = deploy.read_terms(args.target, args.targets)
    ca_file = terms.target.ca_file
    files = deploy.read_files(
        [args.locustfile, *args.file, *([ca_file] if ca_file else [])], args.targets
    )
    # The master's slots follow from it.
    occupancy = [] if args.occupancy is None else ["--occupancy", str(args.occupancy)]
    options = RUN.parse(f"{FILES}/{args.locustfile.name}", *args.rest)
    parameters = {**parameters_of(args), **parameters_of(options)}
    parameters.setdefault(SEED.variable, str(secrets.randbelow(2**31)))
    wanted = Deployment(
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
    check_numbers(RUN.parse(*wanted.master[1:]))
    _inspect(wanted)
    for path, text in WRITERS[args.what](wanted).items():
        place = args.out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
    first = "README.md" if args.what == "kubernetes" else "compose.yaml"
    print(f"wrote {args.out}; {args.out / first} says what to type")
    if "@sha256:" not in args.image:
        print("the image has no digest: nothing holds master and workers to the same one")
    return ExitCode.PASS


def _inspect(wanted: Deployment) -> None:
    """Import the locustfile as a container will find it: with no other file beside it."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / FILES
        files.mkdir()
        for name, content in wanted.files.items():
            (files / name).write_bytes(content)
        path, script = playable(str(files / wanted.locustfile))
        parameters = {key: text for key, text in wanted.parameters.items() if key != SEED.variable}
        try:
            inspect_locustfile(path, parameters, script, folder=Path(folder))
        except ConfigError as error:
            text = str(error).replace(f"{folder}/", "")
            raise ConfigError(f"{text} (what it reads or imports is named by --file)") from None


COMMAND = Command(
    run,
    argument("what kubernetes|compose", "what to write files for", choices=WRITERS),
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
