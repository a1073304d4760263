"""The summary of a finished run as the terminal shows it."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from harness.judge.gate import chance_text
from harness.measure.model import CLASSES, COUNTERS, OPERATIONS
from harness.report import story, wording
from harness.rundir.schema import Objective, RunRecord
from harness.streams import plain_table
from harness.units import milliseconds

STYLES = {"PASS": "bold green", "FAIL": "bold red", "NO_DATA": "bold yellow", "INVALID": "bold red"}
SHOWN = ("p50", "p95", "p99", "max")


def show_summary(
    record: Mapping[str, Any], console: Console, *, report: str = "", sweep: str = ""
) -> None:
    """Print operations, account, objectives and verdict of a run record.

    ``sweep`` is the command that ends what is left; without it the record's run id is named.
    """
    try:
        known = RunRecord.model_validate(record)
    except ValidationError:
        known = None  # of a run whose files could not be read
    console.print()
    if known and (workload := story.workload_line(known)):
        console.print(workload)
    if record.get("operations"):
        closed = record.get("workload") == "closed"
        console.print(operations_table(record["operations"], corrected=not closed))
    if known:
        _show_parts(known, console)
    console.print(account_line(record))
    if record.get("sessions"):
        console.print(identity_line(record["sessions"]))
    if known and record.get("questions"):
        for text in story.accounts(known):
            console.print(Text(f"  {text}", style="dim"))
    for note, style in _notes(record):
        console.print(Padding(Text(note, style=style), (0, 0, 0, 2)), soft_wrap=False)
    if (record.get("sessions") or {}).get("leftover"):
        hint = f"  end them with: {sweep or 'harness sweep ' + str(record['run_id'])}"
        console.print(Text(hint, style="bold"))
    for met in met_lines(record):
        console.print(met)
    console.print(verdict_line(record))
    if report:
        console.print(Text.assemble(("report   ", "dim"), report))


PART_HEAD = ("part", "from", "guests", "not opened", "replies", "failed", "p50", "p95")
"""The columns that eighty letters have room for; the page has them all."""


def _show_parts(record: RunRecord, console: Console) -> None:
    if line := story.warm_up_line(record):
        console.print(line)
    rows = story.part_rows(record)
    if not rows:
        return
    table = plain_table(*PART_HEAD)
    for column in table.columns:
        column.no_wrap = True
    for name, begins, _ends, guests, _opened, *figures in rows:
        table.add_row(name, begins, guests, *figures)
    console.print(table)
    console.print()


def operations_table(operations: Mapping[str, Any], *, corrected: bool = True) -> RenderableType:
    """One row per operation: count, errors, service time, and the corrected p95.

    A closed workload has no schedule, so nothing is ``corrected`` by one.
    """
    more = ["corrected p95"] if corrected else []
    table = plain_table("operation", "count", "errors", *SHOWN, *more)
    for name in OPERATIONS:
        entry = operations.get(name)
        if entry is None:
            continue
        errors = entry["count"] - entry["outcomes"].get("ok", 0) - entry.get("cut_early", 0)
        table.add_row(
            name,
            f"{entry['count']:,}",
            Text(f"{errors:,}", style="red" if errors else "dim"),
            *[_time(entry["service_ms"], key) for key in SHOWN],
            *([_time(entry["corrected_ms"], "p95")] if corrected else []),
        )
    return Group(table, Text("times are the service's own, in milliseconds\n", style="dim"))


def _time(times: Mapping[str, Any], name: str) -> str:
    bound = ">" if name in times.get("lower_bounds", ()) else ""
    return bound + milliseconds(times.get(name))


def account_line(record: Mapping[str, Any]) -> Text:
    """opened · cleared · left over, with what else became of sessions."""
    sessions = record.get("sessions") or {}
    if not sessions:
        return Text("sessions: not known", style="bold red")
    left = sessions["leftover"]
    parts = [
        f"opened {sessions['opened']:,}",
        f"cleared {sessions['cleared']:,}",
        f"left over {left:,}{story.or_more(sessions.get('may_lack'))}",
    ]
    for key, words in (story.IN_SESSION, *CLASSES.items()):
        if sessions.get(key) and key not in ("cleared", "leftover"):
            parts.append(f"{words} {sessions[key]:,}")
    line = Text(" · ".join(parts), style="bold")
    reasons = sessions.get("leftover_reasons") or {}
    if reasons:
        shown = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        line.append(f"   ({shown})", style="red")
    return line


def identity_line(sessions: Mapping[str, Any]) -> Text:
    """The accounting identity, in full: every session ever intended is in exactly one class."""
    terms = " + ".join(
        f"{words} {sessions.get(key) or 0:,}"
        for key, words in (*CLASSES.items(), story.IN_SESSION)
        if key not in story.RARE_CLASSES or sessions.get(key)
    )
    text = f"  intended {sessions.get('intended') or 0:,} = {terms}"
    if sessions.get("balanced") is False:
        return Text(f"{text}: this does not add up", style="bold red")
    return Text(text, style="dim")


def met_lines(record: Mapping[str, Any]) -> list[Text]:
    """One for each objective that is met, with its figure; those that are not are reasons."""
    lines = []
    for entry in record.get("objectives") or ():
        if entry["verdict"] != "PASS":
            continue
        objective = Objective.model_validate(entry)
        style = "yellow" if objective.within_chance else "dim"
        text = f"met      {objective.text}"
        if objective.figure is not None:
            text += f"  was {wording.objective_figure(objective)}"
        if objective.within_chance:
            text += f"; {chance_text(objective.more_samples)}"
        elif objective.margin is not None:
            text += f", {wording.objective_margin(objective)}"
        lines.append(Text(text, style=style))
    return lines


def verdict_line(record: Mapping[str, Any]) -> Text:
    """The verdict and why."""
    verdict = str(record.get("verdict", ""))
    word = "so far   " if record.get("live") else "verdict  "
    line = Text.assemble((word, "dim"), (verdict, STYLES.get(verdict, "bold")))
    judged = [one["text"] for one in record.get("objectives", ())]
    if judged:
        line.append(f"   judged by: {', '.join(judged)}", style="dim")
    for reason in record.get("reasons", ()):
        line.append(f"\n         {_reason(reason, record)}")
    return line


def _reason(reason: str, record: Mapping[str, Any]) -> str:
    """A reason as in the record; one about an objective is worded as in the lines of those met."""
    for entry in record.get("objectives", ()):
        if reason.startswith(f"{entry['verdict']}  {entry['text']}  was "):
            one = Objective.model_validate(entry)
            margin = wording.objective_margin(one)
            note = f"; {one.note}" if one.lower_bound and one.note not in ("", margin) else ""
            far = "" if margin == wording.UNKNOWN else f", {margin}"
            figure = wording.objective_figure(one)
            return f"{one.verdict:<8} {one.text}  was {figure}{far}{note}"
    return reason


def _notes(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What else there is to remark, and in which style."""
    if advice := (record.get("questions") or {}).get("advice"):
        yield advice, "yellow"
    for sentence in (record.get("stories") or {}).get("told", ()):
        yield sentence, "yellow"
    if record.get("not_judged"):
        yield f"not judged: {'; '.join(record['not_judged'])}", "yellow"
    arrivals = record.get("arrivals") or {}
    due, late, dropped = (arrivals.get(kind, 0) for kind in ("due", "late", "dropped"))
    if late or dropped:
        yield f"arrivals: {due:,} due, {late:,} late, {dropped:,} dropped", "yellow"
    for one in COUNTERS.values():
        count = (record.get("forensics") or {}).get(one.name)
        if count and one.alarming:
            yield f"{count:,} {one.meaning}", "red"
    if truth := record.get("simulator"):
        counts = " · ".join(f"{name} {truth[name]:,}" for name in ("opened", "cleared", "open"))
        yield f"the simulator's own count: {counts}", "red" if truth["open"] else "dim"
    if baseline := record.get("baseline"):
        yield _counts(baseline)


def _counts(baseline: Mapping[str, Any]) -> tuple[str, str]:
    """The open conversations in queues and flows, before and after."""
    whys = [baseline[moment]["why"] for moment in baseline if "why" in baseline[moment]]
    if whys:
        return f"queues and flows could not be counted: {whys[0]}", "yellow"
    before, after = ((baseline.get(key) or {}).get("counts", {}) for key in ("before", "after"))
    shown = ", ".join(
        f"{name} {before.get(name, '?')} → {after.get(name, '?')}" for name in {**before, **after}
    )
    return f"open in queues and flows, before → after: {shown}", "dim"
