"""A comparison of two runs as one HTML file; it needs no script at all.

A comparison of two runs for the terminal, and the words that the page shares with it.
"""

from collections.abc import Iterator, Sequence

from harness import __version__
from harness.report import figures
from harness.report.figures import UNKNOWN, ms_text
from harness.report.html.page import template_environment
from harness.studies.compare.comparison import Comparison, grouped
from harness.studies.compare.statistics import Change


def comparison_text(found: Comparison) -> str:
    """The comparison as plain lines, ending in a newline."""
    return "\n".join(_lines(found)) + "\n"


def change_text(change: Change) -> str:
    """``+7.3 %  (+5.1 to +9.6)``, or a dash."""
    if change.change is None or change.low is None or change.high is None:
        return UNKNOWN
    low, high = (f"{value * 100:+.1f}" for value in (change.low, change.high))
    return f"{change.change * 100:+.1f} % ({low} to {high})"


def _lines(found: Comparison) -> Iterator[str]:
    yield f"base  {found.base.run_id}  {found.base.verdict or 'no verdict'}"
    yield f"new   {found.new.run_id}  {found.new.verdict or 'no verdict'}"
    yield ""
    if found.differences:
        yield "How they were run differs:"
        yield from _columns([[item.name, item.base, item.new] for item in found.differences])
    else:
        yield "They were run alike."
    yield ""
    yield (
        f"Service times (intervals hold for all together at {found.rules.confidence * 100:g} %):"
    )
    yield from _columns(
        [
            [
                change.name,
                f"p{change.percent:g}",
                ms_text(change.base),
                ms_text(change.new),
                change_text(change),
                f"{change.word} *" if change.note else str(change.word),
            ]
            for change in found.times
        ]
        or [["nothing was measured"]]
    )
    for note in dict.fromkeys(change.note for change in found.times if change.note):
        yield f"  * {note}"
    yield ""
    yield "Errors, drops and leftovers:"
    yield from _columns([[item.name, item.base, item.new, item.word] for item in found.counts])
    yield ""
    yield "Generator:"
    yield from _columns([[item.name, item.base, item.new] for item in found.health])
    yield ""
    yield found.summary
    yield found.assumption


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


LEAST_REACH = 0.1


def comparison_page(found: Comparison) -> str:
    """The page as text."""
    known = [
        value for change in found.times for value in (change.low, change.high) if value is not None
    ]
    reach = max([LEAST_REACH, *(min(abs(value), 1.0) for value in known)]) * 1.05
    return (
        template_environment()
        .get_template("comparison.html")
        .render(
            found=found,
            reach=reach,
            change_text=change_text,
            grouped=grouped,
            figures=figures,
            version=__version__,
        )
    )
