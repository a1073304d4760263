"""The messages between workers and their master: how they are packed, and how they are checked.

Once a second a worker sends one report, and its master one answer. The report holds the worker's
measurements, its question for its share of the schedule, its question for the master's time and the
next part of its ledger; the answer replies to each. A worker's Locust statistics travel in Locust's
own message, packed. Measurements are in a report twice (for the master's view, and for its copy of
the worker's files), but cost their bytes once, because a report is packed as a whole.

Locust's channel has no login, and its master trusts what it gets: one unreadable message ends the
only loop that listens, for good and silently. Here a message is taken only if a worker may send it
and that worker has reported as ready, and an error in handling one message affects no other.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import gevent
import orjson
import zmq
from locust.exception import RPCError, RPCReceiveError
from locust.rpc import Message, zmqrpc
from locust.runners import MasterRunner

from harness.clock import monotonic_ns
from harness.errors import safe_quote
from harness.load.arrivals import Shares
from harness.load.cluster.handout import ASK_FILES
from harness.load.cluster.handshake import FACTS, HELLO, Handshake
from harness.load.cluster.replication import BEGIN, END, GO_ON, Copies
from harness.load.live.totals import Live
from harness.load.logs import LOG
from harness.measure.model import COUNTERS, OPERATIONS, Outcome

REPORT = "harness_report"
ANSWER = "harness_answer"
DRAIN = "harness_drain"
"""Order to a worker: end your sessions."""
HURRY = "harness_hurry"
"""Order to a worker: end them now."""
DRAINED = "harness_drained"
"""Answer of a worker: all its sessions have ended."""
STATS = "stats"
"""Locust's own message with a worker's statistics."""
MOST_BYTES = 64 << 20
"""Largest message, packed or not: an interval of a busy worker has some hundred kilobytes."""
PACKED = "packed"
FILES = ("intervals", "histograms")
"""The parts of a batch that are bytes."""


@cache
def _words() -> bytes:
    """The compression dictionary: likely strings last."""
    names = [counter.name for counter in COUNTERS.values()]
    return orjson.dumps([*names, *OPERATIONS, *Outcome])


def pack(report: Mapping[str, Any]) -> bytes:
    """The bytes of a report."""
    batch, tail = report.get("batch"), b""
    if batch is not None:
        tail = b"".join(batch[name] for name in FILES)
        report = {**report, "batch": {**batch, **{name: len(batch[name]) for name in FILES}}}
    squeezer = zlib.compressobj(zdict=_words())
    text = orjson.dumps(report, option=orjson.OPT_NON_STR_KEYS)
    return squeezer.compress(text + b"\n" + tail) + squeezer.flush()


def unpack(data: Any) -> dict[str, Any]:
    """The report that :func:`pack` was given. Raises ValueError, KeyError or TypeError if these are
    not its bytes."""
    head, _, tail = _whole(zlib.decompressobj(zdict=_words()), data).partition(b"\n")
    report: dict[str, Any] = dict(orjson.loads(head))
    batch = report.get("batch")
    if batch is not None:
        for name in FILES:
            batch[name], tail = tail[: batch[name]], tail[batch[name] :]
    return report


def pack_stats(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001 - Locust's form
    """Listener of Locust's event ``report_to_master``: packs the data in place."""
    message: Any = Message  # without types
    packed = zlib.compress(message(STATS, dict(data), "").serialize())
    data.clear()
    data[PACKED] = packed


def unpack_stats(data: Any) -> Any:
    """The data that was packed. Raises ValueError, KeyError or TypeError if it was not."""
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
    """The questions of a report, until they are answered."""

    came_ns: int
    clock: Mapping[str, Any]
    shared: bool


class Reports:
    """The master's side: hands on the parts of a report, and answers it.

    A report with a part of a ledger is answered when that part is on disk. If the disk is slow, the
    next report is answered without waiting, so no worker waits for its share of the schedule.
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
        """by worker: the questions of a report whose part of the ledger is being written"""
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


MALFORMED, STRANGER = "malformed", "unknown sender"
READY = "client_ready"
LOCUSTFILE = "locustfile"
"""The message by which a worker started with ``-f -`` asks for the locustfile, before it is
ready."""
BEFORE_READY = (LOCUSTFILE, ASK_FILES)
"""Messages that a worker without a locustfile may send."""
_MOST_NAME = 300


def harden_receiving() -> None:
    """Let Locust's server survive invalid messages. Call once, before the server is made."""
    base: Any = zmqrpc.BaseSocket
    receive, make = base.recv_from_client, base.__init__
    if receive.__module__ == __name__:
        return

    def init(self: Any, *words: Any) -> None:
        make(self, *words)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)

    def recv_from_client(self: Any) -> tuple[str, Message]:
        try:
            client, message = receive(self)
        except RPCReceiveError:
            self.unread = getattr(self, "unread", 0) + 1
            raise
        except RPCError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a decoder makes of any bytes
            self.unread = getattr(self, "unread", 0) + 1
            raise RPCReceiveError(f"no message of a worker ({type(error).__name__})") from None
        return client, message

    base.__init__, base.recv_from_client = init, recv_from_client


class MasterPort:
    """Checks each message before the master handles it."""

    def __init__(
        self, runner: MasterRunner, on_sign_of_life: Callable[[str], None] = lambda _: None
    ) -> None:
        """``on_sign_of_life`` is called after Locust has taken a message of a worker."""
        self._runner = runner
        self._on_sign_of_life = on_sign_of_life
        self._handle = runner.handle_message
        self._known: set[str] = set()
        self._refused: Counter[str] = Counter()
        self._logged: set[tuple[str, str]] = set()
        runner.handle_message = self._take  # type: ignore[method-assign,assignment]

    @property
    def refused(self) -> dict[str, int]:
        """The number of refused messages, by reason; unreadable ones are malformed."""
        unread = Counter({MALFORMED: getattr(self._runner.server, "unread", 0)})
        return dict(self._refused + unread)

    def _take(self, client: str, message: Message) -> None:
        kind = message.type
        if type(kind) is not str or message.node_id != client or len(client) > _MOST_NAME:
            return self._refuse(MALFORMED, client, kind)
        if kind == READY:
            self._known.add(client)
        elif kind not in BEFORE_READY and not (
            client in self._known or client in self._runner.clients
        ):
            return self._refuse(STRANGER, client, kind)
        try:
            if kind == REPORT:
                message.data = unpack(message.data)
            elif kind == STATS and PACKED in message.data:
                message.data = unpack_stats(message.data)
            if not has_form(kind, message.data):
                return self._refuse(MALFORMED, client, kind)
            if kind not in self._runner.custom_messages:
                self._handle(client, message)
                if kind in (READY, "heartbeat"):
                    self._on_sign_of_life(client)
                return
            listener, concurrent = self._runner.custom_messages[kind]
            if concurrent:
                gevent.spawn(listener, environment=self._runner.environment, msg=message)
            else:
                listener(environment=self._runner.environment, msg=message)
            self._runner.check_stopped()
        except RPCError:
            raise
        except Exception as error:  # noqa: BLE001 - it would end the loop that listens
            self._refuse(MALFORMED, client, f"{kind}: {type(error).__name__}")

    def _refuse(self, why: str, client: str, kind: object) -> None:
        self._refused[why] += 1
        if (why, client) not in self._logged and len(self._logged) < 100:
            self._logged.add((why, client))
            sender, kind = safe_quote(client, 60), safe_quote(str(kind), 60)
            text = f"master port: refused a message ({why}) of {sender!r}: {kind!r}"
            LOG.warning("%s", text)


Check = Callable[[Any], bool]
"""Whether a value has a form; it may raise an exception for a value of another type."""


def _of(*kinds: type) -> Check:
    return lambda value: type(value) in kinds


def _mapping(check: Check) -> Check:
    """A mapping of names to values of one form."""
    return lambda value: (
        isinstance(value, dict)
        and all(type(name) is str and check(one) for name, one in value.items())
    )


def _record(checks: Mapping[str, Check], **optional: Check) -> Check:
    """A mapping with all of these keys, and possibly some of the ``optional`` ones."""
    return lambda data: (
        all(check(data[key]) for key, check in checks.items())
        and all(check(data[key]) for key, check in optional.items() if key in data)
    )


def _rows(*kinds: type) -> Check:
    return lambda rows: all(
        isinstance(row, list | tuple) and tuple(map(type, row)) == kinds for row in rows
    )


def _name(text: object) -> bool:
    return type(text) is str and len(text) <= _MOST_NAME


TEXT, WHOLE, BYTES = _of(str), _of(int), _of(bytes)
TEXTS, NUMBERS = _mapping(TEXT), _mapping(_of(int, float, bool))
ROW = _record(
    {
        **dict.fromkeys(("counts", "arrivals", "sessions"), NUMBERS),
        "process": _of(dict),
        "outcomes": _mapping(NUMBERS),
    },
    left_by_reason=NUMBERS,
)
BATCH = _record(
    {
        "worker": _name,
        "number": WHOLE,
        "run": TEXT,
        "snapshot": lambda part: part in ("", BEGIN, GO_ON, END),
        "inserts": _rows(int, str, str, int, int),
        "updates": _rows(str, str, str, int, int),
        "meta": TEXTS,
        "intervals": BYTES,
        "histograms": BYTES,
    }
)
REPORT_PARTS = _record(
    {},
    live=_record({"process": _name, "row": ROW, "encoded": TEXTS}),
    clock=_record({"asked_ns": WHOLE, "ahead_ns": WHOLE}),
    share=_name,
    batch=BATCH,
)


def _is_report(data: Any) -> bool:
    """Whether this is a report: with measurements it asks for the time too; it is never empty."""
    needed = "clock" in data or ("batch" in data and "live" not in data)
    return needed and REPORT_PARTS(data)


def _is_facts(data: Any) -> bool:
    answered = "trouble" in data or "target" in data
    return answered and TEXTS({**data, "modules": ""}) and TEXTS(data.get("modules", {}))


FORMS: Mapping[str, Check] = {
    REPORT: _is_report,
    LOCUSTFILE: _record({"version": TEXT}),
    ASK_FILES: _record(dict.fromkeys(("harness", "locust", "host"), _name)),
    HELLO: _record(
        {
            **dict.fromkeys(("files", "ports", "cores"), WHOLE),
            **dict.fromkeys(("harness", "locust", "locustfile", "schedule", "host"), TEXT),
            "parameters": TEXTS,
            "restarted": _of(bool),
        }
    ),
    FACTS: _is_facts,
    DRAINED: _record({"left": WHOLE}, failures=lambda whys: all(map(TEXT, whys))),
}
"""The form of each of our own messages of a worker."""


def has_form(kind: str, data: Any) -> bool:
    """Whether a message has the form of its kind; Locust's own messages are not checked."""
    try:
        return kind not in FORMS or FORMS[kind](data)
    except (KeyError, TypeError, AttributeError, ValueError):
        return False
