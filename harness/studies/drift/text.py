"""What drifts, as a table for a person."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.studies.drift.assess import DriftReport
from harness.studies.drift.page import assumptions
from harness.studies.drift.trend import Drift, Trend
from harness.units import about_text

STYLES = {
    Drift.FLAT: "green",
    Drift.IMPROVING: "green",
    Drift.DRIFTING: "bold red",
    Drift.UNDECIDED: "yellow",
}


def show_drift(report: DriftReport, console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("figure", "of the", "verdict", "change over the run", "interval", ""):
        table.add_column(column)
    for finding in report.findings:
        found = finding.trend
        table.add_row(
            finding.name,
            str(finding.side),
            Text(str(found.verdict), style=STYLES[found.verdict]),
            _amount(found, found.change),
            ""
            if found.low is None
            else f"{_amount(found, found.low)} to {_amount(found, found.high)}",
            _remark(found),
        )
    if report.leak is not None:
        leak = report.leak
        table.add_row(
            "leftovers",
            "service",
            Text(str(leak.verdict), style=STYLES[leak.verdict]),
            f"{leak.share:.2%} of sessions",
            f"{leak.low:.2%} to {leak.high:.2%}",
            f"tolerated {leak.tolerated:.2%}",
        )
    console.print(table)
    console.print(f"\n{report.sentence}", style="bold")
    for assumption in assumptions(report):
        console.print(assumption, style="dim")


def _amount(found: Trend, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.1%}" if found.relative else f"{value:+.3g}"


def _remark(found: Trend) -> str:
    if found.step is not None:
        return f"changed at once from {found.step.before:.4g} to {found.step.after:.4g}"
    if found.note:
        return found.note
    if found.longer_s is not None:
        return f"about {about_text(found.longer_s)} more would decide"
    return ""
