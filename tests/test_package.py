"""What is installed is whole: built as a wheel, and read by other Pythons where there are any."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from harness import __version__

ROOT = Path(__file__).parent.parent
OTHER_PYTHONS = [f"python3.{minor}" for minor in range(11, 15) if minor != sys.version_info.minor]


@pytest.mark.process
def test_a_wheel_holds_every_file_of_the_package_and_the_ready_locustfiles(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    for folder in ("harness", "locustfiles"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, sources / folder, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    files = [path for path in sources.glob("harness/**/*") if path.is_file()]
    expected = {str(path.relative_to(sources)) for path in files}
    ready = {str(path.relative_to(sources)) for path in sources.glob("locustfiles/**/*.*")}
    words = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
    ]
    subprocess.run([sys.executable, *words, tmp_path, sources], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"web_messaging_harness-{__version__}-py3-none-any.whl"
    names = set(ZipFile(wheel).namelist())
    shared = f"web_messaging_harness-{__version__}.data/data/share/harness/"
    assert expected - names == set()
    assert {shared + name for name in ready} - names == set()


@pytest.mark.process
@pytest.mark.parametrize("python", OTHER_PYTHONS)
def test_another_python_reads_the_package(python: str, tmp_path: Path) -> None:
    interpreter = shutil.which(python)
    if interpreter is None or subprocess.run([interpreter, "-V"], capture_output=True).returncode:
        pytest.skip(f"there is no {python}")
    shutil.copytree(ROOT / "harness", tmp_path / "harness")
    words = [interpreter, "-W", "error", "-m", "compileall", "-q", "-f", str(tmp_path)]
    subprocess.run(words, check=True, timeout=120)
