"""``harness calibrate`` measures a small rise in real processes, keeps it, and refuses nonsense."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from locusts import ROOT

from harness.cli.main import main
from harness.errors import ExitCode
from harness.rundir.layout import CALIBRATION
from harness.studies.calibrate.calibration import read_calibration


@pytest.mark.process
@pytest.mark.long
@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_a_small_calibration(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "reports"
    done = subprocess.run(
        [
            sys.executable, "-m", "harness", "calibrate", "--kinds", kind, "--rise", "5s",
            "--top", "20/s", "--top-messages", "60/s", "--speakers", "10", "--held", "20",
            "--processes", "1", "--reports", str(out), "--json",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    assert done.returncode == ExitCode.PASS, done.stderr
    kept = read_calibration(out / CALIBRATION)
    kinds = json.loads(done.stdout)["kinds"]
    assert list(kinds) == [kind]
    assert kinds[kind]["sessions"]["held"] >= 15
    carried = kept.kinds[kind]
    assert carried.others == kinds[kind]["others"]
    assert carried.others is not None
    assert 0 <= carried.others <= 1
    # On a busy machine a rate may be spoiled from the start; what was measured is what was sent.
    assert carried.guests is not None or carried.messages is not None
    assert carried.guests is None or 2 <= carried.guests.per_s <= 25
    assert carried.messages is None or 2 <= carried.messages.per_s <= 80
    assert ("took" in done.stderr) == bool(carried.disturbed)
    for name in ("guests", "messages", "sessions"):  # each over the connection that was asked for
        (start,) = out.glob(f"calibration-*/{kind}/{name}/latest/start.json")
        assert (json.loads(start.read_bytes())["target"].startswith("wss:")) == (kind == "tls")
    (page,) = out.glob("calibration-*/calibration.html")
    assert "new guests a second" in page.read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--kinds", "udp"], "--kinds: expected plain, tls"),
        (["--processes", "0"], "--processes: expected one or more"),
        (["--processes", "100000"], "--processes: expected up to"),
        (["--top", "999999999/s"], "--top: expected 2/s or more, up to 10,000/s"),
        (["--top-messages", "0/s"], "--top-messages: expected 10/s or more"),
        (["--top-messages", "99999999/s"], "up to 1,000,000/s"),
        (["--rise", "1s"], "--rise: expected 5s to 10m"),
        (["--rise", "long"], "--rise"),
        (["--held", "0"], "--held: expected one or more"),
        (["--held", "9999999"], "more than this machine's files and ports"),
        (["--top", "1/s"], "--top: expected 2/s or more"),
        (["--top-messages", "many"], "--top-messages: expected a rate"),
    ],
)
def test_nonsense_is_refused(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *words, "--reports", str(tmp_path / "r")]) == ExitCode.CONFIG
    assert why in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
