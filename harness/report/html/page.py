"""The report of a run as one HTML file that needs nothing from outside.

Everything that came from elsewhere (the service, a foreign run directory) is escaped by the
template engine, and the page's own security policy lets no script run but the three that are
written here, known by their hashes, so that a slip in escaping could still not run anything.
"""

import base64
import hashlib
from dataclasses import dataclass

from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness import __version__
from harness.measure.operations import OPERATIONS, ordered
from harness.report import aftermath, figures, story
from harness.report import counters as oddities
from harness.report.consistency import disagreements
from harness.report.html.panels import NOTHING, Panel, make_panels
from harness.report.limits import limit_rows
from harness.report.manual import MEASURING, section
from harness.rundir.intervals import Series
from harness.rundir.schema import RunRecord

PAGE = "report.html"
TIMES = ("p50", "p90", "p95", "p99", "p99_9", "max", "mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script of the page and its hash for the security policy."""

    text: Markup
    sha256: str


def render(record: RunRecord, series: Series | None) -> str:
    """The page as text."""
    panels = make_panels(record, series) if series else NOTHING
    environment = template_environment()
    scripts, divs = chart_scripts(list(panels), environment)
    manual_title, manual = section(MEASURING)
    return environment.get_template("report.html").render(
        record=record,
        closed=story.is_closed(record),
        series=series,
        story=story,
        oddities=oddities,
        aftermath=aftermath,
        limits=limit_rows(record, series),
        in_order=ordered(record.operations),
        figures=figures,
        operations=OPERATIONS,
        time_names=TIMES,
        panels=panels,
        notices=[*story.notices(record), *disagreements(record, series)],
        scripts=scripts,
        divs=divs,
        manual_title=manual_title,
        manual=manual,
        version=__version__,
    )


def template_environment() -> Environment:
    """The template engine: everything is escaped, and an unknown name is an error."""
    environment = Environment(
        loader=PackageLoader("harness.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": figures.count_text,
        "ms": figures.ms_text,
        "percent": figures.percent_text,
        "clock": figures.clock_text,
        "moment": figures.moment_text,
        "length": figures.length_text,
    }
    return environment


def chart_scripts(
    panels: list[Panel], environment: Environment
) -> tuple[list[Script], dict[str, Markup]]:
    """The page's scripts, and by chart key the element that will hold the chart."""
    own = environment.get_template("report.js").render()
    if not panels:
        return [_script(own)], {}
    code, divs = components({panel.key: panel.plot.figure for panel in panels}, wrap_script=False)
    library = Resources(mode="inline", components=["bokeh"]).render_js()
    inner = library[library.index(">") + 1 : library.index("</script>")]
    inner += 'Bokeh.set_log_level("error");'
    scripts = [_script(inner), _script(code), _script(own)]
    return scripts, {key: Markup(div) for key, div in divs.items()}


def _script(text: str) -> Script:
    if "</script" in text.lower() or "<!--" in text:
        raise AssertionError("a script that would end itself")  # no text from outside gets here
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(text=Markup(text), sha256=digest)
