"""What was tampered with or cut short is told, in every report; what agrees is not."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from synthetic import make_run

from harness.judge.reading import STILL_GOING, read_record
from harness.judge.series import read_series
from harness.measure.snapshot import write_addition
from harness.report.findings import disagreements
from harness.report.outputs import write_reports


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "r1", length_s=40, trouble=True, leave=1)


@pytest.fixture
def run_dir(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def told(run_dir: Path) -> list[str]:
    return disagreements(read_record(run_dir), read_series(run_dir))


def change(run_dir: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    record = orjson.loads((run_dir / "run.json").read_bytes())
    edit(record)
    (run_dir / "run.json").write_bytes(orjson.dumps(record))


def test_a_whole_run_agrees_with_itself(run_dir: Path) -> None:
    assert told(run_dir) == []


def test_a_count_that_was_changed(run_dir: Path) -> None:
    change(run_dir, lambda record: record["operations"]["reply"].update(count=3))
    (sentence,) = told(run_dir)
    assert "how often these happened: reply 3 against " in sentence


def test_a_percentile_that_was_changed(run_dir: Path) -> None:
    change(run_dir, lambda record: record["operations"]["reply"]["service_ms"].update(p95=12.5))
    (sentence,) = told(run_dir)
    assert "the service times themselves: reply p95 12.5 ms against " in sentence


def test_a_histogram_log_that_was_cut_short_or_is_gone(run_dir: Path) -> None:
    first, second = sorted(run_dir.glob("histograms-*.hlog"))
    first.write_bytes(first.read_bytes()[:-3000])
    (sentence,) = told(run_dir)
    assert "how many times were measured" in sentence
    first.unlink()
    second.unlink()
    (sentence,) = told(run_dir)
    assert "against 0" in sentence
    assert " more; one of them was changed or cut short." in sentence
    html, markdown, junit, _ = (path.read_text() for path in write_reports(run_dir))
    for text in (html, markdown, junit):
        assert "how many times were measured" in text


def test_intervals_that_were_cut_short(run_dir: Path) -> None:
    path = min(run_dir.glob("intervals-*.jsonl"))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-15]))
    assert any("how often these happened" in sentence for sentence in told(run_dir))


def test_what_an_audit_added_is_held_against_its_own_file(run_dir: Path) -> None:
    at = 1_795_000_010 * 10**9
    times = write_addition(run_dir, "conversation_end", [(at, 400_000_000)])
    entry = {
        "count": 1,
        "outcomes": {"ok": 1},
        "service_ms": {"p50": times.percentile_ms(50), "max": times.max_ms},
    }
    change(run_dir, lambda record: record["operations"].update(conversation_end=entry))
    assert told(run_dir) == []
    (run_dir / "histograms-audit.hlog").unlink()
    assert "conversation_end 1 against 0" in told(run_dir)[0]


def test_what_is_not_there_and_what_still_grows(run_dir: Path) -> None:
    assert "interval files are missing" in disagreements(read_record(run_dir), None)[0]
    change(run_dir, lambda record: record.update(reasons=[STILL_GOING], operations={}))
    assert disagreements(read_record(run_dir), None) == []
    change(run_dir, lambda record: record.update(reasons=[], operations={"x": {"count": None}}))
    assert told(run_dir) == []
