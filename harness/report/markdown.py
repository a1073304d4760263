"""A summary in Markdown, short enough for a pull request or a chat."""

import re
from collections.abc import Sequence

from harness.report import story
from harness.report.figures import count_text, length_text, moment_text, percent_text
from harness.rundir.schema import RunRecord

MARKS = {"PASS": "✅", "FAIL": "❌", "NO_DATA": "⚪", "INVALID": "⚠️", None: "⚪"}
SPECIAL = re.compile(r"[\\`*_{}\[\]|~>]|^[-+#=]")
"""What means something anywhere in a line, or at its beginning."""
NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
"""What begins a numbered list."""


def markdown(record: RunRecord, doubts: Sequence[str] = ()) -> str:
    """The summary, ending in a newline; ``doubts`` are further notices."""
    lines = [
        f"## {MARKS[record.verdict]} {story.verdict_word(record)}: {escaped(record.run_id)}",
        "",
        escaped(f"{story.why(record)} {story.account(record)}"),
        "",
        escaped(story.workload_line(record)),
        "",
    ]
    lines += [f"> {escaped(notice)}" for notice in (*story.notices(record), *doubts)]
    lines += _objectives(record) + _operations(record) + _sessions(record)
    if record.sessions.leftover:
        lines += [f"To end what is left behind: {code(f'harness sweep {record.run_id}')}", ""]
    lines.append(_origin(record))
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def escaped(text: str) -> str:
    """Text that means nothing to Markdown, HTML, or a site's @mentions."""
    text = SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
    text = NUMBERED.sub(r"\1\\\2", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")


def code(text: str) -> str:
    """A code span; backticks and line ends can't leave it, bars can't end a table's cell."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`".replace("|", "\\|")


def _objectives(record: RunRecord) -> list[str]:
    if not record.objectives:
        return ["No objective was set.", ""]
    rows = [
        f"| {MARKS[item.verdict]} | {code(item.text)} | {escaped(story.objective_figure(item))} "
        f"| {escaped(story.objective_margin(item))} |"
        for item in record.objectives
    ]
    return ["", "| | Objective | Measured | Margin |", "|---|---|---:|---|", *rows, ""]


def _operations(record: RunRecord) -> list[str]:
    if not record.operations:
        return ["No operation was measured.", ""]
    rows, closed = [], story.is_closed(record)
    for name, found in record.operations.items():
        times = [story.time_text(found, "service", time) for time in ("p50", "p95", "p99")]
        if not closed:
            times.append(story.time_text(found, "corrected", "p99"))
        failed, share = story.failures(record, name)
        errors = f"{count_text(failed)} ({percent_text(share)})" if failed else count_text(failed)
        rows.append(
            f"| {escaped(name)} | {count_text(found.count)} | {errors} | {' | '.join(times)} |"
        )
    head = "| Operation | Count | Errors | p50 | p95 | p99 |"
    line = "|---|---:|---:|---:|---:|---:|"
    if not closed:
        head, line = f"{head} corrected p99 |", f"{line}---:|"
    return [head, line, *rows, ""]


def _sessions(record: RunRecord) -> list[str]:
    rows = [f"{row.label}: {row.figure}" for row in story.account_rows(record)]
    lag = story.lag_text(record.generator)
    arrivals = record.arrivals
    accounts = [f"{text[:1].upper()}{text[1:]}." for text in story.accounts(record)]
    return [
        *(line for text in accounts for line in (escaped(text), "")),
        f"Sessions intended: {count_text(record.sessions.intended)}. {'. '.join(rows)}.",
        "",
        f"Arrivals due: {count_text(arrivals.due)}, started late: {count_text(arrivals.late)}, "
        f"dropped: {count_text(arrivals.dropped)}. Generator: {lag}.",
        "",
    ]


def _origin(record: RunRecord) -> str:
    how = record.how
    parts = [story.place(how.target), how.locustfile, length_text(record.duration_s)]
    parts.append(moment_text(record.started))
    return f"<sub>{escaped(' · '.join(part for part in parts if part))}</sub>"
