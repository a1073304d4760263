"""Texts that users rely on, as agreed in ``tests/golden``.

After a wanted change: ``HARNESS_UPDATE_GOLDEN=1 make test ARGS=<the test>``, and look at the
difference.
"""

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def hold(name: str, text: str) -> None:
    """Compare ``text`` with ``tests/golden/<name>``, or write it there if that is asked for."""
    path = GOLDEN / name
    if "HARNESS_UPDATE_GOLDEN" in os.environ:
        path.write_text(text)
    assert text == path.read_text(), f"see {__name__}.py"
