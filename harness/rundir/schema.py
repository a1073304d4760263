"""The shape of ``run.json``, version 1: the one place that says which keys there are.

A record is written by these models (:func:`written`), and the published ``run.schema.json`` is made
from them (``python -m harness.rundir.schema`` prints it). Every key may be missing, as in the
record of a run that crashed: then it is None here and "not recorded" in a report, never 0. Unknown
keys are kept, so that a later harness may add some without a new version.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PlainSerializer

Count = Annotated[int, Field(ge=0)]
Verdict = Literal["PASS", "FAIL", "NO_DATA", "INVALID"]


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[datetime, PlainSerializer(_iso, when_used="json")]


class Part(BaseModel):
    """A block of the record."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Sessions(Part):
    """The account; every session that was intended is in exactly one of the classes below."""

    intended: Count | None = None
    opened: Count | None = None
    cleared: Count | None = None
    ended_by_service: Count | None = None
    never_configured: Count | None = None
    settled: Count | None = None
    disconnected: Count | None = None
    in_session: Count | None = None
    """Only in a report of a run that is going on."""
    leftover: Count | None = None
    leftover_reasons: dict[str, Count] = Field(default_factory=dict)
    balanced: bool | None = None
    """Whether the classes add up to ``intended``."""
    may_lack: bool | None = None
    """Whether there may be sessions that no ledger here lists."""


class Funnel(Part):
    """How many sessions came as far as each step."""

    intended: Count | None = None
    connected: Count | None = None
    configured: Count | None = None
    joined: Count | None = None
    replied: Count | None = None
    finished: Count | None = None
    served: Count | None = None
    cleared: Count | None = None


class Replies(Part):
    """Messages of the other side, and how often one was waited for in vain."""

    received: Count | None = None
    answered: Count | None = None
    no_reply: Count | None = None


class Questions(Part):
    """The account of questions: every one asked is in exactly one of the six classes after it."""

    asked: Count | None = None
    answered: Count | None = None
    timed_out: Count | None = None
    """the story waited for an answer in vain"""
    unanswered: Count | None = None
    """the story went on or ended first"""
    cut_short: Count | None = None
    """the run ended first"""
    failed: Count | None = None
    """an error answered it"""
    lost: Count | None = None
    """with the connection or the session"""
    open: int | None = None
    """asked and not ended: anything but 0 makes the run INVALID"""
    ambiguous: Count | None = None
    """of the answered ones: those for which it is unclear which message answered them"""
    messages_per_question: FiniteFloat | None = None
    late_answers: Count | None = None
    """to questions that had timed out"""
    unasked: Count | None = None
    """messages that came before anything was asked"""
    listened: Count | None = None
    """guests who stayed silent before they left, to hear what nobody had asked for"""
    heard_more: Count | None = None
    """those of them who heard something"""
    doubtful_because: str = ""
    """why it is unclear which questions this run's answers belong to"""
    advice: str = ""


class BrokenOff(Part):
    """Where stories broke off, and how many."""

    step: str
    count: Count


class Stories(Part):
    """The account of stories: each that began finished, broke off, or was cut by the run's end."""

    begun: Count | None = None
    finished: Count | None = None
    broken_off: Count | None = None
    cut: Count | None = None
    where: list[BrokenOff] = Field(default_factory=list)
    told: list[str] = Field(default_factory=list)
    """what the service gave that stories could not go on with, each kind once"""


class Guests(Part):
    """The account of guests. Served: came in, finished its story, was answered, was cleared."""

    arrived: Count | None = None
    served: Count | None = None
    failed: Count | None = None
    cut: Count | None = None
    asked_nothing: Count | None = None
    """of those who were served, how many asked no question though replies were expected"""
    why: dict[str, Count] = Field(default_factory=dict)


class Times(Part):
    """Milliseconds; None where nothing was measured.

    What never came ranks above all that did. ``lower_bounds`` names the figures whose rank lies
    there: the true ones are higher. ``unsure`` names those that hang on what the end of the run
    cut short.
    """

    p50: FiniteFloat | None = None
    p90: FiniteFloat | None = None
    p95: FiniteFloat | None = None
    p99: FiniteFloat | None = None
    p99_9: FiniteFloat | None = None
    max: FiniteFloat | None = None
    mean: FiniteFloat | None = None
    lower_bounds: list[str] = Field(default_factory=list)
    unsure: list[str] = Field(default_factory=list)


class OperationFigures(Part):
    """One operation over the whole run."""

    count: Count | None = None
    outcomes: dict[str, Count] = Field(default_factory=dict)
    ambiguous: Count | None = None
    """of those that came, how many came nobody knows when: they are in no time"""
    cut_early: Count | None = None
    """of those cut short by the end of the run, how many had not waited longer than others"""
    never_started: Count | None = None
    """guests who were due and were dropped: in the corrected times they wait for ever"""
    service_ms: Times = Times()
    corrected_ms: Times = Times()


class WarmUp(Part):
    """What began in the warm-up: measured like the rest, and not judged."""

    length_s: FiniteFloat | None = None
    operations: dict[str, OperationFigures] = Field(default_factory=dict)


class StepFigures(Part):
    """An operation in one part of the run, by when it ended."""

    count: Count | None = None
    errors: Count | None = None
    p50_ms: FiniteFloat | None = None
    p95_ms: FiniteFloat | None = None


class Step(Part):
    """A part of the run: a step or ramp of the schedule, or the drain (seconds of the run)."""

    name: str
    from_s: FiniteFloat | None = None
    to_s: FiniteFloat | None = None
    guests: Count | None = None
    """that came in it"""
    operations: dict[str, StepFigures] = Field(default_factory=dict)


class Arrivals(Part):
    """The schedule against what really happened."""

    due: Count | None = None
    started: Count | None = None
    late: Count | None = None
    dropped: Count | None = None
    paused: Count | None = None
    no_slot: Count | None = None
    """of those that were late or dropped, how many because no slot was free"""
    slots_gone: Count | None = None
    """slots that ended for good though nobody had asked them to"""
    slots_done: Count | None = None
    """slots that had nothing more to do"""
    at_cap: Count | None = None
    """processes in which the cap on sessions has turned a guest away"""
    held_ms: Count | None = None
    """for how long the highest rate (``max_rate``) kept slots of a closed workload empty"""


class Generator(Part):
    """How well the machine that made the load did."""

    lag_loop_ms: Times = Times()
    """How late the event loops were for their timers, weighed by time."""
    lag_arrival_ms: Times = Times()
    """From the arrival of bytes to our looking at them, by messages."""
    late_share: FiniteFloat | None = None
    """Of the process that was worst: in which share of the time its loop was late beyond the
    limit; ``stood_still_s`` is the longest stretch."""
    stood_still_s: FiniteFloat | None = None
    latest_process: str | None = None
    workers: Count | None = None
    workers_lost: Count | None = None
    cpu_max: FiniteFloat | None = None
    rss_mb_max: FiniteFloat | None = None
    arrival_stamps: str | None = None


class Objective(Part):
    """One objective with its verdict.

    ``margin`` is how far the figure stayed from the limit, as a share of the limit; below zero when
    missed, None where the limit is zero. Units are ms, share and count.
    """

    text: str
    verdict: Verdict
    figure: FiniteFloat | None = None
    limit: FiniteFloat | None = None
    unit: str | None = None
    margin: FiniteFloat | None = None
    note: str = ""
    lower_bound: bool = False
    """the true figure is higher: its rank lies among what never came"""
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    """Below and above which the true figure is not, each at 95 %; None where nothing bounds it."""
    within_chance: bool = False
    """Met, but the true figure may well miss it; ``more_samples`` would decide, about."""
    more_samples: Count | None = None


class StoryError(Part):
    """An error of the locustfile's own that ended stories: what and where, and how often."""

    what: str
    count: Count


class Little(Part):
    """Both sides of the account of guests; ``off`` is how far they are apart, as a share."""

    occupancy: FiniteFloat | None = None
    arrivals_per_s: FiniteFloat | None = None
    in_session_s: FiniteFloat | None = None
    expected_occupancy: FiniteFloat | None = None
    off: FiniteFloat | None = None


class MixShare(Part):
    """Guests of one user class, and the share of all that was asked for, if any was."""

    came: Count | None = None
    share_asked_for: FiniteFloat | None = None


class Conversations(Part):
    """Conversations by the simulator's own account."""

    opened: Count | None = None
    ended: Count | None = None
    open: Count | None = None


class Simulator(Part):
    """What the embedded simulator says of the sessions that it had."""

    opened: Count | None = None
    cleared: Count | None = None
    expired: Count | None = None
    replaced: Count | None = None
    open: Count | None = None
    conversations: Conversations | None = None


class How(Part):
    """How the run was made; never a secret, never a whole token."""

    started: Moment | None = None
    name: str | None = None
    """by which the user calls the run; ``note`` is what he remarked"""
    note: str | None = None
    target: str | None = None
    target_name: str | None = None
    deployment_id: str | None = None
    ca_file: str | None = None
    origin: str | None = None
    proxy: str | None = None
    proxy_login_env: str | None = None
    sources: list[str] = Field(default_factory=list)
    sign_ins: str | None = None
    """the file that guests were signed in from"""
    approval: str | None = None
    merged_from: list[str] = Field(default_factory=list)
    """the runs that went on side by side and were made one"""
    locustfile: str | None = None
    arrivals: str | None = None
    schedule: dict[str, Any] | None = None
    """of an open workload: ``count``, ``duration_s`` and ``parts``"""
    slots: int | None = None
    mix: dict[str, FiniteFloat] = Field(default_factory=dict)
    cap: int | None = None
    """most sessions that the target allows a closed workload"""
    confident: bool | None = None
    warm_up_s: FiniteFloat | None = None
    arrival_stamps: str | None = None
    stopped_by_hand: bool | None = None
    stopped_by_search: bool | None = None
    stopped_for_window: str | None = None
    stopped_for_disk: str | None = None
    """when it was stopped, because the target's window or the disk's room was about to end"""
    aborted: list[str] = Field(default_factory=list)
    """objectives that stopped it"""
    options: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str | None] = Field(default_factory=dict)
    seed: int | str | None = None
    host: str | None = None
    disk: dict[str, int | bool | None] | None = None
    """Bytes that the run was expected to write, by kind and in ``total``; ``free`` were free."""
    foreseen: list[str] = Field(default_factory=list)
    """What was said before the run of limits that the guests' stories would or may break."""
    overridden: list[dict[str, str]] = Field(default_factory=list)
    """Each ``rule`` of guard or merge that was overridden, what it ``said``, and the ``reason``."""
    refused_messages: dict[str, int] = Field(default_factory=dict)
    """What came in at the master's port and was not taken, by why."""
    dismissed_workers: list[str] = Field(default_factory=list)
    """Workers that came in during the run and could not take part, and why."""
    clocks: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Seconds by which a worker's clock was ahead of the master's; its times are corrected."""


class RunRecord(Part):
    """All of ``run.json``."""

    model_config = ConfigDict(title="run.json of the harness, version 1")

    schema_version: Annotated[int, Field(alias="schema", ge=1)]
    run_id: str
    verdict: Verdict | None = None
    exit_code: int | None = None
    reasons: list[str] = Field(default_factory=list)
    complete: bool | None = None
    workload: Literal["open", "closed"] | None = None
    """Open: guests come by a schedule. Closed: the next comes when one has left."""
    live: bool | None = None
    """Made while the run was going on: how it stood by then."""
    started: Moment | None = None
    ended: Moment | None = None
    duration_s: FiniteFloat | None = Field(default=None, ge=0)
    sessions: Sessions = Sessions()
    sessions_at_end: Sessions | None = None
    """The account before any sweep or audit, where there was one since."""
    funnel: Funnel = Funnel()
    replies: Replies = Replies()
    questions: Questions = Questions()
    stories: Stories = Stories()
    guests: Guests = Guests()
    invalid_because: list[str] = Field(default_factory=list)
    not_offered: list[str] = Field(default_factory=list)
    """in what the load given was not the load asked for"""
    not_judged: list[str] = Field(default_factory=list)
    """errors that no objective looks at"""
    operations: dict[str, OperationFigures] = Field(default_factory=dict)
    warm_up: WarmUp | None = None
    parts: list[Step] = Field(default_factory=list)
    arrivals: Arrivals = Arrivals()
    session_length_ms: Times = Times()
    arrival_lateness_ms: Times = Times()
    little: Little | None = None
    mix: dict[str, MixShare] = Field(default_factory=dict)
    generator: Generator = Generator()
    forensics: dict[str, Count] = Field(default_factory=dict)
    story_errors: list[StoryError] = Field(default_factory=list)
    objectives: list[Objective] = Field(default_factory=list)
    how: How = How()
    baseline: dict[str, Any] | None = None
    """Open conversations of the run's queues and flows ``before`` and ``after`` it."""
    sweep: dict[str, Any] | None = None
    audit: dict[str, Any] | None = None
    simulator: Simulator | None = None


def written(record: Mapping[str, Any]) -> bytes:
    """A record as it stands in its file, in a form that people can read.

    Raises ValidationError for one that is none.
    """
    model = RunRecord.model_validate(record)
    return model.model_dump_json(by_alias=True, exclude_unset=True, indent=2).encode()


def published() -> str:
    """The JSON schema as text, ending in a newline."""
    schema = RunRecord.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(published(), end="")
