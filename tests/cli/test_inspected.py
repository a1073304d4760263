"""A locustfile is looked at in another process; what it ignores is refused."""

from pathlib import Path

import pytest
from locusts import locustfile

from harness.cli.inspected import inspect_locustfile
from harness.errors import ConfigError

pytestmark = pytest.mark.process

OPEN = (
    "from harness.load import rate, spike\n"
    "class Shape(ArrivalShape):\n"
    "    arrivals = spike(per_second=(1, rate('9/s')), over='60s', at='20s', hold='2s')\n"
)


def test_schedule_peak_and_what_is_asked(tmp_path: Path) -> None:
    file = str(locustfile(tmp_path, more=OPEN))
    assert inspect_locustfile(file, {})["arrivals"]["peak_per_s"] == 9
    found = inspect_locustfile(file, {"HARNESS_RATE": "5/s", "HARNESS_SEED": "1"})
    assert found["arrivals"]["peak_per_s"] == 5
    assert "HARNESS_RATE" in found["asked"]


def test_what_it_does_not_ask_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--over: .* does not ask for it.*as_asked"):
        inspect_locustfile(str(locustfile(tmp_path)), {"HARNESS_OVER": "5s"})


def test_files_that_can_not_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no locustfile"):
        inspect_locustfile(str(tmp_path / "none.py"), {})
    (tmp_path / "bad.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(ConfigError, match=r"bad\.py:1: ModuleNotFoundError"):
        inspect_locustfile(str(tmp_path / "bad.py"), {})
