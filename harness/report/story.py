"""A run's record as the sentences and rows that every kind of report shares."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.judge.record import QUANTILES
from harness.judge.validity import LATE_MS, MAX_LATE_SHARE
from harness.measure.histogram import rank
from harness.measure.model import CLASSES, COUNTERS, QUESTION_ENDS
from harness.report import wording
from harness.report.wording import (
    UNKNOWN,
    core_text,
    count_text,
    disk_text,
    in_plain,
    length_text,
    moment_text,
    ms_text,
    number_text,
    percent_text,
    share_text,
)
from harness.rundir.schema import (
    Generator,
    OperationFigures,
    RunRecord,
    Sessions,
    StepFigures,
    Times,
)

VERDICTS = {
    "PASS": ("Passed", "every objective was met and every session is accounted for"),
    "FAIL": ("Failed", "an objective was missed or sessions were left behind"),
    "NO_DATA": ("No data", "nothing was measured that could be judged"),
    "INVALID": ("Not valid", "the generator or the record was not good enough to judge by"),
    None: ("No verdict", "this record holds no verdict"),
}
IN_SESSION = ("in_session", "in session now")
"""The class of open sessions, in a report of a run that is going on."""
RARE_CLASSES = ("in_session", "disconnected")
"""Classes of sessions that are shown only if they are not empty."""
STEPS = (
    ("intended", "Intended"),
    ("connected", "Connected"),
    ("configured", "Opened"),
    ("joined", "Joined"),
    ("replied", "Got a reply"),
    ("finished", "Finished the story"),
    ("served", "Served: finished, answered, cleared"),
    ("cleared", "Cleared"),
)
NO_KNOWN_END = "no known end"
NO_OPERATION = "No operation was measured."
SHOWN_ELSEWHERE = {
    *("started", "run_id", "objectives", "target", "deployment_id", "locustfile", "host", "seed"),
    *("disk", "versions", "options", "foreseen", "overridden", "refused_messages"),
    # The headline has the name; "Arrivals" says what the schedule is.
    *("name", "schedule", "merged_from"),
}
"""Keys of ``how`` that are shown in a row or a place of their own, not in the list of settings."""
WITHIN_LIMIT = f"valid up to {MAX_LATE_SHARE:.0%}"
LATER_THAN_LIMIT = f"later than {LATE_MS:.0f} ms"
MOST_REASONS = 3
TOO_FEW = "too few"
FEWEST_FOR_P95 = 20
SECRET = re.compile(r"secret|token|passw|credential|api.?key|authori[sz]ation|client.?id", re.I)
USERINFO = re.compile(r"//[^/@\s]+@")
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and what it is, with its share of a whole where it has one (0 to 1)."""

    label: str
    figure: str
    note: str = ""
    key: str = ""
    share: float | None = None


def is_closed(record: RunRecord) -> bool:
    """Whether the workload is closed: without due times there is no corrected latency."""
    return record.workload == "closed"


def workload_line(record: RunRecord) -> str:
    """Open or closed, and what that means here; empty where it is not recorded."""
    how = record.how
    if record.workload == "open":
        return f"open workload: guests arrive by schedule: {how.arrivals or UNKNOWN}"
    if record.workload == "closed":
        many = "some" if how.slots is None else f"{how.slots:,}"
        return f"closed workload: {many} guests at a time, the next comes when one has left"
    return ""


PART_HEAD = ("Part", "From", "To", "Guests", "Opened", "Errors", "Replies", "Errors", "p50", "p95")


def part_rows(record: RunRecord) -> list[tuple[str, ...]]:
    """The parts of the run, a row each as :data:`PART_HEAD` says; none where there is only one."""
    rows: list[tuple[str, ...]] = []
    for part in record.parts:
        opened, reply = (
            part.operations.get(name, StepFigures()) for name in ("session_open", "reply")
        )
        few = (reply.count or 0) < FEWEST_FOR_P95
        rows.append(
            (
                part.name,
                length_text(part.from_s),
                length_text(part.to_s),
                count_text(part.guests),
                count_text(opened.count),
                count_text(opened.errors),
                count_text(reply.count),
                count_text(reply.errors),
                _part_time(reply, 50, reply.p50_ms),
                TOO_FEW if few else _part_time(reply, 95, reply.p95_ms),
            )
        )
    return rows


def _part_time(figures: StepFigures, percent: float, value_ms: float | None) -> str:
    """A percentile of a part; a lower bound where its rank lies among what never came."""
    count, errors = figures.count or 0, figures.errors or 0
    text = ms_text(value_ms)
    if value_ms is None or rank(percent, count) <= count - errors:
        return text
    return f"> {text}"


def warm_up_line(record: RunRecord) -> str:
    """A sentence about the warm-up that is not judged; empty if there was none."""
    warm_up = record.warm_up
    if warm_up is None:
        return ""
    reply = warm_up.operations.get("reply")
    text = (
        f"warm-up: times and errors of what began in the first {length_text(warm_up.length_s)} are "
        "not judged, but guests, stories and leftovers are"
    )
    if reply is None or reply.count is None:
        return text
    errors = reply.count - reply.outcomes.get("ok", 0) if reply.outcomes else 0
    failed = f", {errors:,} of them errors" if errors else ""
    return f"{text} ({reply.count:,} replies{failed}, p50 {time_text(reply, 'service', 'p50')})"


def verdict_word(record: RunRecord) -> str:
    """``Passed``, ``Failed``, ``No data``, ``Not valid`` or ``No verdict``, perhaps so far."""
    word = VERDICTS[record.verdict][0]
    return f"So far: {word.lower()}" if record.live else word


def why(record: RunRecord) -> str:
    """The first sentence or two: the verdict's reasons."""
    missed = [item for item in record.objectives if item.verdict != "PASS"]
    texts = [item.text for item in missed]
    others = [reason for reason in record.reasons if not any(text in reason for text in texts)]
    sentences = [wording.sentence(reason) for reason in others[:MOST_REASONS]]
    for verdict, word in (("FAIL", "Missed"), ("NO_DATA", "Without data")):
        phrases = [wording.missed_text(item) for item in missed if item.verdict == verdict]
        if phrases:
            more = len(phrases) - MOST_REASONS
            tail = f" and {more} more" if more > 0 else ""
            sentences.append(f"{word}: {'; '.join(phrases[:MOST_REASONS])}{tail}.")
    if not sentences and record.live and record.verdict == "PASS":
        return "The run is still going on, and every objective is met until now."
    return " ".join(sentences) or wording.sentence(VERDICTS[record.verdict][1])


def account(record: RunRecord) -> str:
    """The second sentence: what became of the sessions, and what was done about them since."""
    more = " There may be more sessions, which no ledger here lists."
    return _listed(record) + (more if record.sessions.may_lack else "")


def or_more(may_lack: bool | None) -> str:
    """What follows a number of leftovers where there may be some that no ledger lists."""
    return " or more" if may_lack else ""


def _listed(record: RunRecord) -> str:
    at_end, since = sessions_as_left(record), record.sessions
    whole = at_end.opened if at_end.intended is None else at_end.intended
    if whole is None or at_end.leftover is None:
        return "What became of its sessions is not recorded."
    if whole == 0:
        return "The ledger lists no session." if since.may_lack else "No session was opened."
    sessions = "session" if whole == 1 else "sessions"
    if record.live and not at_end.leftover:
        return (
            f"Of {count_text(whole)} {sessions} so far, {count_text(at_end.in_session)} are in "
            "session now; none is left behind."
        )
    if at_end.leftover:
        if since.leftover == at_end.leftover:
            left = "1 has" if at_end.leftover == 1 else f"{count_text(at_end.leftover)} have"
            return f"Of {count_text(whole)} {sessions}, {left} no proof of an end."
        left = "1 was" if at_end.leftover == 1 else f"{count_text(at_end.leftover)} were"
        text = f"Of {count_text(whole)} {sessions}, {left} left behind at the end of the run."
        if since.leftover:
            still = "1 is" if since.leftover == 1 else f"{count_text(since.leftover)} are"
            return f"{text} Since then some were ended; {still} still open."
        return f"{text} Since then {'it was' if at_end.leftover == 1 else 'all were'} ended."
    if at_end.cleared == whole:
        each = "The one session" if whole == 1 else f"All {count_text(whole)} sessions"
        return f"{each} {'was' if whole == 1 else 'were'} cleared, with proof."
    if since.may_lack:
        return f"All {count_text(whole)} {sessions} that the ledger lists are accounted for."
    return f"Nothing is left behind: all {count_text(whole)} {sessions} are accounted for."


def sessions_as_left(record: RunRecord) -> Sessions:
    """The account at the end of the run, before any sweep or audit."""
    return record.sessions_at_end or record.sessions


def account_rows(record: RunRecord) -> list[Row]:
    """The classes of the account; figures that are not recorded are dashes."""
    whole = record.sessions.intended
    rows = []
    for key, label in (*CLASSES.items(), IN_SESSION):
        value = getattr(record.sessions, key)
        if key in RARE_CLASSES and not value:
            continue
        share = value / whole if whole and value is not None else None
        note = share_text(value, whole)
        more = COUNTERS[key].more if key in COUNTERS else ""
        text = wording.capital(label) + (f": {more}" if more else "")
        rows.append(Row(text, count_text(value), note, key, share))
    return rows


def funnel_rows(record: RunRecord) -> list[Row]:
    """The steps of a session with the share of the first that reached each."""
    whole = record.funnel.intended
    before: int | None = None
    rows = []
    for key, label in STEPS:
        value = getattr(record.funnel, key)
        lost = before - value if before is not None and value is not None else None
        note = "" if not lost or lost < 0 else f"{count_text(lost)} fewer than the step before"
        share = value / whole if whole and value is not None else None
        rows.append(Row(label, count_text(value), note, key, share))
        before = value if value is not None else before
    return rows


def question_line(record: RunRecord) -> str:
    """The account of questions as a sum; empty where none is recorded."""
    questions = record.questions
    if questions.asked is None:
        return ""
    parts = [
        f"{label} {count_text(getattr(questions, key))}"
        for key, label in QUESTION_ENDS.items()
        if getattr(questions, key) or key == "answered"
    ]
    parts += _no_known_end(
        record, questions.asked, *(getattr(questions, key) for key in QUESTION_ENDS)
    )
    more = []
    if questions.ambiguous:
        more.append(f"{count_text(questions.ambiguous)} of the answers ambiguous")
    if questions.messages_per_question is not None:
        more.append(f"{questions.messages_per_question:.2f} messages each")
    tail = f" ({', '.join(more)})" if more else ""
    return f"questions asked {count_text(questions.asked)} = {' + '.join(parts)}{tail}"


def guest_line(record: RunRecord) -> str:
    """What became of the guests; empty where it is not recorded."""
    guests = record.guests
    why = ", ".join(f"{in_plain(word)} {count_text(many)}" for word, many in guests.why.items())
    ended = {"served": guests.served, "not served": guests.failed}
    return _begun_line(record, "guests", guests.arrived, ended, guests.cut, why)


def story_line(record: RunRecord) -> str:
    """How the stories ended, and where most broke off; empty where it is not recorded."""
    stories = record.stories
    where = "; ".join(
        f"{one.step}: {count_text(one.count)}" for one in stories.where[:MOST_REASONS]
    )
    ended = {"finished": stories.finished, "broken off": stories.broken_off}
    return _begun_line(record, "stories", stories.begun, ended, stories.cut, where)


def _begun_line(
    record: RunRecord,
    what: str,
    begun: int | None,
    ended: Mapping[str, int | None],
    cut: int | None,
    more: str,
) -> str:
    """How many began and how they ended; ``more`` is appended in brackets."""
    if begun is None:
        return ""
    parts = [f"{how} {count_text(many)}" for how, many in ended.items()]
    parts += [f"cut by the end of the run {count_text(cut)}"] if cut else []
    parts += _no_known_end(record, begun, *ended.values(), cut)
    return f"{what} {count_text(begun)}: {' · '.join(parts)}{f' ({more})' if more else ''}"


def _no_known_end(record: RunRecord, began: int, *ended: int | None) -> list[str]:
    """The count of those without a known end, because their process was lost."""
    missing = began - sum(number or 0 for number in ended)
    if record.live or missing <= 0:
        return []
    return [f"{NO_KNOWN_END} {count_text(missing)}"]


def silence_line(record: RunRecord) -> str:
    """A warning if most guests who were served asked nothing: they are easy to serve."""
    silent, served = record.guests.asked_nothing, record.guests.served
    if not silent or not served or silent * 2 <= served:
        return ""
    return (
        f"{count_text(silent)} of {count_text(served)} guests who were served never asked anything"
    )


def accounts(record: RunRecord) -> list[str]:
    """The accounts of guests, stories and questions, a line each."""
    lines = (guest_line, story_line, question_line, silence_line)
    return [text for line in lines if (text := line(record))]


def not_judged(record: RunRecord) -> str:
    """Errors that no objective looks at, in one line; empty where there are none."""
    return f"not judged: {'; '.join(record.not_judged)}" if record.not_judged else ""


def length_rows(record: RunRecord) -> list[Row]:
    """How long the sessions lasted, and whether the run's own figures agree with each other."""
    rows = []
    lengths = record.session_length_ms
    if lengths.p50 is not None:
        rows.append(Row("A session lasted", _times_text(lengths, "p50", "p95", "max")))
    little = record.little
    if little is None or little.occupancy is None or little.expected_occupancy is None:
        return rows
    figure = (
        f"{little.occupancy:,.1f} on average; arrival rate times session length gives "
        f"{little.expected_occupancy:,.1f}"
    )
    note = "" if little.off is None else f"{percent_text(little.off)} apart"
    return [*rows, Row("Guests in session at once", figure, note)]


def _times_text(times: Times, *names: str) -> str:
    """The known percentiles as text: ``p50 1.2 s · p99.9 3 s``."""
    known = {name.replace("_", "."): getattr(times, name) for name in names}
    parts = [f"{name} {ms_text(value)}" for name, value in known.items() if value is not None]
    return " · ".join(parts) or UNKNOWN


def time_text(figures: OperationFigures, clock: str, name: str) -> str:
    """A percentile of an operation, such as ``service``, ``p99``.

    Where so few values were measured that none lies above it, it would only be the highest value
    again; then it says so.
    """
    times: Times = getattr(figures, f"{clock}_ms")
    value: float | None = getattr(times, name)
    percent = QUANTILES.get(name, 0)
    if name in times.lower_bounds:
        return f"> {ms_text(value)}"
    if value is not None and 50 < percent < 100 and figures.count is not None:
        timed = figures.outcomes.get("ok", 0) + figures.outcomes.get("timeout", 0) or figures.count
        if rank(percent, timed) == timed:
            return TOO_FEW
    return ms_text(value)


def failures(record: RunRecord, operation: str) -> tuple[int | None, float | None]:
    """How many of an operation did not end ok, and their share."""
    figures = record.operations[operation]
    if not figures.outcomes:
        return None, None
    whole = sum(figures.outcomes.values())
    failed = whole - figures.outcomes.get("ok", 0)
    return failed, failed / whole if whole else None


def generator_rows(record: RunRecord) -> list[Row]:
    """Generator health, one row per figure."""
    generator = record.generator
    loop_lag, arrival_lag = (
        _times_text(times, "p50", "p99", "p99_9", "max")
        for times in (generator.lag_loop_ms, generator.lag_arrival_ms)
    )
    stamps = {
        "kernel": "by the kernel, as they came in",
        "userspace": "by our process: stalls of the generator count as the service's time",
    }
    late = f"{WITHIN_LIMIT} of the time"
    memory = UNKNOWN if generator.rss_mb_max is None else f"{generator.rss_mb_max:,.0f} MB"
    return [
        Row("Generator late (decides validity)", lag_text(generator), late),
        Row("Highest CPU of one process", core_text(generator.cpu_max), "of one core"),
        Row("Worker processes lost", count_text(generator.workers_lost)),
        Row("Event loop lag", loop_lag, "by time"),
        Row(
            "From arrival until our code read it",
            arrival_lag,
            "by messages",
        ),
        Row("Arrivals stamped", stamps.get(generator.arrival_stamps or "", UNKNOWN)),
        Row("Worker processes", count_text(generator.workers)),
        Row("Highest memory of one process", memory),
    ]


def lag_text(generator: Generator) -> str:
    """How late the worst process was, by time."""
    if generator.late_share is None:
        return UNKNOWN
    text = f"{LATER_THAN_LIMIT} in {percent_text(generator.late_share)} of the time"
    if (generator.stood_still_s or 0) * 1000 > LATE_MS:
        text += f", at most {length_text(round(generator.stood_still_s or 0, 2))} at a stretch"
    return text


def how_rows(record: RunRecord) -> list[Row]:
    """How the run was made, without secrets."""
    how = record.how
    pairs: list[tuple[str, object]] = [
        ("Target", how.target),
        ("Deployment", how.deployment_id),
        ("Locustfile", how.locustfile),
        ("Host", how.host),
        ("Seed", how.seed),
        ("Length", length_text(record.duration_s)),
    ]
    pairs += [("Disk", disk_text(how.disk))] if how.disk else []
    pairs += [
        _setting(name, value)
        for name, value in how.model_dump(exclude_unset=True, exclude=SHOWN_ELSEWHERE).items()
        if value not in (None, "", [], {})
    ]
    pairs += [(f"Version of {name}", version) for name, version in how.versions.items()]
    pairs += [
        _setting(f"option_{name}", value)
        for name, value in how.options.items()
        if value is not None
    ]
    return [Row(label, safe_text(label, value)) for label, value in pairs]


def _setting(name: str, value: object) -> tuple[str, object]:
    """The name and value of a setting of the record, as people write them."""
    label = in_plain(name).capitalize()
    if name == "mix" and isinstance(value, dict):
        return label, ", ".join(f"{kind} {percent_text(share)}" for kind, share in value.items())
    if isinstance(value, bool):
        return label, "yes" if value else "no"
    if name.endswith("_s") and isinstance(value, int | float):
        return label.removesuffix(" s"), length_text(value)
    if isinstance(value, list):
        return label, ", ".join(map(str, value))
    return label, value


def safe_text(name: str, value: object) -> str:
    """A setting as text; what its name or its form shows to be a secret is hidden."""
    if value is None or value == "":
        return UNKNOWN
    if SECRET.search(name):
        return HIDDEN
    return USERINFO.sub(f"//{HIDDEN}@", str(value))


def place(target: str | None) -> str:
    """A target's address without its query."""
    return safe_text("target", target).partition("?")[0]


def notices(record: RunRecord) -> list[str]:
    """What a reader must know before believing the figures."""
    lines = []
    if record.live:
        lines.append(
            f"The run was still going on at {moment_text(record.ended)}: these are its figures "
            "until then."
        )
    elif record.complete is None:
        lines.append("This record does not say whether the run came to its end.")
    elif not record.complete:
        lines.append("This is a partial report: the run did not come to its end.")
    sessions = record.sessions
    classes = [
        getattr(sessions, key)
        for key in (*CLASSES, IN_SESSION[0])
        if key not in RARE_CLASSES or getattr(sessions, key) is not None
    ]
    if sessions.intended is not None and None not in classes and sum(classes) != sessions.intended:
        lines.append(
            f"The account does not add up: {count_text(sessions.intended)} sessions were intended, "
            f"the classes hold {count_text(sum(classes))}."
        )
    if record.generator.workers_lost:
        lines.append(
            f"{count_text(record.generator.workers_lost)} of {count_text(record.generator.workers)}"
            " worker processes were lost on the way; what they did not write is missing here."
        )
    if record.generator.arrival_stamps == "userspace":
        lines.append(
            "Arrivals were stamped by our own process, not by the kernel: stalls of the generator "
            "are in the service times."
        )
    lines += [
        wording.sentence(text) for text in (not_judged(record), record.questions.advice) if text
    ]
    for one in record.how.overridden:
        rule, reason, refusal = (one.get(key, UNKNOWN) for key in ("rule", "reason", "said"))
        lines.append(f"The rule “{rule}” was overridden ({reason}). It said: {refusal}.")
    if record.how.merged_from:
        runs = ", ".join(record.how.merged_from)
        lines.append(f"Several runs that went on side by side were made one: {runs}.")
    lines += [f"Warned before the run: {sentence}." for sentence in record.how.foreseen]
    if refused := record.how.refused_messages:
        kinds = ", ".join(f"{count_text(many)} {why}" for why, many in sorted(refused.items()))
        lines.append(f"The master's port refused messages: {kinds}.")
    lines += [f"Turned away: {why}." for why in record.how.dismissed_workers]
    for worker, ahead_s in record.how.clocks.items():
        way = "ahead of" if ahead_s > 0 else "behind"
        lines.append(
            f"The clock of worker {worker} was {abs(ahead_s):.1f} s {way} the master's; its times "
            "are corrected."
        )
    return lines


def details(block: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """A nested block (sweep, audit) as flat names and figures; ``before`` is the prefix of each
    name."""
    for name, value in block.items():
        label = in_plain(f"{before}{name}")
        if isinstance(value, dict):
            yield from details(value, f"{label} · ")
        elif isinstance(value, list):
            yield label, f"{len(value)} listed in the record" if value else "none"
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield label, number_text(value)
        else:
            yield label, safe_text(label, value)
