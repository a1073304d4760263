"""``--reports``: the one option by which every command is told where runs are kept."""

import argparse
from pathlib import Path

from harness.rundir.find import REPORTS


def add_reports(parser: argparse.ArgumentParser) -> None:
    """Add it; ``args.reports`` is a Path."""
    parser.add_argument(
        "--reports",
        type=Path,
        default=REPORTS,
        metavar="DIR",
        help="folder of run directories (%(default)s)",
    )
