"""The run over time as CSV: one row per bin, all processes merged, for spreadsheets and notebooks.

Rows are as wide as the recorded intervals, in long runs so wide that there are at most
:data:`harness.judge.series.MOST_ROWS`. A cell is empty where nothing was recorded.

Cells of CSV files that a spreadsheet shows and does not run.
"""

import csv
from collections.abc import Iterator
from typing import TextIO

from harness.clock import utc_iso
from harness.judge.series import Series, Values
from harness.safe_text import safe_text

FORMULA = ("=", "+", "-", "@", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A cell that begins so is run as a formula by one spreadsheet or another."""


def harmless(cell: str) -> str:
    """Words of somebody else, as a cell."""
    cell = safe_text(cell).replace("\n", " ").replace("\t", " ").strip(" ")
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def write_csv(series: Series | None, file: TextIO) -> None:
    """Write the rows; only a head where there are no intervals."""
    rows = series.rows if series is not None else None
    writer = csv.writer(file, lineterminator="\n")
    columns = list(_columns(rows)) if rows is not None else []
    writer.writerow(["start_utc", "start_s", "length_s", *(harmless(name) for name, _ in columns)])
    if rows is None:
        return
    for place, start in enumerate(rows.starts_s):
        cells = [_cell(values[place]) for _, values in columns]
        writer.writerow([utc_iso(int(start * 1e9)), f"{start:.3f}", f"{rows.width_s:g}", *cells])


def _columns(rows: Series) -> Iterator[tuple[str, Values]]:
    for name, values in rows.rates.items():
        yield f"arrivals.{name}_per_s", values
    for name, values in rows.sessions.items():
        yield f"sessions.{name}", values
    for name, values in sorted(rows.operations.items()):
        yield f"outcomes.{name}", values
    for tag, bands in sorted(rows.bands_ms.items()):
        yield f"{tag}.count", rows.samples[tag]
        for quantile, values in bands.items():
            yield f"{tag}.p{quantile:g}_ms", values
    for name, values in sorted(rows.counts.items()):
        yield f"counts.{name}", values
    for name, values in rows.process.items():
        yield f"process.{name}_max", values


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}" if value % 1 else f"{value:.0f}"
