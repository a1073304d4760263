"""Once a second a worker sends one report, and its master one answer.

The report holds what the worker has measured, its question for its share of the schedule, its
question for the master's time and the next part of its ledger; the answer what belongs to each.
Locust's own statistics of a worker go in Locust's own message, packed.

Whatever is said twice (what was measured is for the master's view and for its copy of the worker's
files) costs its bytes once, because a report is packed as a whole.
"""

import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import orjson
from locust.rpc import Message
from locust.runners import MasterRunner

from harness.clock import monotonic_ns
from harness.load.cluster.handshake import Handshake
from harness.load.cluster.leases import Shares
from harness.load.cluster.replication import Copies
from harness.load.live.totals import Live
from harness.measure.model import COUNTERS, OPERATIONS, Outcome

REPORT = "harness_report"
ANSWER = "harness_answer"
STATS = "stats"
"""Locust's message."""
MOST_BYTES = 64 << 20
"""Of one message, packed or not: an interval of a busy worker has some hundred kilobytes."""
PACKED = "packed"
FILES = ("intervals", "histograms")
"""The parts of a batch that are bytes."""


@cache
def _words() -> bytes:
    """What reports are full of: the more likely, the nearer to the end."""
    names = [counter.name for counter in COUNTERS.values()]
    return orjson.dumps([*names, *OPERATIONS, *Outcome])


def pack(report: Mapping[str, Any]) -> bytes:
    """A report, as it travels."""
    batch, tail = report.get("batch"), b""
    if batch is not None:
        tail = b"".join(batch[name] for name in FILES)
        report = {**report, "batch": {**batch, **{name: len(batch[name]) for name in FILES}}}
    squeezer = zlib.compressobj(zdict=_words())
    text = orjson.dumps(report, option=orjson.OPT_NON_STR_KEYS)
    return squeezer.compress(text + b"\n" + tail) + squeezer.flush()


def unpack(data: Any) -> dict[str, Any]:
    """What :func:`pack` was given. Raises ValueError, KeyError or TypeError where it was not."""
    head, _, tail = _whole(zlib.decompressobj(zdict=_words()), data).partition(b"\n")
    report: dict[str, Any] = dict(orjson.loads(head))
    batch = report.get("batch")
    if batch is not None:
        for name in FILES:
            batch[name], tail = tail[: batch[name]], tail[batch[name] :]
    return report


def pack_stats(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001 - Locust's form
    """Listens to Locust's event ``report_to_master``: packs what is said so far, in place."""
    message: Any = Message  # without types
    packed = zlib.compress(message(STATS, dict(data), "").serialize())
    data.clear()
    data[PACKED] = packed


def unpack_stats(data: Any) -> Any:
    """What it was; raises ValueError, KeyError or TypeError where it is none of it."""
    message: Any = Message
    return message.unserialize(_whole(zlib.decompressobj(), data.pop(PACKED))).data | data


def _whole(opener: Any, data: bytes) -> bytes:
    try:
        content: bytes = opener.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not opener.eof:
        raise ValueError("cut short, or too much of it")
    return content


class _Question(NamedTuple):
    """What a report asks, until it is answered."""

    came_ns: int
    clock: Mapping[str, Any]
    shared: bool


class Reports:
    """The master's side: hands on what a report holds, and answers it.

    One that has a part of a ledger in it is answered when that is on disk; should the disk be slow,
    the next report is answered without. So nobody waits for a share of the schedule because of it.
    """

    def __init__(
        self,
        runner: MasterRunner,
        *,
        live: Callable[[], Live],
        handshake: Handshake,
        shares: Shares,
        copies: Copies,
    ) -> None:
        """``live`` gives the totals of the present run."""
        self._runner = runner
        self._live, self._handshake = live, handshake
        self._shares, self._copies = shares, copies
        copies.on_taken = self._on_taken
        self._open_questions: dict[str, _Question] = {}
        """by worker: asked by a report whose part of the ledger is being written"""
        runner.register_message(REPORT, self._on_report)

    def _on_report(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        report, worker = msg.data, msg.node_id
        question = None
        self._open_questions.pop(worker, None)
        if (live := report.get("live")) is not None:
            self._live().take_encoded(live["process"], live["row"], live["encoded"])
        if "clock" in report:
            shared = "share" in report and self._shares.note_question(worker, report["share"])
            question = _Question(
                monotonic_ns(), self._handshake.time(worker, report["clock"]), shared
            )
        if "batch" not in report:
            self._answer(worker, question)
            return
        if question is not None:
            self._open_questions[worker] = question
        self._copies.take(worker, report["batch"])

    def _on_taken(self, worker: str, taken: dict[str, Any]) -> None:
        self._answer(worker, self._open_questions.pop(worker, None), batch=taken)

    def _answer(self, worker: str, question: _Question | None, **answer: Any) -> None:
        if question is not None:
            held_ns = monotonic_ns() - question.came_ns
            answer["clock"] = {**question.clock, "held_ns": held_ns}
            if question.shared:
                answer["share"] = self._shares.grant(worker)
        if answer:
            self._runner.send_message(ANSWER, answer, worker)
