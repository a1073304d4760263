"""All reports come from one reading; their text is held by golden files."""

import subprocess
import sys
from pathlib import Path

import agreed
import pytest
from synthetic import make_run

from harness.errors import ConfigError
from harness.report.outputs import OUTPUTS, write_reports


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_run(
        tmp_path_factory.mktemp("runs") / "20261118-110640", length_s=40, trouble=True, leave=1
    )
    write_reports(made)
    return made


@pytest.mark.parametrize("name", ["summary.md", "junit.xml", "intervals.csv"])
def test_the_text_is_as_agreed(run_dir: Path, name: str) -> None:
    agreed.hold(f"reports/{name}", (run_dir / name).read_text())


@pytest.mark.slow
def test_every_kind_is_made_whole(run_dir: Path) -> None:
    made = write_reports(run_dir)
    assert [path.name for path in made] == [name for name, _ in OUTPUTS.values()]
    assert not list(run_dir.glob("*.part"))
    assert write_reports(run_dir, ["html"])[0] == run_dir / "report.html"


def test_a_failure_leaves_the_old_report_alone(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(ConfigError):
        write_reports(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"


def test_an_empty_record_makes_every_kind(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b'{"schema": 1, "run_id": "empty"}')
    html, markdown, junit, csv = (path.read_text() for path in write_reports(tmp_path))
    assert "No verdict" in html
    assert "No verdict" in markdown
    assert 'errors="1"' in junit
    assert csv == "start_utc,start_s,length_s\n"


@pytest.mark.process
def test_a_report_costs_no_import_of_heavy_libraries() -> None:
    heavy = ["scipy.stats", "scipy.optimize", "pandas", "locust", "aiohttp", "urllib3"]
    told = f"import sys, harness.report.outputs; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
