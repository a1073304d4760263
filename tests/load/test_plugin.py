"""What the listeners of Locust's events say when a run can't be opened."""

from pathlib import Path
from typing import Any

import pytest
from locusts import finish, locustfile, start

pytestmark = pytest.mark.process


def test_a_reports_folder_that_can_not_be_written(simulator: Any, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file where the folder should be")
    process = start(locustfile(tmp_path), tmp_path, simulator.url, "-t", "1")
    code, output = finish(process)
    assert code == 8, output
    assert "reports folder" in output
    assert "Traceback" not in output
