"""``harness``: finds the command, runs it, and turns expected errors into one sentence.

A command is a module of this package with a ``COMMAND``; only the module of the command that was
asked for is imported, so that ``harness leftovers`` does not wait for libraries that only ``harness
report`` needs.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

from harness import __version__, machine
from harness.config.run_config import ENVIRONMENT
from harness.errors import (
    ConfigError,
    ExitCode,
    HarnessError,
    PlatformApiError,
    PreflightRefused,
    UsageError,
)
from harness.streams import lost_output, outlast_readers

if TYPE_CHECKING:  # click is not waited for by who asks only for the list of commands
    from harness.cli.parsing import Command

COMPLETION = "_HARNESS_COMPLETE"
"""The variable by which a shell asks for completions; its name is click's choice."""
SHELLS = ("bash", "zsh", "fish")
COMMANDS: dict[str, str] = {
    "run": "run a locustfile or script; ends with a verdict and a report",
    "new": "write a commented locustfile or script to begin with",
    "runs": "list the runs; remove old ones",
    "gate": "judge a finished run by other objectives",
    "target": "write or list the file of named targets",
    "preflight": "check a target, this machine and the schedule before a run",
    "leftovers": "list the sessions of a run without proof of their end",
    "worker": "be a worker of a run that a master on another machine leads",
    "pause": "pause a running test: no new guests until it is resumed",
    "stop": "end a running test in order",
    "sweep": "end the sessions that a run left behind",
    "audit": "ask the service itself what a run has left open",
    "simulate": "run the local simulator of the service",
    "report": "make the reports of a run again",
    "guest": "be one guest, by hand or from a script, and see each frame",
    "script": "check a conversation script, or make one from a recorded chat",
    "conform": "check a recorded chat for anything that the harness does not know",
    "plan": "plan the load test of a launch: load, agents, machines, nights, cost",
    "compare": "show what changed from one run to another",
    "calibrate": "measure how much load this machine can generate",
    "capacity": "find the highest load that still meets the objectives",
    "deploy": "write what a run on several machines needs: for Kubernetes, or for Compose",
    "drift": "show whether anything gets worse during a soak",
    "docs": "show the manual, or search it",
}
"""Command → its line in ``harness --help``, in the order of a user's first week."""


def command_of(name: str) -> "Command":
    """The command of that name, which must be one of ``COMMANDS``."""
    module = import_module(f"harness.cli.{name.replace('-', '_')}")
    machine.interrupted_quietly()
    return cast("Command", module.COMMAND)


def overview() -> str:
    """The text of ``harness --help``."""
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {line}" for name, line in COMMANDS.items())
    return (
        "usage: harness COMMAND [OPTIONS]\n\n"
        "Load and soak tests for the Genesys Cloud Web Messaging Guest API.\n\n"
        f"commands:\n{rows}\n\n"
        "'harness COMMAND --help' shows a command's options with examples.\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, which no trouble with the output changes."""
    if argv is not None:
        return _main(argv)
    outlast_readers()
    machine.keep_files_private()
    machine.compute_in_one_thread()
    code = _main(sys.argv[1:])
    if why := lost_output():
        print(f"warning: standard output can't be written: {why}", file=sys.stderr)
    return machine.keep_exit_code(code)


def _main(argv: Sequence[str]) -> int:
    words = [*argv[1:2], "--help"] if argv and argv[0] == "help" else list(argv)
    if not (instruction := ENVIRONMENT.get(COMPLETION)):
        if not words or words[0] in ("-h", "--help"):
            print(overview(), end="")
            return ExitCode.PASS if words else ExitCode.USAGE
        if words[0] == "--version":
            print(f"harness {__version__}")
            return ExitCode.PASS
    import click
    from click.shell_completion import shell_complete

    from harness.cli.parsing import Commands, refusal

    commands = Commands(COMMANDS, command_of)
    if instruction:
        if shell_complete(commands, {}, "harness", COMPLETION, instruction):
            shells = ", ".join(f"{shell}_source" for shell in SHELLS)
            print(f"error: {COMPLETION}: expected {shells}, got {instruction!r}", file=sys.stderr)
            return ExitCode.USAGE
        return ExitCode.PASS
    try:
        with machine.terminated_as_by_hand(), commands.make_context("harness", words) as context:
            machine.check_platform()
            return int(commands.invoke(context))
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.UsageError as error:
        print(refusal(error), file=sys.stderr)
        return ExitCode.USAGE
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, ConfigError):
            return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.CONFIG
        if isinstance(error, PlatformApiError):  # nobody could tell how the conversations stand
            return ExitCode.UNKNOWN
        return ExitCode.PREFLIGHT if isinstance(error, PreflightRefused) else ExitCode.INVALID
    except UnicodeEncodeError as error:  # a name or a text as it was typed, in another encoding
        typed = error.object[max(0, error.start - 40) : error.end + 40]
        print(f"error: expected names and texts in UTF-8, got {typed!r}", file=sys.stderr)
        return ExitCode.CONFIG
    except OSError as error:  # of files: what the network does has errors of our own
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        return ExitCode.CONFIG
    except KeyboardInterrupt:
        print("stopped by hand", file=sys.stderr)
        return ExitCode.INTERRUPTED
