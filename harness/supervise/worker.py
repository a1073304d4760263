"""A worker that has nothing but the package: its master hands out what it needs."""

import os
import shutil
import sys
import tempfile
from argparse import Namespace
from functools import partial
from pathlib import Path

from harness.config.run_config import HANDED_OUT, LOG_FORMAT, REPORTS, SCRIPT
from harness.errors import ConfigError
from harness.streams import open_console
from harness.supervise.children import inspect_locustfile
from harness.units import seconds

PORT = 5557
"""Locust's own for a master."""
MISSING = ("FileNotFoundError", "ModuleNotFoundError", "No such file")
"""How an error of a locustfile begins that needs more than it was handed out."""


def read_place(text: str) -> tuple[str, int]:
    """``HOST[:PORT]``, an IPv6 address in brackets. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in host and bare == host) or not bare.isprintable() or "/" in bare:
        raise ConfigError(f"HOST: expected HOST or HOST:PORT of a master, got {text!r}")
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise ConfigError(f"HOST: expected a port from 1 to 65535, got {text!r}")
    return bare, int(port)


def join_master(args: Namespace) -> int:
    """Get the run's files, and become a worker of the run. ``args``: those of ``harness worker``.

    Raises ConfigError where there is no master, or it refuses this worker.
    """
    host, port = read_place(args.master)
    within_s = seconds(args.within, "--within")
    if within_s < 1:
        raise ConfigError(f"--within: expected 1s or more, got {args.within}")
    if args.processes is not None and (args.processes < -1 or args.processes == 0):
        raise ConfigError(f"--processes: expected one or more, or -1, got {args.processes}")
    from harness.load.cluster.handout import ask_master, unpack
    from harness.load.options import told_environment

    say = partial(open_console().print, highlight=False, soft_wrap=True)
    answer = ask_master(host, port, within_s=within_s, say=say)
    folder = Path(tempfile.mkdtemp(prefix="harness-worker-"))
    try:
        handed = unpack(answer, folder)
        own = {} if handed.script is None else {SCRIPT: str(handed.script)}
        environment = {**told_environment(handed.parameters), **own}
        if len(handed.locustfiles) == 1:
            _look_at(handed.locustfiles[0], {**handed.parameters, **own})
        say(f"the master at {args.master} has handed out {len(answer['files'])} files; joining")
        command = [
            sys.executable, "-m", "locust", "-f", ",".join(map(str, handed.locustfiles)),
            "--worker", "--master-host", host, "--master-port", str(port),
        ]  # fmt: skip
        if args.processes:
            command += ["--processes", str(args.processes)]
        environment |= {
            HANDED_OUT.variable: str(folder),
            REPORTS.variable: str(args.reports),
            LOG_FORMAT.variable: args.log_format,
        }
        os.execve(sys.executable, command + args.rest, environment)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _look_at(locustfile: Path, environment: dict[str, str]) -> None:
    try:
        inspect_locustfile(str(locustfile), {}, environment)
    except ConfigError as error:
        if not any(word in str(error) for word in MISSING):
            raise
        raise ConfigError(
            f"{error}. A master hands out the locustfile, the modules beside it, and scripts with "
            "their data: put what else it reads on this machine, by the same path from here"
        ) from None
