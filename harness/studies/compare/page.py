"""A comparison of two runs as it is shown: in the terminal, and as a page."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from harness.errors import ExitCode
from harness.measure.model import FELT
from harness.report.html.page import (
    Block,
    Column,
    Folded,
    Page,
    Section,
    Table,
    Text,
    numbers,
    texts,
)
from harness.report.wording import UNKNOWN, ms_text, sentence
from harness.studies.compare.comparison import Comparison, grouped
from harness.studies.compare.statistics import Change, Word


def comparison_text(comparison: Comparison) -> str:
    """The comparison as plain lines, ending in a newline."""
    return "\n".join(_lines(comparison)) + "\n"


def change_text(change: Change) -> str:
    """``+7.3 %  (+5.1 to +9.6)``, or a dash."""
    if change.change is None or change.low is None or change.high is None:
        return UNKNOWN
    low, high = (f"{value * 100:+.1f}" for value in (change.low, change.high))
    return f"{change.change * 100:+.1f} % ({low} to {high})"


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"base  {comparison.base.run_id}  {comparison.base.verdict or 'no verdict'}"
    yield f"new   {comparison.new.run_id}  {comparison.new.verdict or 'no verdict'}"
    yield ""
    if comparison.differences:
        yield "How they were run differs:"
        yield from _columns(comparison.differences)
    else:
        yield "They were run alike."
    yield ""
    sure = f"{comparison.rules.confidence * 100:g} %"
    yield f"Service times (intervals hold for all together at {sure}):"
    shown = [change for change in comparison.times if not _nothing_known(change)]
    if shown:
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
                for change in shown
            ]
        )
    elif not comparison.times:
        yield "  nothing was measured"
    for note in dict.fromkeys(change.note for change in shown if change.note):
        yield f"  * {note}"
    if len(shown) < len(comparison.times):
        yield (
            f"  can't be told: {len(comparison.times) - len(shown)} of {len(comparison.times)} "
            "percentiles"
        )
        yield from _columns(list(_unknown_rows(comparison.times)))
    yield ""
    yield "Errors, drops and leftovers:"
    yield from _columns([[item.name, item.base, item.new, item.word] for item in comparison.counts])
    yield ""
    yield "Generator:"
    yield from _columns(comparison.health)
    yield ""
    yield comparison.summary
    yield comparison.assumption


def _nothing_known(change: Change) -> bool:
    return change.word is Word.UNKNOWN and change.change is None


def _unknown_rows(changes: Sequence[Change]) -> Iterator[list[str]]:
    """One row per operation: its percentiles of which nothing is known, and why of the lowest."""
    for name in dict.fromkeys(change.name for change in changes if _nothing_known(change)):
        same = [change for change in changes if change.name == name and _nothing_known(change)]
        yield ["", name, " ".join(f"p{one.percent:g}" for one in same), same[0].note]


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


MIN_REACH = 0.1
CHANGE_STYLES = {
    ExitCode.INVALID: ("invalid", "Can't be compared"),
    ExitCode.OBJECTIVES: ("fail", "Worse"),
    ExitCode.PASS: ("pass", ""),
    ExitCode.NO_DATA: ("no_data", "Can't tell"),
}
"""A tone and a headline; if it passed, the headline depends on the comparison."""


def comparison_page(comparison: Comparison) -> Page:
    """The comparison for people who decide: what got worse first, what can't be told folded."""
    tone, headline = CHANGE_STYLES[comparison.exit_code]
    return Page(
        title=f"{comparison.new.run_id} against {comparison.base.run_id}",
        kicker="Comparison",
        about=f"{comparison.new.run_id} against {comparison.base.run_id}",
        tone=tone,
        icon=True,
        headline=headline or ("Better" if comparison.better else "No difference seen"),
        why=_page_why(comparison, tone),
        sections=[
            _page_times(comparison),
            *_page_counts(comparison),
            _page_how(comparison),
            _page_assumptions(comparison),
        ],
        foot="Times are service times. A dash means: not recorded.",
    )


def _page_why(comparison: Comparison, tone: str) -> Markup:
    worse = grouped(comparison.worse)
    why = sentence(worse) if tone == "fail" else comparison.summary
    if not comparison.differences:
        return Markup("{}").format(why)
    names = ", ".join(item.name for item in comparison.differences).lower()
    return Markup('{} <a href="#how">They were not run alike</a>: {}.').format(why, names)


def _page_how(comparison: Comparison) -> Section:
    rows = comparison.differences
    table = Table("Differences", texts("What differs", "Base", "New"), rows, name="differences")
    blocks = [table if rows else Text("They were run alike.")]
    return Section("How they were run", blocks, key="how")


def _page_times(comparison: Comparison) -> Section:
    known = [
        value
        for change in comparison.times
        for value in (change.low, change.high)
        if value is not None
    ]
    reach = max([MIN_REACH, *(min(abs(value), 1.0) for value in known)]) * 1.05
    first = [change for name in FELT for change in comparison.times if change.name == name]
    ranked = [*first, *(change for change in comparison.times if change.name not in FELT)]
    known_changes = [change for change in ranked if change.word is not Word.UNKNOWN]
    rest = [change for change in ranked if change.word is Word.UNKNOWN]
    blocks: list[Block] = _change_table(known_changes, reach) if known_changes else []
    if rest:
        summary = f"What can't be told: {len(rest)} of {len(ranked)}"
        blocks.append(Folded(summary, _change_table(rest, reach)))
    if not ranked:
        blocks.append(Text("Nothing was measured.", "none"))
    return Section(
        "Service times",
        blocks,
        "The bar is the interval that holds the true change; all intervals on this page hold "
        f"together at {comparison.rules.confidence * 100:g} %. A bar that crosses the middle line "
        "could be no change.",
    )


def _change_table(changes: Sequence[Change], reach: float) -> list[Block]:
    """The table, and under it what its stars mean."""
    rows = [
        (
            change.figure,
            _word(change.word, star=bool(change.note)),
            ms_text(change.base),
            ms_text(change.new),
            change_text(change),
            _forest(change, reach),
        )
        for change in changes
    ]
    forest = Column("Slower is to the right", name_class="forest")
    columns = [*texts("Operation", "In a word"), *numbers("Base", "New", "Change"), forest]
    table = Table("Service times", columns, rows, "changes", cards=True)
    notes = dict.fromkeys(change.note for change in changes if change.note)
    return [table, *(Text(f"* {note}", "footnote") for note in notes)]


def _word(word: str, *, star: bool = False) -> Markup:
    tone = word.replace(" ", "-")
    return Markup('<span class="word {}">{}{}</span>').format(tone, word, " *" if star else "")


def _forest(change: Change, reach: float) -> Markup:
    """The interval of a change as a bar around the middle."""
    if change.change is None or change.low is None or change.high is None:
        return Markup('<span class="around" aria-hidden="true"></span>')
    low, at, high = (
        50 + 50 * min(max(value / reach, -1.0), 1.0)
        for value in (change.low, change.change, change.high)
    )
    return Markup(
        '<span class="around" aria-hidden="true">'
        '<i class="{}" style="left:{}%;width:{}%"></i><b style="left:{}%"></b></span>'
    ).format(change.word.replace(" ", "-"), f"{low:.2f}", f"{high - low:.2f}", f"{at:.2f}")


def _page_counts(comparison: Comparison) -> list[Section]:
    columns = texts("What") + numbers("Base", "New")
    counts = [(item.name, item.base, item.new, _word(item.word)) for item in comparison.counts]
    return [
        Section(table.label, [table])
        for table in (
            Table("Errors, drops and leftovers", columns + texts("In a word"), counts),
            Table("Generator health", columns, comparison.health),
        )
    ]


def _page_assumptions(comparison: Comparison) -> Section:
    named = grouped(comparison.named) or "the figures of the gate"
    matters, sure = comparison.rules.matters * 100, comparison.rules.confidence * 100
    code = (
        f"Exit code 0 means that with {sure:g} % confidence none of these is worse by {matters:g} "
        f"% or more (a share of errors: by half a percentage point): {named}."
    )
    return Section("What this takes for granted", [Text(comparison.assumption), Text(code)])
