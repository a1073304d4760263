"""The end of a run that nobody supervises: what is lost is swept; record, summary, exit code."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.config import Target
from harness.errors import ConfigError, LedgerError
from harness.exit_codes import ExitCode
from harness.guest.settings import GuestSettings
from harness.reconcile.lost import find_lost, sweep_lost
from harness.report.baseline import note_counts
from harness.report.console import open_console
from harness.report.record import build_record, declare_invalid, write_record
from harness.report.rundir import sweep_command
from harness.report.terminal import show_summary


def conclude(directory: Path, target: Target, failures: Sequence[str]) -> int:
    """Write ``run.json``, show the summary and give the exit code.

    ``failures`` are told where the files can't even be read.
    """
    try:
        _sweep_lost(directory, target)
        note_counts(directory, "after", target)
        record = build_record(directory)
    except (ConfigError, LedgerError, OSError) as error:
        _tell_errors(*failures, str(error))
        return int(ExitCode.INVALID)
    try:
        write_record(directory, record)
    except OSError as error:
        why = f"the record can't be written: {error.strerror or error}"
        _tell_errors(*failures, why)
        declare_invalid(record, why)
    with suppress(OSError):  # what we print may go to the disk that is full
        show_summary(record, open_console(), report=str(directory), sweep=sweep_command(directory))
    return int(record["exit_code"])


def _tell_errors(*sentences: str) -> None:
    with suppress(OSError):
        for why in sentences:
            print(f"error: {why}", file=sys.stderr)


def _sweep_lost(directory: Path, target: Target) -> None:
    """What workers have left that died on the way is ended here and now."""
    lost = find_lost(directory)
    if not lost.leftovers:
        return
    print(f"sweeping {len(lost.leftovers)} sessions of {len(lost.workers)} lost workers")
    sweep_lost(lost, GuestSettings(target=target, tls=target.tls_context()))
