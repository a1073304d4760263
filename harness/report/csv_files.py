"""The run over time as CSV: one row per bin, all processes merged, for spreadsheets and notebooks.

Rows are as wide as the recorded intervals, in long runs so wide that there are at most
:data:`harness.judge.series.MOST_ROWS`. A cell is empty where nothing was recorded.
Cells with words of others are such that a spreadsheet shows them and does not run them.
"""

import csv
from collections.abc import Iterator
from typing import TextIO

from harness.clock import utc_iso
from harness.judge.series import Series, Values
from harness.safe_text import safe_text

LOWER_BOUNDS = "lower_bounds"
"""The column that names the percentiles whose true figures are higher: some of it never came."""
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
        cells = [values[place] for _, values in columns]
        writer.writerow([utc_iso(int(start * 1e9)), f"{start:.3f}", f"{rows.width_s:g}", *cells])


def _columns(rows: Series) -> Iterator[tuple[str, list[str]]]:
    for name, values in rows.rates.items():
        yield f"arrivals.{name}_per_s", _cells(values)
    for name, values in rows.sessions.items():
        yield f"sessions.{name}", _cells(values)
    for name, values in sorted(rows.operations.items()):
        yield f"outcomes.{name}", _cells(values)
    for tag, bands in sorted(rows.bands_ms.items()):
        yield f"{tag}.count", _cells(rows.samples[tag])
        for quantile, values in bands.items():
            yield f"{tag}.p{quantile:g}_ms", _cells(values)
        if tag.endswith(".service"):
            yield f"{tag}.{LOWER_BOUNDS}", _lower_bounds(rows, tag)
    for name, values in sorted(rows.counts.items()):
        yield f"counts.{name}", _cells(values)
    for name, values in rows.process.items():
        yield f"process.{name}_max", _cells(values)


def _lower_bounds(rows: Series, tag: str) -> list[str]:
    """For each row the percentiles that are lower bounds: ``p95 p99``."""
    known = {f"p{quantile:g}": rows.at_least(tag, quantile) for quantile in rows.bands_ms[tag]}
    return [
        " ".join(name for name, least in known.items() if least[place])
        for place in range(len(rows))
    ]


def _cells(values: Values) -> list[str]:
    return [
        "" if value is None else f"{value:.6g}" if value % 1 else f"{value:.0f}" for value in values
    ]
