"""Real runs side by side against one simulator become one: as if one master had led them all."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram
from locusts import locustfile
from processes import Simulator, decided, harness, start_harness

from harness.errors import ExitCode

pytestmark = [pytest.mark.process, pytest.mark.alone]  # several processes must not lag

SHAPE = """
class Steady(ArrivalShape):
    arrivals = steady(per_minute=240, over="4s")
    slots = 30

objective("reply p95 < 5s")
"""
OPERATIONS = ("connect", "session_open", "delivered", "reply", "clear")


def start(file: Path, reports: Path, simulator: Simulator, *more: str) -> Any:
    words = ("run", str(file), "--target", simulator.url, "--reports", str(reports), *more)
    return start_harness(*words)


def run_in(reports: Path) -> Path:
    return (reports / "latest").resolve()


def merged(*parts: Path, reports: Path) -> tuple[Any, Path]:
    """What the command says, and the directory that it has made."""
    before = set(reports.glob("*-merged"))
    done = harness("report", "--merge", *map(str, parts), "--reports", str(reports))
    (made,) = set(reports.glob("*-merged")) - before
    return done, made


def record_of(directory: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((directory / "run.json").read_text())
    return record


def prints(*parts: Path) -> dict[Path, str]:
    files = (path for part in parts for path in part.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def outcomes_in(parts: Iterable[Path]) -> dict[str, Counter[str]]:
    """Counted by hand from the raw interval files."""
    counts: dict[str, Counter[str]] = {}
    for part in parts:
        for path in part.glob("intervals-*.jsonl"):
            for line in path.read_text().splitlines():
                for operation, outcomes in json.loads(line)["outcomes"].items():
                    counts.setdefault(operation, Counter()).update(outcomes)
    return counts


def percentiles_ms(parts: Iterable[Path], tag: str, percents: Sequence[float]) -> list[float]:
    """By another library, from the raw histogram logs of all parts."""
    lines = [
        line.rpartition(",")[2]
        for part in parts
        for path in part.glob("histograms-*.hlog")
        for line in path.read_text().splitlines()
        if line.startswith(f"Tag={tag},")
    ]
    whole = HdrHistogram.decode(lines[0])
    for line in lines[1:]:
        whole.add(HdrHistogram.decode(line))
    values = [
        (whole.get_highest_equivalent_value(item.value_iterated_to), item.total_count_to_this_value)
        for item in whole.get_recorded_iterator()
    ]
    ranks = [max(1, math.ceil(percent / 100 * values[-1][1])) for percent in percents]
    return [next(value for value, below in values if below >= rank) / 1000 for rank in ranks]


@pytest.mark.long
def test_runs_side_by_side_become_one(tmp_path: Path) -> None:
    file = locustfile(tmp_path, more=SHAPE)
    simulator = Simulator("--bot-delay", "uniform:200ms", "--limits", "off")
    folders = [tmp_path / name for name in ("a", "b")]
    try:
        running = [
            start(file, folders[0], simulator),
            start(file, folders[1], simulator, "--processes", "2"),
        ]
        ends = [(process.communicate(timeout=120)[0], process) for process in running]
        for output, process in ends:
            assert decided(process.returncode, output) == ExitCode.PASS, output
        parts = [run_in(folder) for folder in folders]
        before, truth = prints(*parts), simulator.truth()
        questions = simulator.ask("questions")["rows"]
    finally:
        simulator.stop()
    done, made = merged(*parts, reports=tmp_path)
    assert done.returncode == ExitCode.PASS, done.stdout + done.stderr
    assert prints(*parts) == before, "a part was changed"
    record, records = record_of(made), [record_of(part) for part in parts]

    # What the service itself says.
    assert record["sessions"]["opened"] == truth["sessions"]["opened"] == 32
    assert record["sessions"]["cleared"] == truth["sessions"]["cleared"]
    assert record["sessions"]["leftover"] == len(truth["open_tokens"]) == 0
    assert record["questions"]["answered"] == truth["messages"]["replies"]
    answered = sorted(min(row["answers_ms"]) for row in questions if row["answers_ms"])
    served = record["operations"]["reply"]
    assert served["count"] == len(answered)
    for name, percent in (("p50", 50), ("p95", 95)):
        theirs = answered[math.ceil(percent / 100 * len(answered)) - 1]
        assert theirs <= served["service_ms"][name] * 1.001
        assert served["service_ms"][name] < theirs * 1.5

    # What another library makes of the raw files.
    outcomes = outcomes_in(parts)
    for name in OPERATIONS:
        figures = record["operations"][name]
        assert figures["outcomes"] == dict(outcomes[name])
        for kind in ("service", "corrected"):
            expected = percentiles_ms(parts, f"{name}.{kind}", (50, 95, 99, 100))
            ours = [figures[f"{kind}_ms"][key] for key in ("p50", "p95", "p99", "max")]
            assert ours == pytest.approx(expected, abs=1e-9), name

    # What is added.
    assert record["arrivals"]["due"] == sum(one["arrivals"]["due"] for one in records) == 32
    assert record["how"]["schedule"]["count"] == 32
    assert record["generator"]["workers"] == 3
    assert record["how"]["merged_from"] == [part.name for part in parts]
    assert record["verdict"] == "PASS"
    assert parts[0].name in (made / "report.html").read_text()

    # Its directory is one of a run: what reads runs reads it.
    anew = tmp_path / "slo.toml"
    anew.write_text('objectives = ["reply p95 < 1ms"]')
    gate = harness("gate", str(made), "--slo", str(anew))
    assert gate.returncode == ExitCode.OBJECTIVES, gate.stdout + gate.stderr
    again = harness("report", "--merge", str(made), str(parts[0]), "--reports", str(tmp_path))
    assert again.returncode == ExitCode.CONFIG
    assert "no run may be given twice" in again.stderr


@pytest.mark.long
def test_what_a_part_left_is_left_by_all_and_swept_in_the_part(tmp_path: Path) -> None:
    file = locustfile(tmp_path, more=SHAPE)
    simulator = Simulator("--limits", "off")
    try:
        running = [start(file, tmp_path / name, simulator) for name in ("a", "b")]
        simulator.faults(ignore_clear=0.4)
        ends = [(process.communicate(timeout=120)[0], process) for process in running]
        for output, process in ends:
            assert decided(process.returncode, output) == ExitCode.LEFTOVERS, output
        parts = [run_in(tmp_path / name) for name in ("a", "b")]
        left = simulator.open_tokens()
        done, made = merged(*parts, reports=tmp_path)
        assert done.returncode == ExitCode.LEFTOVERS, done.stdout
        assert record_of(made)["sessions"]["leftover"] == len(left) > 0
        listed = harness("leftovers", str(made), "--json", "--show-tokens")
        assert {row["token"] for row in json.loads(listed.stdout)["leftovers"]} == left
        every = harness("leftovers", "--all", "--reports", str(tmp_path), "--json")
        assert len(json.loads(every.stdout)["leftovers"]) == len(left), "a session is listed twice"
        assert harness("audit", str(made)).returncode == ExitCode.CONFIG

        simulator.faults()
        swept = harness("sweep", str(made), "--rate", "100/s")
        assert swept.returncode == ExitCode.PASS, swept.stdout + swept.stderr
        assert all(part.name in swept.stderr for part in parts)
        assert not simulator.open_tokens()
        for run in (made, *parts):
            assert harness("leftovers", str(run)).returncode == ExitCode.PASS
    finally:
        simulator.stop()
    # A sweep is not the merit of the run: merged afterwards, its verdict is the same.
    late, after = merged(*parts, reports=tmp_path)
    assert late.returncode == ExitCode.LEFTOVERS
    then, now = record_of(made), record_of(after)
    assert now["sessions"] == then["sessions"]
    assert (now["verdict"], now["objectives"]) == (then["verdict"], then["objectives"])
    assert "left behind" in (after / "report.html").read_text()
