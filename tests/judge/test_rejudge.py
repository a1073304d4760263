"""An old run judged anew: other objectives, the same figures, and what was INVALID stays so."""

from pathlib import Path

import orjson
import pytest
from synthetic import make_run

from harness.errors import ConfigError
from harness.judge.objective import parse_objective
from harness.judge.reading import judge_anew, read_objectives


def test_the_file_is_read_and_its_faults_are_placed(tmp_path: Path) -> None:
    file = tmp_path / "slo.toml"
    file.write_text('objectives = ["reply p95 < 5s"]\n')
    assert [objective.text for objective in read_objectives(file)] == ["reply p95 < 5s"]
    file.write_text('\nobjectives = ["replie p95 < 5s"]\n')
    with pytest.raises(ConfigError, match=r"slo.toml, line 2.*did you mean reply"):
        read_objectives(file)
    with pytest.raises(ConfigError, match="there is no file"):
        read_objectives(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "verdict", "code"),
    [
        ("reply p95 < 1m", "PASS", 0),
        ("reply p97 < 1ms", "FAIL", 3),  # a percentile that the record does not hold
        ("upload p95 < 1s", "NO_DATA", 5),
    ],
)
def test_verdicts(tmp_path: Path, text: str, verdict: str, code: int) -> None:
    run_dir = make_run(tmp_path / "r", length_s=30)
    record = judge_anew(run_dir, [parse_objective(text)])
    assert (record["verdict"], record["exit_code"]) == (verdict, code)


def test_new_objectives_can_not_mend_a_measurement(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "r", length_s=30)
    path = run_dir / "run.json"
    record = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps(record | {"invalid_because": ["the generator lagged"]}))
    again = judge_anew(run_dir, [parse_objective("reply p95 < 1m")])
    assert (again["verdict"], again["exit_code"]) == ("INVALID", 6)
    assert "the generator lagged" in again["reasons"]


@pytest.mark.parametrize("files", ["histograms-*", "intervals-*"])
def test_figures_that_were_damaged_since_the_run_do_not_pass(tmp_path: Path, files: str) -> None:
    run_dir = make_run(tmp_path / "r", length_s=30)
    file = next(run_dir.glob(files))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:-2], b"XX" + lines[-2][2:], lines[-1]]))
    again = judge_anew(run_dir, [parse_objective("reply p95 < 1m")])
    assert again["verdict"] == "INVALID"
    assert any("damaged line" in reason for reason in again["reasons"])


@pytest.mark.parametrize("files", ["histograms-*", "intervals-*"])
def test_files_of_measurements_that_are_gone_since_the_run_do_not_pass(
    tmp_path: Path, files: str
) -> None:
    run_dir = make_run(tmp_path / "r", length_s=30)
    objectives = [parse_objective("reply p95 < 1m")]
    assert judge_anew(run_dir, objectives)["verdict"] == "PASS"
    next(run_dir.glob(files)).unlink()
    again = judge_anew(run_dir, objectives)
    assert again["verdict"] == "INVALID"
    assert any("changed or lost after the run" in reason for reason in again["reasons"])


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    objectives = [parse_objective("leftovers == 0")]
    with pytest.raises(ConfigError, match="no such run directory"):
        judge_anew(tmp_path / "none", objectives)
    with pytest.raises(ConfigError, match="not a run directory"):
        judge_anew(tmp_path, objectives)
