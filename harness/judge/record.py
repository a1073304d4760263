"""``run.json``: the record of a run, made from the files that it left, also after a crash.

A pure function of the run directory: it can be made again at any time. It has an account of
sessions, questions, stories and guests: each of these is in exactly one class, and the sum is
checked. Errors of the locustfile itself are counted by kind, file and line, without their text,
which may hold private data of the story.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.clock import utc_iso
from harness.errors import ExitCode
from harness.guest.outcomes import Why
from harness.judge.gate import GateResult, Percentile, Time, Verdict, judge
from harness.judge.objective import Kind, Objective, parse_objective
from harness.judge.series import parts_block, span_s
from harness.judge.validity import (
    broken,
    check_little,
    gaps,
    lag_complaints,
    lateness,
    left_out,
    lost_arrivals,
    mix_complaints,
    not_judged,
    not_offered,
    story_error_reasons,
    unbalanced,
)
from harness.ledger.reader import IN_USE, Account, read_account
from harness.measure.histogram import Histogram
from harness.measure.model import (
    ANSWERS,
    CLASSES,
    OPERATIONS,
    Outcome,
    Section,
    counters_of,
)
from harness.measure.recorder import (
    ARRIVAL_LATENESS,
    GUESTS_ARRIVED,
    GUESTS_ASKED_NOTHING,
    GUESTS_CONNECTED,
    GUESTS_CUT,
    GUESTS_FAILED,
    GUESTS_JOINED,
    GUESTS_OF,
    GUESTS_REPLIED,
    GUESTS_SERVED,
    HEARD,
    LAG_ARRIVAL,
    LAG_LOOP,
    LATE_ANSWERS,
    LISTENED,
    NEVER_ASKED,
    QUESTION_MESSAGES,
    QUESTIONS_AMBIGUOUS,
    QUESTIONS_ASKED,
    REPLIES_RECEIVED,
    SESSION_LENGTH,
    STORIES_BEGUN,
    STORIES_BROKEN,
    STORIES_CUT,
    STORIES_FINISHED,
    STORIES_TOLD,
    STORY_ERROR,
    UNASKED,
    WARM_UP,
    by_reason,
    service_tag,
    with_warm_up,
)
from harness.measure.snapshot import (
    Interval,
    Measurements,
    Tried,
    read_intervals,
    read_measurements,
)
from harness.rundir.layout import (
    ABORTED,
    RECORD_SCHEMA,
    RunDirectory,
    read_label,
    read_start,
    worker_of,
    write_atomically,
    write_json,
)

QUANTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}
HOW_NOT = ("run_id", "objectives", "baseline", "platform", "learned")
"""Keys of ``start.json`` that do not describe how the run was made, or have a section of their
own."""
DEFAULT_OBJECTIVES = ("leftovers == 0", "guests failed < 1%")
"""What every run is judged by; an objective of the user's on guests takes the second one's place.
"""
NOT_MISSED = (Verdict.PASS, Verdict.NO_DATA)
EXIT_CODES = {
    Verdict.PASS: ExitCode.PASS,
    Verdict.FAIL: ExitCode.OBJECTIVES,
    Verdict.NO_DATA: ExitCode.NO_DATA,
    Verdict.INVALID: ExitCode.INVALID,
}


def objectives_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The objectives of a run: the defaults that are not replaced, and its own."""
    own = dict.fromkeys(texts)
    replaced = any(parse_objective(text).subject == "guests" for text in own)
    defaults = DEFAULT_OBJECTIVES[:1] if replaced else DEFAULT_OBJECTIVES
    return tuple(dict.fromkeys([*defaults, *own]))


def judged_by(start: Mapping[str, Any]) -> list[Objective]:
    """The objectives of a run, from its start file."""
    texts = start.get("objectives", ())
    return [
        replace(parse_objective(text), by_default=text not in texts)
        for text in objectives_of(texts)
    ]


def build_record(
    directory: Path,
    *,
    incomplete: str = "",
    live: bool = False,
    at_end: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a run from its files; ``incomplete`` says why it ended early, if it did.

    ``at_end``: the account of its sessions when it ended, if ledgers may have been swept since.

    ``live``: the run is going on. The record then shows its state so far; sessions of running
    processes count as in session, not as leftovers.

    Raises ConfigError or LedgerError if files exist but can't be read.
    """
    start = read_start(directory)
    account = read_account(directory)
    measured = read_measurements(directory)
    intervals = [
        interval
        for path in RunDirectory(directory).all_intervals()
        for interval in read_intervals(path)
    ]
    lost = lost_arrivals(directory, intervals)
    measured.arrivals.update(lost)
    record: dict[str, Any] = {
        "schema": RECORD_SCHEMA,
        "run_id": directory.name,
        "verdict": "",
        "exit_code": 0,
        "reasons": [],
        "complete": not (incomplete or account.workers_lost or account.behind or live),
        "workload": ("open" if start["schedule"] else "closed") if "schedule" in start else None,
        **_times(start, intervals),
        "sessions": at_end or sessions_block(account),
        "funnel": _funnel(account, measured),
        "operations": operations_of(measured),
        "warm_up": {
            "length_s": start["warm_up_s"],
            "operations": operations_of(measured, WARM_UP),
        }
        if start.get("warm_up_s")
        else None,
        "parts": parts_block(
            directory, (start.get("schedule") or {}).get("parts") or (), intervals
        ),
        "replies": _replies(measured),
        "questions": questions_block(measured.outcomes, measured.counts),
        "stories": stories_block(measured.counts),
        "guests": guests_block(measured.counts),
        "arrivals": measured.arrivals,
        "arrival_lateness_ms": _figures(measured, ARRIVAL_LATENESS),
        "session_length_ms": _figures(measured, SESSION_LENGTH),
        "little": None,
        "generator": _generator(start, account, measured, intervals),
        "forensics": {
            name: measured.counts.get(name, 0) for name in counters_of(Section.FORENSICS)
        },
        "story_errors": _most_first(by_reason(measured.counts, STORY_ERROR), "what"),
        "mix": mix_block(measured.counts, start.get("mix") or {}),
        "how": {key: value for key, value in start.items() if key not in HOW_NOT}
        | read_label(directory),
        "baseline": start.get("baseline"),
        "sweep": None,
        "audit": None,
    }
    if record["workload"] == "closed":
        for blocks in (record["operations"], (record["warm_up"] or {}).get("operations", {})):
            for entry in blocks.values():
                entry["corrected_ms"] = {}  # no schedule, so no due times
    if live:
        record["live"] = True
        in_session = record["sessions"]["leftover_reasons"].pop(IN_USE, 0)
        record["sessions"]["leftover"] -= in_session
        record["sessions"]["in_session"] = in_session
        record["sessions"]["may_lack"] = account.may_hide
    if record["complete"]:
        record["little"] = check_little(intervals, record["duration_s"])
    objectives = judged_by(start)
    load = (
        []
        if live
        else not_offered(
            start,
            intervals,
            measured.arrivals,
            {item.subject for item in objectives},
            never_asked=by_reason(measured.counts, NEVER_ASKED),
            lost=lost.get("dropped", 0),
        )
    )
    if not live and start.get("schedule"):
        load += mix_complaints(record["mix"])
    record["not_offered"] = load
    invalid = [
        *_invalid(record, directory, measured, account, incomplete),
        *left_out(measured.damaged),
        *([] if live else gaps(intervals)),
        *load,
    ]
    record["not_judged"] = not_judged(record["operations"], objectives)
    result = judge(
        objectives,
        record,
        percentile=percentile_of(measured),
        invalid=invalid,
        unfinished=live,
        confident=bool(start.get("confident")),
    )
    put_verdict(record, result, aborted=start.get(ABORTED, ()))
    if account.damaged and not account.intended:
        record["sessions"] = record["funnel"] = {}  # unknown, which is not zero
    return record


def write_record(directory: Path, record: dict[str, Any]) -> Path:
    """Write ``run.json`` in one step, so that no reader sees half of it. Raises OSError.

    A record that does not match its published schema is an error of the harness; it is written
    nevertheless, with a note.
    """
    from pydantic import ValidationError

    from harness.rundir.schema import written  # these take a while: not while guests come

    path = RunDirectory(directory).record
    try:
        return write_atomically(path, written(record))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        why = f"this record does not keep to its schema: {place}: {first['msg']}"
        return write_json(path, {**record, "reasons": [*record.get("reasons", ()), why]})


def sessions_block(account: Account) -> dict[str, Any]:
    """The account: ``intended`` is the sum of the six classes that follow ``opened``."""
    numbers = {name: getattr(account, name) for name in ("intended", "opened", *CLASSES)}
    return {
        **numbers,
        "leftover_reasons": dict(account.reasons),
        "balanced": account.balanced,
        "may_lack": bool(account.unsure_at_end),
    }


def _funnel(account: Account, measured: Measurements) -> dict[str, int]:
    """How many sessions reached each step."""
    configured = with_warm_up(measured.outcomes, "session_open").get(Outcome.OK, 0)
    return {
        "intended": account.intended,
        "connected": measured.counts.get(GUESTS_CONNECTED, 0),
        "configured": configured,
        "joined": measured.counts.get(GUESTS_JOINED, 0),
        "replied": measured.counts.get(GUESTS_REPLIED, 0),
        "finished": measured.counts.get(STORIES_FINISHED, 0),
        "served": measured.counts.get(GUESTS_SERVED, 0),
        "cleared": account.cleared,
    }


def _replies(measured: Measurements) -> dict[str, int]:
    """Messages of the other side: how many came, and how many waits for one were in vain."""
    awaited = with_warm_up(measured.outcomes, "reply")
    return {
        "received": measured.counts.get(REPLIES_RECEIVED, 0),
        "answered": awaited.get(Outcome.OK, 0),
        "no_reply": awaited.get(Outcome.TIMEOUT, 0),
    }


ENDS: Mapping[str, tuple[Outcome, ...]] = MappingProxyType(
    {
        "answered": (Outcome.OK,),
        "timed_out": (Outcome.TIMEOUT,),
        "unanswered": (Outcome.UNANSWERED,),
        "cut_short": (Outcome.CUT_SHORT,),
        "lost": (Outcome.LOST, Outcome.EXPIRED),
    }
)
"""How questions end, by the outcomes of their operations; all other outcomes are ``failed``."""
MANY_MESSAGES = 1.2
"""With more messages to a question than this, answers come in parts."""
SOME_AMBIGUOUS = 0.01
DECLARE = (
    "say how the flow speaks: greets (of the target or the GuestUser class, or --greets) if it "
    "says something by itself; await_reply(turn=True) or --turns on if it answers in several "
    "messages; expect_reply=False for what needs no answer"
)
WAIT_LONGER = "; a longer --turn-silence if an answer's messages come further apart than that"
"""Added if guests wait for whole turns: a message after the end of a turn makes it ambiguous."""


def questions_block(
    outcomes: Mapping[str, Mapping[str, int]], counts: Mapping[str, int]
) -> dict[str, Any]:
    """The account of questions: ``asked`` is the sum of the six that follow it."""
    ended = Counter[str]()
    for operation in ANSWERS:
        ended.update(with_warm_up(outcomes, operation))
    block: dict[str, Any] = {"asked": counts.get(QUESTIONS_ASKED, 0)}
    block |= {name: sum(ended[one] for one in ends) for name, ends in ENDS.items()}
    known = {outcome for ends in ENDS.values() for outcome in ends}
    block["failed"] = sum(many for outcome, many in ended.items() if outcome not in known)
    block["open"] = block["asked"] - sum(ended.values())
    block["ambiguous"] = counts.get(QUESTIONS_AMBIGUOUS, 0)
    messages, answered = counts.get(QUESTION_MESSAGES, 0), block["answered"]
    block["messages_per_question"] = round(messages / answered, 3) if answered else None
    block["late_answers"] = counts.get(LATE_ANSWERS, 0)
    block["unasked"] = counts.get(UNASKED, 0)
    block["listened"] = counts.get(LISTENED, 0)
    block["heard_more"] = counts.get(HEARD, 0)
    block["doubtful_because"] = (
        f"{block['heard_more']:,} of {block['listened']:,} guests who stayed silent before they "
        "left heard a message that answers nothing they had asked: answers may have been matched "
        "to the wrong questions"
        if block["heard_more"]
        else ""
    )
    turns = with_warm_up(outcomes, "turn").get(Outcome.OK, 0)
    replies = with_warm_up(outcomes, "reply").get(Outcome.OK, 0)
    block["advice"] = _advice(block, by_turns=0 < replies <= turns)
    return block


def _advice(block: Mapping[str, Any], *, by_turns: bool) -> str:
    """What to do if answers and questions do not match one to one; empty if they do.

    ``by_turns``: the guests waited for all of each answer, however many messages it had.
    """
    each, answered = block["messages_per_question"], block["answered"]
    ambiguous = block["ambiguous"]
    reasons = [block["doubtful_because"]] if block["doubtful_because"] else []
    if each is not None and each > MANY_MESSAGES and not by_turns:
        reasons.append(f"a question was answered by {each:.2f} messages on average")
    if ambiguous > SOME_AMBIGUOUS * max(1, answered):
        reasons.append(f"{ambiguous:,} of {answered:,} answers are ambiguous")
    longer = WAIT_LONGER if by_turns and ambiguous else ""
    return f"{'; '.join(reasons)}. To be sure, {DECLARE}{longer}" if reasons else ""


def stories_block(counts: Mapping[str, int]) -> dict[str, Any]:
    """The account of stories, and where they broke off, the most frequent first."""
    where = by_reason(counts, STORIES_BROKEN)
    return {
        "begun": counts.get(STORIES_BEGUN, 0),
        "finished": counts.get(STORIES_FINISHED, 0),
        "broken_off": sum(where.values()),
        "cut": counts.get(STORIES_CUT, 0),
        "where": _most_first(where, "step"),
        "told": sorted(by_reason(counts, STORIES_TOLD)),
    }


def guests_block(counts: Mapping[str, int]) -> dict[str, Any]:
    """The account of guests, and why some were not served."""
    why = by_reason(counts, GUESTS_FAILED)
    return {
        "arrived": counts.get(GUESTS_ARRIVED, 0),
        "served": counts.get(GUESTS_SERVED, 0),
        "failed": sum(why.values()),
        "cut": counts.get(GUESTS_CUT, 0),
        "asked_nothing": counts.get(GUESTS_ASKED_NOTHING, 0),
        "why": {str(one): why[one] for one in Why if one in why},
    }


def _most_first(counts: Mapping[str, int], name: str) -> list[dict[str, Any]]:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{name: what, "count": many} for what, many in most]


def mix_block(counts: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, Any]:
    """The record's ``mix``: the guests of each class that came, and the share asked for, if any."""
    came = by_reason(counts, GUESTS_OF)
    return {
        name: {"came": came.get(name, 0), "share_asked_for": shares.get(name)}
        for name in sorted({*came, *shares})
    }


def operations_of(measured: Measurements, beginning: str = "") -> dict[str, Any]:
    """The figures of the judged operations or, by ``beginning``, of those begun in the warm-up."""
    blocks = {}
    for name in OPERATIONS:
        recorded = beginning + name
        outcomes = measured.outcomes.get(recorded)
        service = measured.histograms.get(service_tag(recorded), Histogram())
        if not outcomes and OPERATIONS[name].afterwards and service.count:
            outcomes = Counter({str(Outcome.OK): service.count})
        if not outcomes:
            continue
        blocks[name] = operation_block(
            outcomes, measured.tried(recorded), measured.tried(recorded, corrected=True)
        )
    return blocks


def operation_block(
    outcomes: Mapping[str, int], service: Tried, corrected: Tried
) -> dict[str, Any]:
    """An operation's figures in the form of a record."""
    return {
        "count": sum(outcomes.values()),
        "outcomes": dict(outcomes),
        "ambiguous": service.ambiguous,
        "cut_early": service.cut_early,
        **({"never_started": corrected.never_started} if corrected.never_started else {}),
        "service_ms": times_block(service),
        "corrected_ms": times_block(corrected),
    }


def times_block(tried: Tried) -> dict[str, Any]:
    """Percentiles over all that was tried; ``lower_bounds`` names those that are lower bounds."""
    figures = {name: tried.at(percent) for name, percent in QUANTILES.items()}
    block: dict[str, Any] = {name: figure.ms for name, figure in figures.items()}
    block["mean"] = None if tried.without or not tried.came else tried.exact().mean_ms
    flags = {
        "lower_bounds": [name for name, figure in figures.items() if figure.at_least],
        "unsure": [name for name, figure in figures.items() if figure.unsure],
    }
    return block | {flag: names for flag, names in flags.items() if names}


def percentile_of(measured: Measurements) -> Percentile:
    """The function by which the gate gets any percentile of a run."""

    def percentile(operation: str, kind: Kind, percent: float) -> Time:
        return measured.tried(operation, corrected=kind is Kind.CORRECTED).at(percent)

    return percentile


def _figures(measured: Measurements, tag: str) -> dict[str, float | None]:
    histogram = measured.histograms.get(tag, Histogram())
    values = histogram.percentiles_ms(list(QUANTILES.values()))
    figures = dict(zip(QUANTILES, values, strict=True))
    return {**figures, "mean": histogram.mean_ms}


def _generator(
    start: dict[str, Any],
    account: Account,
    measured: Measurements,
    intervals: list[Interval],
) -> dict[str, Any]:
    worst = next(iter(lateness(measured.loop_lag)), None)
    return {
        "lag_loop_ms": _figures(measured, LAG_LOOP),
        "lag_arrival_ms": _figures(measured, LAG_ARRIVAL),
        "late_share": None if worst is None else worst.share,
        "stood_still_s": None if worst is None else worst.longest_s,
        "latest_process": None if worst is None else worst.process,
        "arrival_stamps": start.get("arrival_stamps"),
        "workers": account.workers,
        "workers_lost": account.workers_lost,
        "cpu_max": max((i.process.get("cpu", 0.0) for i in intervals), default=None),
        "rss_mb_max": max((i.process.get("rss_mb", 0.0) for i in intervals), default=None),
    }


def _times(start: dict[str, Any], intervals: list[Interval]) -> dict[str, Any]:
    if (span := span_s(intervals)) is None:
        return {"started": start.get("started"), "ended": None, "duration_s": None}
    return {
        "started": start.get("started") or utc_iso(round(span[0] * 1e9)),
        "ended": utc_iso(round(span[1] * 1e9)),
        "duration_s": round(span[1] - span[0], 3),
    }


def put_verdict(record: dict[str, Any], result: GateResult, *, aborted: Sequence[str] = ()) -> None:
    """Write the gate's result into a record, with its exit code.

    A run that an objective stopped early (``aborted`` names it) can't pass any more, even if the
    figure was back within its limit at the end, or too little was left to judge.
    """
    verdict = Verdict.FAIL if aborted and result.verdict in NOT_MISSED else result.verdict
    record["objectives"] = [judgement.as_dict() for judgement in result.judgements]
    record["verdict"] = str(verdict)
    missed = [j.text() for j in result.judgements if j.verdict is not Verdict.PASS]
    record["invalid_because"] = list(result.reasons)
    stopped = [f"stopped early: {why}" for why in aborted]
    record["reasons"] = [*result.reasons, *stopped, *missed]
    record["exit_code"] = int(exit_code_of(record))


def _invalid(
    record: dict[str, Any],
    directory: Path,
    measured: Measurements,
    account: Account,
    incomplete: str,
) -> list[str]:
    unsure = account.unsure if record.get("live") else account.unsure_at_end
    reasons = [*unsure, *([incomplete] if incomplete else [])]
    if account.workers_lost:
        reasons.append(
            f"{account.workers_lost} of {account.workers} processes did not end properly"
        )
    if not account.balanced:
        reasons.append("the account of sessions does not add up")
    if record["complete"]:
        reasons += unbalanced(record)
    measuring = set(measured.workers)
    silent = [p.name for p in RunDirectory(directory).ledgers() if worker_of(p) not in measuring]
    if silent:
        reasons.append(f"there are no measurements beside {', '.join(silent)}")
    reasons += lag_complaints(lateness(measured.loop_lag))
    reasons += story_error_reasons(record["story_errors"])
    if miscounted := broken(record["little"]):
        reasons.append(miscounted)
    failures = RunDirectory(directory).failures
    if failures.exists():
        reasons += failures.read_text(encoding="utf-8").splitlines()
    return reasons


def declare_invalid(record: dict[str, Any], why: str) -> None:
    """Make the run INVALID for a reason that came up after the gate has judged it."""
    record["verdict"] = str(Verdict.INVALID)
    record["invalid_because"] = [*record.get("invalid_because", ()), why]
    record["reasons"] = [why, *record["reasons"]]
    record["exit_code"] = int(exit_code_of(record))


def exit_code_of(record: Mapping[str, Any]) -> ExitCode:
    """The exit code for a record; leftovers come first (see ``harness.errors``)."""
    if sessions_as_left(record).get("leftover"):
        return ExitCode.LEFTOVERS
    return EXIT_CODES[Verdict(record["verdict"])]


def sessions_as_left(record: Mapping[str, Any]) -> dict[str, Any]:
    """The account of sessions at the end of the run, before any sweep or audit."""
    at_end: dict[str, Any] | None = record.get("sessions_at_end")
    return at_end if at_end is not None else dict(record.get("sessions") or {})


def record_of_nothing(directory: Path, *why: str) -> dict[str, Any]:
    """A minimal record for a run whose files can't be read.

    It has the leftovers of the ledger, if that can be read.
    """
    sessions: dict[str, Any] = {}
    with suppress(Exception):  # the reasons given say already that more can't be read
        account = read_account(directory)
        if account.intended or not account.damaged:
            sessions = sessions_block(account)
    record = {
        "schema": RECORD_SCHEMA,
        "run_id": directory.name,
        "verdict": str(Verdict.INVALID),
        "exit_code": int(ExitCode.INVALID),
        "reasons": list(why),
        "invalid_because": list(why),
        "complete": False,
        "ended": utc_iso(),
        "sessions": sessions,
        "operations": {},
        "generator": {},
    }
    if sessions:
        record["exit_code"] = int(exit_code_of(record))
    return record
