"""``harness`` as a program: ``python -m harness`` is the same as the console script.

Ctrl-C while the command line is still being imported ends it without a traceback.
"""

import os
import signal


def main() -> int:
    """Run the command of the command line and return its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)  # until the command itself takes care of it
    from harness.cli.main import main as command_line

    return command_line()


def _leave(*_: object) -> None:
    os.write(2, b"stopped by hand\n")
    os._exit(130)  # as ExitCode.INTERRUPTED says, which may not be imported yet


if __name__ == "__main__":
    raise SystemExit(main())
