"""A comparison of two runs as one HTML file; it needs no script at all."""

from harness import __version__
from harness.report import figures
from harness.report.html.page import template_environment
from harness.studies.compare.comparison import Comparison, grouped
from harness.studies.compare.text import change_text

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
