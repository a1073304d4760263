"""``harness compare`` is a gate: a run passes that may at most be worse by less than matters."""

from pathlib import Path

import pytest
from synthetic import make_run

from harness.cli.main import main
from harness.errors import ExitCode


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reports = tmp_path_factory.mktemp("reports")
    make_run(reports / "base", length_s=120, per_s=8)
    make_run(reports / "alike", length_s=120, per_s=8, seed=2)
    make_run(reports / "worse", length_s=120, per_s=8, seed=3, slowdown=1.5)
    make_run(reports / "void", length_s=40, seed=4, verdict="INVALID")
    return reports


def compare(reports: Path, *words: str) -> int:
    return main(["compare", *words, "--reports", str(reports)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "code"),
    [
        (["base", "alike"], ExitCode.NO_DATA),  # too few sessions for their errors
        pytest.param(["base", "worse"], ExitCode.OBJECTIVES, marks=pytest.mark.long),
        (["base", "alike", "worse"], ExitCode.OBJECTIVES),
        pytest.param(["worse", "void"], ExitCode.INVALID, marks=pytest.mark.long),
        (["void", "alike"], ExitCode.INVALID),
    ],
)
def test_the_last_run_is_judged_by_those_before_it(
    reports: Path, capsys: pytest.CaptureFixture[str], runs: list[str], code: ExitCode
) -> None:
    assert compare(reports, *runs, "--matters", "15") == code
    text = capsys.readouterr().out
    assert f"new   {runs[-1]}" in text
    assert ("One base run can't show" in text) is (len(runs) == 2)


@pytest.mark.slow
def test_the_figures_of_the_gate_can_be_named(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ("base", "alike", "--matters", "15")
    assert compare(reports, *pair, "--figure", "reply p50") == ExitCode.PASS
    assert "(looked at: reply p50)" in capsys.readouterr().out
    assert compare(reports, *pair, "--figure", "reply p12") == ExitCode.CONFIG
    error = capsys.readouterr().err
    assert "--figure: 'reply p12' is not compared; there are: " in error
    assert "reply p95" in error


@pytest.mark.slow
def test_runs_too_short_to_tell_do_not_pass(reports: Path) -> None:
    assert compare(reports, "base", "alike") == ExitCode.NO_DATA


@pytest.mark.slow
def test_the_page_is_written_beside_the_run(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(reports, "base", "worse", "--html")
    page = reports / "worse" / "compare.html"
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    assert "Worse" in page.read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["base", "nothing"], "there is no run 'nothing'"),
        (["base", "alike", "--confidence", "40"], "confidence: expected"),
        (["base", "alike", "--negligible", "9"], "--matters: expected more than --negligible"),
    ],
)
def test_bad_input_is_one_sentence(
    reports: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert compare(reports, *words) == ExitCode.CONFIG
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_one_run_is_too_few(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(reports, "base") == ExitCode.USAGE
    assert "expected two runs or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "text", "why"),
    [
        ("--confidence", "nan", "expected 50 up to below 100 percent, got nan"),
        ("--confidence", "100", "expected 50 up to below 100 percent, got 100"),
        ("--negligible", "-1", "expected 0 up to below 100 percent, got -1"),
        ("--between-runs", "inf", "expected 0 up to below 100 percent, got inf"),
        ("--matters", "0.5", "expected more than --negligible (1) and less than 100 percent"),
        ("--least", "-1s", "expected a duration"),
    ],
)
def test_nonsense_names_its_option(
    option: str, text: str, why: str, reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(reports, "base", "alike", option, text) == ExitCode.CONFIG
    assert f"error: {option}: {why}" in capsys.readouterr().err
