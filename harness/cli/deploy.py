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

import re
import secrets
import tempfile
from pathlib import Path

from harness.cli.parsing import Command, Namespace, argument, option, targets_option
from harness.cli.run import COMMAND as RUN
from harness.config.run_config import LOG_FORMAT, PARAMETERS, SEED
from harness.config.target import Terms, read_target
from harness.deploy import FILES, SIGN_INS, Deployment, compose, kubernetes
from harness.errors import ConfigError, ExitCode
from harness.supervise.children import inspect_locustfile
from harness.supervise.parameters import check_numbers, parameters_of, playable
from harness.units import seconds

NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
FILE_NAME = re.compile(r"[-._a-zA-Z0-9]{1,100}")
MOST_BYTES = 900_000
"""A ConfigMap may hold 1 MiB, and what is no text is encoded in it."""
DECIDED = {
    "--target", "--targets", "--ca-file", "--master", "--worker", "--processes", "--bind",
    "--master-host", "--master-port", "--expect-workers", "--metrics-port", "--reports",
    "--term-grace", "--log-format",
}  # fmt: skip
"""Options of a run that follow from where it runs."""
WRITERS = {"kubernetes": kubernetes, "compose": compose}


def run(args: Namespace) -> int:
    """Check all that a container would refuse, and write."""
    if not NAME.fullmatch(args.name):
        raise ConfigError(
            f"--name: expected a letter, then small letters, digits and hyphens, at most 40, "
            f"got {args.name!r}"
        )
    if args.workers < 1:
        raise ConfigError(f"--workers: expected one or more, got {args.workers}")
    if not args.image.strip() or any(sign.isspace() for sign in args.image):
        raise ConfigError(f"--image: expected the name of an image, got {args.image!r}")
    if decided := sorted({word.partition("=")[0] for word in args.rest} & DECIDED):
        raise ConfigError(f"{decided[0]}: harness deploy decides this; it does not go behind --")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise ConfigError(f"--out: {args.out} is there already; it was left as it is")
    terms = _terms(args)
    ca_file = terms.target.ca_file
    files = _files([args.locustfile, *args.file, *([ca_file] if ca_file else [])])
    files["targets.toml"] = args.targets.read_bytes()
    if sum(map(len, files.values())) > MOST_BYTES:
        raise ConfigError(f"the files are more than {MOST_BYTES:,} bytes: build them into an image")
    named = [
        word
        for one in PARAMETERS
        if getattr(args, one.key, None) is not None
        for word in (one.option, str(getattr(args, one.key)))
    ]
    more = args.rest
    if args.occupancy is not None:
        more = ["--occupancy", str(args.occupancy), *more]  # the master's slots follow from it
    options = RUN.parse(f"{FILES}/{args.locustfile.name}", *named, *args.rest)
    parameters = parameters_of(options)
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
        more=tuple(more),
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


def _terms(args: Namespace) -> Terms:
    terms = read_target(args.target, args.targets)
    if terms.target.loopback:
        raise ConfigError(f"{args.target} is on this machine: a container would not find it")
    if terms.sign_ins is not None and str(terms.sign_ins) != SIGN_INS:
        raise ConfigError(
            f'{args.targets}: [targets.{args.target}] sign_ins: expected "{SIGN_INS}", which is '
            f"where containers find them, got {str(terms.sign_ins)!r}"
        )
    return terms


def _files(paths: list[Path]) -> dict[str, bytes]:
    """Contents by name. Raises ConfigError."""
    contents: dict[str, bytes] = {}
    for path in paths:
        if not FILE_NAME.fullmatch(path.name):
            raise ConfigError(f"{path}: expected a name of letters, digits, dots and hyphens")
        if path.name in (*contents, "targets.toml"):
            raise ConfigError(f"{path}: there are two files of the name {path.name}")
        try:
            contents[path.name] = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None
    return contents


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
