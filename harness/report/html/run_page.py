"""The report of a run as a page: for a manager first, then for whoever asks why."""

from collections.abc import Sequence
from pathlib import PurePath

from markupsafe import Markup

from harness.clock import utc_iso
from harness.judge.gate import WITHIN_CHANCE
from harness.judge.record import QUANTILES
from harness.judge.series import Series
from harness.measure.model import CONNECT_PHASES, FELT, OPERATIONS, ordered
from harness.report import story, wording
from harness.report.findings import (
    AUDIT,
    SWEEP,
    baseline_rows,
    block_rows,
    disagreements,
    limit_rows,
    never_counted,
    remark,
    unusual_rows,
)
from harness.report.html.page import (
    MEASURING,
    Block,
    Cell,
    Column,
    Facts,
    Figures,
    Folded,
    Heading,
    Items,
    Page,
    Section,
    Table,
    Text,
    Tile,
    level,
    manual_section,
    moment,
    numbers,
    pill,
    render,
    small,
    texts,
)
from harness.report.html.run_charts import NO_CHARTS, Incident, RunCharts, draw_charts
from harness.report.story import NO_OPERATION, Row
from harness.report.wording import (
    UNKNOWN,
    clock_text,
    count_text,
    in_plain,
    length_text,
    moment_text,
    percent_text,
    share_text,
)
from harness.rundir.schema import Objective, RunRecord

TIMES = (*QUANTILES, "mean")
WIDE = frozenset({"p90", "p99_9", "max", "mean"})
"""Columns that are left out on a narrow screen."""
CONNECTING = ("connect", *CONNECT_PHASES)
MOST_INCIDENTS = 6
GENERATOR_SHOWN = 3
"""How many of the generator's figures are shown at once; the others are collapsed."""


def run_page(record: RunRecord, series: Series | None) -> str:
    """The page as text."""
    charts = draw_charts(record, series) if series else NO_CHARTS
    name = name_of_test(record)
    return render(
        Page(
            title=f"{story.verdict_word(record)} · {record.run_id}",
            kicker="Load test report",
            about=f"{name} · {record.run_id}" if name else record.run_id,
            tone=(record.verdict or "NO_DATA").lower(),
            icon=True,
            headline=story.verdict_word(record),
            why=f"{story.why(record)} {story.account(record)}",
            running=f"{name or 'load test'} - {record.run_id}",
            meta=_meta(record),
            notices=[*story.notices(record), *disagreements(record, series)],
            tiles=tiles(record),
            sections=[
                _objectives(record),
                _times(record, charts),
                _over_time(charts, series),
                _sessions(record),
                _wire(record, series),
                _generator(record, charts),
                _section(
                    "how",
                    "How it was run",
                    Folded("Target, options and versions", [Facts(story.how_rows(record))]),
                ),
                _measuring(),
            ],
            foot=Markup(
                "<code>harness report {}</code> makes this page again. A dash means: not recorded."
            ).format(record.run_id),
        )
    )


def _meta(record: RunRecord) -> list[Cell]:
    meta: list[Cell] = []
    if where := target_name(record):
        meta.append(where)
    if record.started is not None:
        iso = utc_iso(int(record.started.timestamp() * 1e9))
        meta.append(moment(iso, moment_text(record.started)))
    if record.duration_s is not None:
        meta.append(f"took {length_text(record.duration_s)}")
    if kinds := kinds_line(record):
        meta.append(kinds)
    if workload := story.workload_line(record):
        meta.append(workload)
    return meta


def tiles(record: RunRecord) -> list[Tile]:
    """The few figures at the top of the page: customers first, then the load, then the clean-up."""
    guests, stories, arrivals = record.guests, record.stories, record.arrivals
    reply = record.operations.get("reply")
    left = story.sessions_as_left(record).leftover
    now = record.sessions.leftover
    swept = "" if left == now else f"{count_text(now)} remain after a sweep"
    closed = story.is_closed(record)
    planned = (
        ("sessions opened", count_text(record.sessions.opened))
        if closed
        else ("of the planned load carried out", share_text(arrivals.started, arrivals.due))
    )
    return [
        Tile(
            count_text(guests.served),
            "customers served",
            _of(guests.arrived, "who came", share_text(guests.served, guests.arrived)),
            bad=bool(guests.failed),
        ),
        Tile(
            story.time_text(reply, "service", "p95") if reply else UNKNOWN,
            "reply time, in 95 of 100 cases",
            _of(reply.count if reply else None, "questions"),
        ),
        Tile(
            count_text(stories.broken_off),
            "stories broken off",
            _of(stories.begun, "begun"),
            bad=bool(stories.broken_off),
        ),
        Tile(
            count_text(None if closed else arrivals.dropped),
            "turned away by the generator",
            "there is no schedule" if closed else _of(arrivals.due, "due"),
            bad=bool(arrivals.dropped),
        ),
        Tile(
            planned[1],
            planned[0],
            f"{count_text(arrivals.late)} started late" if arrivals.late else "",
            bad=bool(arrivals.due and (arrivals.started or 0) < arrivals.due),
        ),
        Tile(
            count_text(left) + story.or_more(record.sessions.may_lack),
            "sessions left behind",
            swept or _of(record.sessions.intended, "sessions"),
            bad=bool(left or record.sessions.may_lack),
        ),
    ]


def _of(whole: int | None, what: str, more: str = "") -> str:
    if whole is None:
        return ""
    tail = f": {more}" if more not in ("", UNKNOWN) else ""
    return f"of {count_text(whole)} {what}{tail}"


def name_of_test(record: RunRecord) -> str:
    """What people call the test: its own name, or that of its file; empty where none is known."""
    name = record.how.name
    return story.safe_text("", name) if name else PurePath(record.how.locustfile or "").stem


def target_name(record: RunRecord) -> str:
    """The name of the target, or where it is; empty where it is not recorded."""
    if name := record.how.target_name:
        return story.safe_text("", name)
    return story.place(record.how.target) if record.how.target else ""


def kinds_line(record: RunRecord) -> str:
    """The kinds of customers and how many came of each; empty where it is not recorded."""
    came = {name: row.came for name, row in record.mix.items() if row.came is not None}
    kinds = ", ".join(f"{name} {count_text(many)}" for name, many in came.items())
    return f"customers: {kinds}" if kinds else ""


def _objectives(record: RunRecord) -> Section:
    rows = [
        (
            _objective_name(one),
            pill(wording.objective_word(one), one.verdict.lower(), icon=True),
            wording.objective_figure(one),
            _margin(one),
        )
        for one in record.objectives
    ]
    margin = Column("Margin", name_class="margin")
    columns = [*texts("Objective", "Verdict"), *numbers("Measured"), margin]
    table = Table("Objectives", columns, rows, "objectives", cards=True)
    block = table if rows else _none("No objective was set for this run.")
    return _section("objectives", "Objectives", block)


def _objective_name(one: Objective) -> Markup:
    words = wording.objective_words(one)
    before = Markup('<span class="words">{}</span> ').format(words) if words else Markup("")
    return before + Markup("<code>{}</code>").format(one.text)


def _margin(one: Objective) -> Markup:
    margin = wording.objective_margin(one).replace(f"{WITHIN_CHANCE}: ", "")  # the verdict says it
    text = Markup("<span>{}</span>").format(margin)
    if one.margin is None or one.verdict == "NO_DATA":
        return text if one.note else Markup("")
    width = f"{min(max(1 - one.margin, 0.0), 1.0) * 100:.1f}"
    meter = Markup(
        '<span class="meter {}" aria-hidden="true"><i style="width:{}%"></i></span>'
    ).format(one.verdict.lower(), width)
    return meter + text + small(one.note)


def _times(record: RunRecord, charts: RunCharts) -> Section:
    names = ordered(record.operations)
    if not names:
        return _section("times", "How long it took", _none(NO_OPERATION))
    first = [name for name in FELT if name in names]
    connecting = [name for name in CONNECTING if name in names]
    others = [name for name in names if name not in (*first, *connecting)]
    closed = story.is_closed(record)
    blocks: list[Block] = [
        _percentiles(record, first or others, "Times that a customer feels", closed=closed)
    ]
    if warm_up := story.warm_up_line(record):
        blocks.append(Text(wording.sentence(warm_up), "aside"))
    figures = [charts.operations[name] for name in first[:2] if name in charts.operations]
    if first and others:
        blocks.append(_folded("Ending a session, and the rest", record, others, charts, closed))
    if connecting:
        blocks.append(_folded("Connecting: TCP, TLS, upgrade", record, connecting, charts, closed))
    rest = [charts.operations[name] for name in first[2:] if name in charts.operations]
    curves = [charts.percentiles[name] for name in names if name in charts.percentiles]
    if charts.heat is not None:
        figures.append(charts.heat)
    if figures:
        blocks.insert(1, Figures(figures=figures))
    if rest:
        blocks.append(Folded("More charts over time", [Figures(figures=rest)]))
    if curves:
        blocks.append(Folded("Each percentile", [Figures(figures=curves)]))
    if record.parts:
        parts = _plain(story.PART_HEAD, story.part_rows(record), "Parts of the run")
        blocks.append(Folded("By the parts of the run", [parts]))
    if charts.intervals:
        blocks.append(
            Folded(
                "How sure these figures are",
                [
                    Text(
                        "95 % confidence intervals of the service times. They are taken from "
                        "blocks of time, so they allow for good and bad minutes.",
                        "lede",
                    ),
                    _plain(("Operation", "Samples", "p50", "p95", "p99"), charts.intervals),
                ],
            )
        )
    definitions = [Row(name, OPERATIONS[name].definition) for name in names if name in OPERATIONS]
    blocks.append(Folded("What starts and ends each clock", [Facts(definitions)]))
    more = (
        Markup("")
        if closed
        else Markup(
            " <b>Corrected</b> counts from when the schedule said it was due: what customers wait."
        )
    )
    return _section(
        "times",
        "How long it took",
        *blocks,
        lede=Markup(
            "<b>Service time</b> runs from our bytes being written to the answer's arrival: the "
            "service's own time.{} In 95 of 100 cases it took no longer than p95. "
            '<a href="#measuring-what-never-came-lower-bounds">What never came</a> counts as '
            "longer than the time waited: &gt; 2 s."
        ).format(more),
    )


def _folded(
    summary: str, record: RunRecord, names: Sequence[str], charts: RunCharts, closed: bool
) -> Folded:
    figures = [charts.operations[name] for name in names if name in charts.operations]
    table = _percentiles(record, names, summary, closed=closed)
    return Folded(summary, [table, Figures(figures=figures)] if figures else [table])


def _percentiles(record: RunRecord, names: Sequence[str], label: str, *, closed: bool) -> Table:
    rows: list[Sequence[Cell]] = []
    marks: list[str] = []
    for name in names:
        figures = record.operations[name]
        failed, share = story.failures(record, name)
        errors = Markup("{}{}").format(
            count_text(failed), small(percent_text(share)) if failed else ""
        )
        times = [story.time_text(figures, "service", time) for time in TIMES]
        rows.append((in_plain(name), count_text(figures.count), errors, *times))
        marks.append("")
        corrected = [story.time_text(figures, "corrected", time) for time in TIMES]
        if not closed and corrected != times:
            rows.append(("corrected", "", "", *corrected))
            marks.append("second")
    columns = [*texts("Operation"), Column("Count", number=True, wide=True), *numbers("Errors")]
    columns += [Column(name.replace("_", "."), number=True, wide=name in WIDE) for name in TIMES]
    return Table(label, columns, rows, "times", marks=marks)


def _over_time(charts: RunCharts, series: Series | None) -> Section:
    figures = [*charts.load, *charts.trouble]
    if not figures or series is None:
        text = "No interval was recorded, so nothing can be shown over time."
        return _section("time", "Over time", _none(text))
    return _section(
        "time",
        "Over time",
        Figures(figures=figures, zoom=True),
        *_marked(charts),
        lede="All charts over time share one axis (UTC): drag across one to zoom into all, "
        f"double-click to see the whole run. One step is {length_text(series.width_s)}.",
    )


def _marked(charts: RunCharts) -> list[Block]:
    blocks: list[Block] = []
    if charts.phases:
        phases = Markup(", ").join(_mark("phase", one) for one in charts.phases)
        blocks.append(Text(Markup("Phases (dotted): {}").format(phases), "aside"))
    if charts.incidents:
        marks = [_mark("incident", one) for one in charts.incidents]
        blocks.append(Heading("What happened (dashed)"))
        blocks.append(Items(marks[:MOST_INCIDENTS]))
        if len(marks) > MOST_INCIDENTS:
            more = marks[MOST_INCIDENTS:]
            blocks.append(Folded(f"{len(more)} more", [Items(more)]))
    return blocks


def _mark(kind: str, one: Incident) -> Markup:
    return Markup(
        '<span class="swatch mark {}" aria-hidden="true"></span><span class="at">{}</span> {}'
    ).format(kind, clock_text(one.t), one.text)


def _sessions(record: RunRecord) -> Section:
    rows = story.account_rows(record)
    cells: list[Sequence[Cell]] = []
    marks = []
    for row in rows:
        swatch = Markup('<span class="swatch box {}" aria-hidden="true"></span>{}')
        cells.append((swatch.format(row.key, row.label), row.figure, row.note))
        marks.append("bad" if row.key == "leftover" and record.sessions.leftover else "")
        if row.key == "leftover":
            for reason, many in record.sessions.leftover_reasons.items():
                cells.append((in_plain(reason), count_text(many), ""))
                marks.append("sub")
    columns = texts("What became of them") + numbers("Sessions", "Share")
    last = ("Intended", count_text(record.sessions.intended), "")
    blocks: list[Block] = [Table("Account", columns, cells, "account", marks=marks, last=last)]
    if record.sessions.leftover:
        command = Markup("<code>harness sweep {}</code>").format(record.run_id)
        blocks.append(Text(Markup("To end what is left behind: {}").format(command), "todo"))
    blocks += _afterwards(record)
    blocks += _funnel(record)
    return _section(
        "account",
        "What became of the sessions",
        *blocks,
        short="Sessions",
        lede="Each session is in exactly one class. A leftover is a session without proof of its "
        "end. It may still be open at the service and hold an agent.",
    )


def _afterwards(record: RunRecord) -> list[Block]:
    blocks: list[Block] = []
    if record.simulator is not None:
        counts = record.simulator.model_dump(exclude_unset=True, exclude={"conversations"})
        figures = [f"{name} {value}" for name, value in story.details(counts)]
        blocks.append(Text(f"The simulator's own count: {' · '.join(figures)}", "aside"))
    if record.baseline:
        blocks.append(Folded("Queues and flows", [Facts(baseline_rows(record.baseline))]))
    for title, block, labels in (
        ("Sweep afterwards", record.sweep, SWEEP),
        ("Audit: what the service itself said", record.audit, AUDIT),
    ):
        if block:
            note = remark(block)
            more = [Text(note, "aside")] if note else []
            blocks.append(Folded(title, [Facts([*block_rows(block, labels)]), *more]))
    return blocks


def _funnel(record: RunRecord) -> list[Block]:
    rows = [
        (row.label, row.figure, "" if row.share is None else level(row.share, "step"), row.note)
        for row in story.funnel_rows(record)
    ]
    columns = [*texts("Step"), *numbers("Sessions"), Column("", name_class="bar")]
    columns.append(Column("Lost", wide=True, name_class="lost"))
    table = Table("Steps of a session", columns, rows, "funnel")
    lines = list(map(wording.capital, story.accounts(record)))
    blocks: list[Block] = [Heading("How they fared"), Items(lines)] if lines else []
    lengths = story.length_rows(record)
    return [
        *blocks,
        *([Facts(lengths)] if lengths else []),
        Folded("How far they came, step by step", [table]),
    ]


def _wire(record: RunRecord, series: Series | None) -> Section:
    seen, unseen = unusual_rows(record), never_counted(record)
    blocks: list[Block] = []
    if seen:
        blocks.append(Facts(seen))
    if unseen:
        blocks.append(Text(f"Looked for and never seen: {', '.join(unseen)}.", "aside"))
    if not blocks:
        blocks.append(_none("None was recorded."))
    if limits := limit_rows(record, series):
        refused = any(row.key == "refused" and row.figure not in ("0", UNKNOWN) for row in limits)
        shown: list[Block] = [Heading("Against the service's limits"), Facts(limits)]
        blocks += shown if refused else [Folded("Against the service's limits", shown[1:])]
    return _section(
        "unusual",
        "Unusual events",
        *blocks,
        lede="What the service sent or refused outside the usual course of a session.",
    )


def _generator(record: RunRecord, charts: RunCharts) -> Section:
    rows = story.generator_rows(record)
    more: list[Block] = [Facts(rows[GENERATOR_SHOWN:])]
    if charts.generator:
        more.append(Figures(figures=charts.generator))
    blocks: list[Block] = [
        Facts(rows[:GENERATOR_SHOWN]),
        Folded("Lag, memory and more", more),
    ]
    return _section(
        "generator",
        "The load generator",
        *blocks,
        short="Generator",
        lede=Markup(
            "Was the machine that generated the load fast enough? If it was late itself, the "
            "figures say little about the service "
            '(<a href="#measuring-lag-of-the-generator">when it counts as late</a>).'
        ),
    )


def _measuring() -> Section:
    title, manual = manual_section(MEASURING)
    links = Markup(" · ").join(
        Markup('<a href="#measuring-{}">{}</a>').format(place, words)
        for place, words in (
            ("verdicts", "verdicts"),
            ("how-many-samples-are-enough", "how many samples are enough"),
            ("was-the-load-offered-that-was-asked-for", "whether the load was offered"),
            ("questions-and-how-they-end", "how a question ends"),
            ("which-message-answers-what", "which message answers what"),
            ("stories-and-guests", "when a guest was served"),
        )
    )
    block = Folded("The page of the manual", [Text(manual, "manual")])
    return _section("measuring", title, block, short="How it is measured", lede=links)


def _section(key: str, heading: str, *blocks: Block, lede: Cell = "", short: str = "") -> Section:
    """A section that is listed in the table of contents."""
    return Section(heading, blocks, lede, key, short or heading)


def _plain(
    head: Sequence[str], rows: Sequence[Sequence[str]], label: str = "Confidence intervals"
) -> Table:
    return Table(label, texts(head[0]) + numbers(*head[1:]), rows)


def _none(text: str) -> Text:
    return Text(text, "none")
