"""Files for those who run the harness elsewhere: containers, a cluster, a dashboard."""

from pathlib import Path


def path(name: str) -> Path:
    """Where one of the files lies."""
    return Path(__file__).parent / name
