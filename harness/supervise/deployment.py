"""What a run on several machines is to be, from the options of ``harness deploy``.

It is tried here as a container would find it, before anything is written.
"""

import secrets
import tempfile
from argparse import Namespace
from pathlib import Path

from harness.config.run_config import SEED
from harness.deploy import FILES, Deployment, read_files, read_terms
from harness.errors import ConfigError
from harness.supervise.children import inspect_locustfile
from harness.supervise.parameters import parameters_of, playable
from harness.units import seconds


def deployment_of(args: Namespace, options: Namespace) -> Deployment:
    """``args`` of ``harness deploy``; ``options`` are what stands behind ``--``, as of a run.

    What is asked of the run in either is for every process. Raises ConfigError.
    """
    terms = read_terms(args.target, args.targets)
    ca_file = terms.target.ca_file
    files = read_files([args.locustfile, *args.file, *([ca_file] if ca_file else [])], args.targets)
    # The master's slots follow from it.
    occupancy = [] if args.occupancy is None else ["--occupancy", str(args.occupancy)]
    parameters = {**parameters_of(args), **parameters_of(options)}
    parameters.setdefault(SEED.variable, str(secrets.randbelow(2**31)))
    return Deployment(
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


def inspect_alone(wanted: Deployment) -> None:
    """Import the locustfile as a container will find it: with no other file beside it.

    Raises ConfigError where it can't be imported, or makes no use of what is asked of it.
    """
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
