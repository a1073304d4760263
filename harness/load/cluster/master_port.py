"""What comes in at the master's port: refused and counted where it is not a worker's own.

Locust's channel has no login, and its master believes what it gets: one message that can't be read
ends the only loop that listens, for good and without a word. Here each message has to be one that a
worker sends, from a worker that has reported as ready, and an error in the handling of one costs
that one.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import zmq
from locust.exception import RPCError, RPCReceiveError
from locust.rpc import Message, zmqrpc
from locust.runners import MasterRunner

from harness.errors import safe_quote
from harness.load.cluster.drain import DRAINED
from harness.load.cluster.handout import ASK_FILES
from harness.load.cluster.handshake import FACTS, HELLO
from harness.load.cluster.replication import BEGIN, END, GO_ON
from harness.load.cluster.report import MOST_BYTES, PACKED, REPORT, STATS, unpack, unpack_stats
from harness.load.logs import LOG

MALFORMED, STRANGER = "malformed", "unknown sender"
READY = "client_ready"
LOCUSTFILE = "locustfile"
"""By it a worker that was started with ``-f -`` asks for the locustfile, before it is ready."""
BEFORE_READY = (LOCUSTFILE, ASK_FILES)
"""What somebody may ask who has no locustfile yet."""
_MOST_NAME = 300


def harden_receiving() -> None:
    """Let Locust's server survive messages that are none. Once for all, before it is made."""
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
    """Stands before the master's handling of messages."""

    def __init__(
        self, runner: MasterRunner, on_sign_of_life: Callable[[str], None] = lambda _: None
    ) -> None:
        """``on_sign_of_life`` is told after Locust has heard that a worker is there."""
        self._runner = runner
        self._on_sign_of_life = on_sign_of_life
        self._handle = runner.handle_message
        self._known: set[str] = set()
        self._refused: Counter[str] = Counter()
        self._logged: set[tuple[str, str]] = set()
        runner.handle_message = self._take  # type: ignore[method-assign,assignment]

    @property
    def refused(self) -> dict[str, int]:
        """How many messages were not taken, by why; those that could not be read are malformed."""
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
"""Whether a value has a form; it may raise what a value of another kind raises."""


def _of(*kinds: type) -> Check:
    return lambda value: type(value) in kinds


def _mapping(check: Check) -> Check:
    """Names, and something of one form for each."""
    return lambda value: (
        isinstance(value, dict)
        and all(type(name) is str and check(one) for name, one in value.items())
    )


def _record(checks: Mapping[str, Check], **optional: Check) -> Check:
    """One with all of these keys; of the ``optional`` ones it may have some."""
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
    """One with measurements asks for the time too; every one says or asks something."""
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
        },
        parameters=TEXTS,
    ),
    FACTS: _is_facts,
    DRAINED: _record({"left": WHOLE}, failures=lambda whys: all(map(TEXT, whys))),
}
"""Our own messages → the form that a worker gives each."""


def has_form(kind: str, data: Any) -> bool:
    """Whether a message has the form of its kind; those of Locust's own are not looked at."""
    try:
        return kind not in FORMS or FORMS[kind](data)
    except (KeyError, TypeError, AttributeError, ValueError):
        return False
