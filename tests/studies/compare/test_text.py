"""The terminal's lines lead with the summary and the differences in how the runs were made."""

from pathlib import Path

import pytest
from synthetic import make_run

from harness.studies.compare.comparison import compare
from harness.studies.compare.page import change_text, comparison_text
from harness.studies.compare.statistics import Change, Word


@pytest.mark.slow
def test_differences_first_then_figures_and_the_summary_last(tmp_path: Path) -> None:
    base = make_run(tmp_path / "base", length_s=60)
    new = make_run(tmp_path / "new", length_s=60, seed=2, leave=3)
    text = comparison_text(compare(base, new))
    assert text.splitlines()[-2] == "Worse: more leftovers."
    assert text.splitlines()[-1].startswith("These words hold for these two runs.")
    places = [
        text.index(part)
        for part in (
            "How they were run differs",
            "Seed",
            "Service times",
            "reply",
            "Worse: ",
        )
    ]
    assert places == sorted(places)
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(
    ("bounds", "text"),
    [((0.073, 0.051, 0.096), "+7.3 % (+5.1 to +9.6)"), ((None, None, None), "—")],
)
def test_changes(bounds: tuple[float | None, ...], text: str) -> None:
    change, low, high = bounds
    row = Change(
        name="reply",
        percent=50.0,
        base=None,
        new=None,
        change=change,
        low=low,
        high=high,
        word=Word.UNKNOWN,
    )
    assert change_text(row) == text


def test_what_cannot_be_told_for_want_of_values_is_one_line_per_operation(tmp_path: Path) -> None:
    base = make_run(tmp_path / "base", length_s=60)
    few = make_run(tmp_path / "few", length_s=60, per_s=0.3, seed=2)
    comparison = compare(base, few)
    text = comparison_text(comparison)
    known = [change for change in comparison.times if change.change is not None]
    unknown, every = len(comparison.times) - len(known), len(comparison.times)
    assert f"can't be told: {unknown} of {every} percentiles" in text
    assert "—  —  —" not in text
    (line,) = [line for line in text.splitlines() if line.split()[:1] == ["reply"]]
    assert " p95 p99  " in line
