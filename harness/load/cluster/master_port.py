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
from harness.load.cluster.handshake import ASK_CLOCK, FACTS, HELLO
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
        form = FORMS.get(kind)
        try:
            if kind == REPORT:
                message.data = unpack(message.data)
            elif kind == STATS and PACKED in message.data:
                message.data = unpack_stats(message.data)
            if form is not None and not form(message.data):
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


def _numbers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(number, int | float) for name, number in value.items()
    )


def _is_report(data: Any) -> bool:
    live, batch = data.get("live"), data.get("batch")
    if live is None:
        return batch is not None and _is_batch(batch)
    return (
        _is_interval(live)
        and _is_clock_question(data["clock"])
        and _is_name(data.get("share", ""))
        and (batch is None or _is_batch(batch))
    )


def _is_interval(data: Any) -> bool:
    row = data["row"]
    encoded = data["encoded"]
    return (
        _is_name(data["process"])
        and isinstance(row, dict)
        and _numbers(row["counts"])
        and _numbers(row["arrivals"])
        and _numbers(row["sessions"])
        and isinstance(row["process"], dict)
        and isinstance(row["outcomes"], dict)
        and all(_numbers(outcomes) for outcomes in row["outcomes"].values())
        and _numbers(row.get("left_by_reason", {}))
        and isinstance(encoded, dict)
        and all(type(text) is str for text in encoded.values())
    )


def _is_file_question(data: Any) -> bool:
    return all(_is_name(data[name]) for name in ("harness", "locust", "host"))


def _is_hello(data: Any) -> bool:
    return (
        all(type(data[name]) is int for name in ("files", "ports", "cores"))
        and all(
            type(data[name]) is str
            for name in ("harness", "locust", "locustfile", "schedule", "host")
        )
        and _texts(data.get("parameters", {}))
    )


def _texts(texts: Any) -> bool:
    return all(type(key) is type(value) is str for key, value in texts.items())


def _is_facts(data: Any) -> bool:
    answered = "trouble" in data or "target" in data
    return answered and _texts({**data, "modules": ""}) and _texts(data.get("modules", {}))


def _is_clock_question(data: Any) -> bool:
    return type(data["asked_ns"]) is type(data["ahead_ns"]) is int


def _is_batch(data: Any) -> bool:
    return (
        _is_name(data["worker"])
        and type(data["number"]) is int
        and type(data["run"]) is str
        and data["snapshot"] in ("", BEGIN, GO_ON, END)
        and all(_is_row(row, (int, str, str, int, int)) for row in data["inserts"])
        and all(_is_row(row, (str, str, str, int, int)) for row in data["updates"])
        and all(type(key) is type(value) is str for key, value in data["meta"].items())
        and type(data["intervals"]) is type(data["histograms"]) is bytes
    )


def _is_row(row: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(row, list | tuple) and tuple(map(type, row)) == kinds


def _is_name(text: object) -> bool:
    return type(text) is str and len(text) <= _MOST_NAME


def _is_drained(data: Any) -> bool:
    failures = data.get("failures", ())
    return type(data["left"]) is int and all(type(why) is str for why in failures)


def _checked(form: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def check(data: Any) -> bool:
        try:
            return form(data)
        except (KeyError, TypeError, AttributeError, ValueError):
            return False

    return check


FORMS: Mapping[str, Callable[[Any], bool]] = {
    REPORT: _checked(_is_report),
    LOCUSTFILE: _checked(lambda data: type(data["version"]) is str),
    ASK_FILES: _checked(_is_file_question),
    HELLO: _checked(_is_hello),
    FACTS: _checked(_is_facts),
    ASK_CLOCK: _checked(_is_clock_question),
    DRAINED: _checked(_is_drained),
}
"""Our own messages → whether one has the form that a worker gives it."""
