"""The rig that all tests of whole guests use; after each, what is open is among the leftovers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guest_rig import Rig

from harness.ledger.reader import read_account


@pytest.fixture
def rig(simulator: Any, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(simulator, tmp_path)
    yield made
    assert made.still_open() <= made.leftovers().keys()
    assert read_account(tmp_path).balanced
    made.ledger.close()
