"""Frames are matched to requests; each request ends exactly once, whatever comes in what order."""

from typing import Any

import orjson
import pytest
from examples import at_most
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import RateLimited
from harness.guest.inbox import Inbox, Seen
from harness.guest.questions import Questions
from harness.measure.model import Outcome
from harness.measure.recorder import Recorder
from harness.protocol.codec import decode_history
from harness.protocol.session import CLEARED as CLEARED_STATES
from harness.protocol.session import ConnectionState, Send, SessionState, State


def frame(cls: str, body: object, code: int = 200, **more: object) -> bytes:
    return orjson.dumps({"type": "message", "class": cls, "code": code, "body": body, **more})


def echo(tracing_id: str, **more: object) -> bytes:
    body = {"type": "Text", "text": "x", "direction": "Inbound", "id": "m" + tracing_id, **more}
    return frame("StructuredMessage", body, tracingId=tracing_id)


def reply(message_id: str, text: str = "Hi") -> bytes:
    body = {"type": "Text", "text": text, "direction": "Outbound", "id": message_id}
    return frame("StructuredMessage", body)


CONFIGURED = frame("SessionResponse", {"connected": True, "newSession": True})
CLEARED = frame("SessionClearedEvent", {})
CLOSED = frame("ConnectionClosedEvent", {})
FORBIDDEN = frame("string", "Presence events Conversation Clear are not supported", 403)


class Rig:
    def __init__(self, seen: Seen | None = None, owner: str = "own-") -> None:
        self.recorder = Recorder()
        self.session = SessionState()
        self.first: list[str] = []
        self.inbox = Inbox(
            self.session,
            self.recorder,
            on_first_message=self.first.append,
            seen=seen or Seen(),
            owner=owner,
            lane=owner + "00",
            token="t",
        )
        self.session.send(Send.CONFIGURE)
        self.inbox.pending["open"] = ("session_open", 0, 1)

    @property
    def cleared(self) -> int:
        return int(self.session.state in CLEARED_STATES)

    def get(self, *frames: bytes) -> None:
        for data in frames:
            self.inbox.on_frame(data, 1000, 2000)

    def outcomes(self) -> dict[str, dict[Any, int]]:
        return {name: dict(counts) for name, counts in self.recorder.take().outcomes.items()}


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_the_echo_with_our_tracing_id_is_the_delivery(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.inbox.pending["a"] = ("delivered", 0, 1)
    rig.get(echo("b"), echo("a"), echo("own-007"))
    taken = rig.recorder.take()
    assert taken.outcomes["delivered"] == {Outcome.OK: 1}
    assert taken.counts == {"expected": 2, "cross_talk": 1, "duplicate": 1}
    assert rig.first == ["ma"]


def test_outbound_messages_are_kept_in_order_and_doubles_are_counted(rig: Rig) -> None:
    rig.get(CONFIGURED, reply("1", "one"), reply("2", "two"), reply("1", "one"))
    assert [message.text for message, *_ in rig.inbox.replies or ()] == ["one", "two"]
    assert rig.recorder.take().counts["duplicate"] == 1


@pytest.mark.parametrize("direction", ["", None, "inbound"])
def test_an_echo_that_does_not_say_who_spoke_answers_nothing(
    rig: Rig, direction: str | None
) -> None:
    rig.get(CONFIGURED)
    questions = rig.inbox.questions = Questions(rig.recorder, 1)
    questions.ask("reply", 0, 1)
    rig.inbox.pending["own-a"] = ("delivered", 0, 1)
    rig.get(echo("own-a", direction=direction))
    questions.close(5000, Outcome.UNANSWERED)
    questions.end()
    outcomes = rig.outcomes()
    assert outcomes["delivered"] == {Outcome.OK: 1}
    assert outcomes["reply"] == {Outcome.UNANSWERED: 1}


BLANK = [
    {"text": ""},
    {"text": " \n\t"},
    {"content": [{}]},
    {"content": ["?"]},
    {"type": "Structured", "content": [{"contentType": "Notification"}]},
    {"type": "Structured", "text": " ", "content": [{"contentType": "Card", "card": {}}]},
]
SEEN = [
    {"text": " . "},
    {"content": [{"contentType": "Attachment", "attachment": {"url": "https://x.example/1"}}]},
    {"content": [{}, {"contentType": "QuickReply", "quickReply": {"text": "Yes"}}]},
]


@pytest.mark.parametrize("body", BLANK + SEEN)
def test_an_answer_of_which_nothing_can_be_seen_is_none(rig: Rig, body: dict[str, Any]) -> None:
    rig.get(CONFIGURED)
    questions = rig.inbox.questions = Questions(rig.recorder, 1)
    questions.ask("reply", 0, 1)
    plain = {"type": "Text", "direction": "Outbound", "id": "m"}
    rig.get(frame("StructuredMessage", {**plain, **body}))
    assert [shows for _, shows, *_ in rig.inbox.replies or ()] == [body in SEEN]
    questions.close(5000, Outcome.UNANSWERED)
    questions.end()
    outcome = Outcome.OK if body in SEEN else Outcome.UNANSWERED
    assert rig.outcomes()["reply"] == {outcome: 1}


def test_the_proof_ends_the_clear_and_what_comes_after_is_counted(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.session.send(Send.CLEAR)
    rig.inbox.clear_id = "c"
    rig.inbox.pending["c"] = ("clear", 0, 1)
    clear_echo = echo(
        "c", type="Event", events=[{"eventType": "Presence", "presence": {"type": "Clear"}}]
    )
    rig.get(clear_echo)
    assert (rig.cleared, rig.session.state) == (0, State.CLEAR_ECHOED)
    rig.get(CLEARED, CLOSED, reply("9"))
    assert (rig.cleared, rig.session.state) == (1, State.PROVED)
    assert rig.session.connection is ConnectionState.RETIRED
    taken = rig.recorder.take()
    assert taken.outcomes["clear"] == {Outcome.OK: 1}
    assert taken.outcomes["clear_to_close"] == {Outcome.OK: 1}
    assert taken.counts["after_clear"] == 1


def test_a_proof_that_nobody_asked_for_proves_nothing(rig: Rig) -> None:
    rig.get(CLEARED, CONFIGURED, CLEARED)
    assert (rig.cleared, rig.session.state) == (0, State.OPEN)
    rig.session.send(Send.CLEAR)
    rig.inbox.pending["c"] = ("clear", 0, 1)
    rig.get(FORBIDDEN, CLEARED)  # the Clear was refused: the event is not its answer
    assert (rig.cleared, rig.session.state) == (0, State.OPEN)
    assert rig.recorder.take().counts["unasked_clear"] == 3


def test_an_event_before_the_refusal_of_our_clear_was_another_sessions(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.session.send(Send.CLEAR)
    rig.inbox.clear_id = "c"
    rig.inbox.pending["c"] = ("clear", 0, 1)
    rig.get(CLEARED)
    assert rig.session.state is State.CLEARED
    rig.get(frame("string", "no", 403, tracingId="c"))
    assert rig.session.state is State.OPEN
    assert rig.inbox.failure is not None


@pytest.mark.parametrize("named", [True, False])
def test_the_answer_counts_also_after_an_error(named: bool) -> None:
    rig = Rig()
    rig.inbox.configure_id = "open"
    name = {"tracingId": "open"} if named else {}
    rig.get(frame("string", "no", 400, **name))
    assert rig.session.state is (State.REFUSED if named else State.LOST)
    assert rig.session.never_existed is named
    body = {"connected": True, "newSession": True}
    rig.get(frame("SessionResponse", body, tracingId="another's"))
    assert rig.session.state is State.LOST
    assert not rig.session.never_existed
    rig.get(frame("SessionResponse", body, tracingId="open"))
    assert rig.session.state is State.OPEN


def test_a_refused_clear_leaves_the_session_open(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.session.send(Send.CLEAR)
    rig.inbox.pending["c"] = ("clear", 0, 1)
    rig.get(FORBIDDEN)
    assert rig.session.state is State.OPEN
    assert rig.outcomes()["clear"] == {Outcome.FORBIDDEN: 1}


def test_an_error_is_charged_to_its_request_or_to_the_oldest(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.inbox.pending["a"] = ("delivered", 0, 1)
    rig.inbox.pending["b"] = ("join", 0, 1)
    limited = {"retryAfter": 3, "errorCode": 4029, "errorMessage": "too high"}
    rig.get(frame("TooManyRequestsErrorMessage", limited, 429, tracingId="b"))
    assert isinstance(rig.inbox.failure, RateLimited)
    assert rig.inbox.failure.retry_after_s == 3
    rig.get(frame("string", "broken", 500))
    outcomes = rig.outcomes()
    assert outcomes["join"] == {Outcome.RATE_LIMITED: 1}
    assert outcomes["delivered"] == {Outcome.SERVICE_ERROR: 1}
    assert not rig.inbox.pending


@pytest.mark.parametrize("asked", [1, 2])
def test_an_error_without_a_name_after_the_echo_answers_the_only_question(
    rig: Rig, asked: int
) -> None:
    questions = rig.inbox.questions = Questions(rig.recorder, 1)
    rig.get(CONFIGURED)
    for number in range(asked):
        name = f"own-00{number}"
        questions.ask("reply", number, number)
        rig.inbox.pending[name] = ("delivered", number, number)
        rig.get(echo(name))
    rig.get(frame("string", "broken", 500))
    questions.close(9, Outcome.UNANSWERED)
    questions.end()
    outcomes = rig.outcomes()
    assert outcomes["delivered"] == {Outcome.OK: asked}
    ends = {Outcome.SERVICE_ERROR: 1} if asked == 1 else {Outcome.UNANSWERED: 2}
    assert outcomes["reply"] == ends


def test_a_lost_connection_ends_all_that_was_pending(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.inbox.pending["a"] = ("delivered", 0, 1)
    rig.inbox.on_end(1001, "going away")
    assert rig.session.state is State.LOST
    assert rig.outcomes()["delivered"] == {Outcome.LOST: 1}
    assert (rig.inbox.closed_code, rig.inbox.close_reason) == (1001, "going away")


def test_a_connection_that_ends_after_the_proof_delivers_nothing_that_was_pending(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.inbox.pending["a"] = ("delivered", 0, 1)
    rig.session.send(Send.CLEAR)
    rig.inbox.pending["c"] = ("clear", 0, 1)
    rig.get(CLEARED)
    rig.inbox.on_end(1000, "bye")
    outcomes = rig.outcomes()
    assert outcomes["clear"] == {Outcome.OK: 1}
    assert outcomes["delivered"] == {Outcome.LOST: 1}


def test_expiry_is_heard_as_event_and_as_an_error_that_names_a_request_of_ours(rig: Rig) -> None:
    rig.get(CONFIGURED)
    foreign = "12345678-0000-4000-8000-000000000000"
    rig.get(frame("string", "expired", 4006), frame("string", "no", 4006, tracingId=foreign))
    assert rig.session.state is State.OPEN
    assert rig.recorder.take().counts["cross_talk"] == 1
    rig.inbox.pending["own-001"] = ("delivered", 0, 1)
    rig.get(frame("string", "expired", 4006, tracingId="own-001"))
    assert rig.session.state is State.EXPIRED
    other = Rig()
    other.get(CONFIGURED, frame("SessionExpiredEvent", {}))
    assert other.session.state is State.EXPIRED


def test_bad_and_unknown_frames_are_counted_and_harm_nothing(rig: Rig) -> None:
    rig.get(CONFIGURED, b"{", b'{"message":"Forbidden"}', frame("NewThing", {}))
    counts = rig.recorder.take().counts
    assert (counts["bad_frame"], counts["unknown_frame"]) == (1, 2)
    assert rig.session.state is State.OPEN


def test_another_sessions_words_are_cross_talk_a_siblings_are_not() -> None:
    seen = Seen()
    first, other, sibling = Rig(seen, "aaaa"), Rig(seen, "bbbb"), Rig(seen, "aaaa")
    sibling.inbox.lane = "aaaa01"
    for rig in (first, other, sibling):
        rig.get(CONFIGURED)
        rig.recorder.take()
    first.get(reply("1"))
    other.get(reply("1"), echo("aaaa007"))
    sibling.get(reply("1"), echo("aaaa007"))
    assert first.recorder.take().counts == {"expected": 1, "replies_received": 1}
    assert other.recorder.take().counts == {"cross_talk": 2}
    assert not other.inbox.replies
    assert other.inbox.doubtful is not None
    goodbye = [{"eventType": "Presence", "presence": {"type": "Disconnect"}}]
    last = {"type": "Event", "direction": "Outbound", "id": "2", "metadata": {"readOnly": "true"}}
    ended = frame("StructuredMessage", {**last, "events": goodbye})
    for rig in (first, other):
        rig.get(ended)
    assert (first.session.state, other.session.state) == (State.READ_ONLY, State.OPEN)
    assert sibling.recorder.take().counts == {"expected": 2, "replies_received": 1}


def test_what_comes_after_its_time_is_late_and_what_is_older_is_out_of_order(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.inbox.pending["own-001"] = ("delivered", 0, 1)
    rig.inbox.pending.give_up_older_than(1.0)
    rig.get(echo("own-001"))
    rig.get(frame("string", "Request failed.", 500, tracingId="own-001"))
    rig.recorder.take()
    later, earlier = ({"time": f"2026-11-22T12:00:0{n}.000Z"} for n in (2, 1))
    body = {"type": "Text", "text": "x", "direction": "Outbound"}
    rig.get(
        frame("StructuredMessage", {**body, "id": "2", "channel": later}),
        frame("StructuredMessage", {**body, "id": "1", "channel": earlier}),
    )
    assert rig.recorder.take().counts == {
        "expected": 1,
        "out_of_order": 1,
        "replies_received": 2,
    }
    assert rig.inbox.failure is None
    assert len(rig.inbox.replies or ()) == 2


def test_what_the_history_tells_again_is_not_missed(rig: Rig) -> None:
    times = [f"2026-11-22T12:00:0{n}.000Z" for n in (1, 2, 3)]
    body = {"type": "Text", "text": "x", "direction": "Outbound"}
    told = [{**body, "id": str(n), "channel": {"time": time}} for n, time in enumerate(times)]
    rig.get(CONFIGURED, frame("StructuredMessage", told[1]))
    rig.inbox.on_end(None, "")
    rig.inbox.begin()
    rig.get(frame("StructuredMessage", {**told[2], "id": "9", "channel": {"time": "9"}}))
    again, _ = decode_history(orjson.dumps({"entities": told}))
    assert [rig.inbox.add_missed(one, 5) for one in again] == [False, False, True]


def test_answers_go_to_who_asked_and_unasked_ones_are_late(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.inbox.want("own-00a")
    rig.inbox.want("file-1")
    rig.get(
        frame("JwtResponse", {"jwt": "j"}, tracingId="own-00a"),
        frame("UploadFailureEvent", {"attachmentId": "file-1", "errorCode": 4003}, 400),
        frame("JwtResponse", {"jwt": "j"}, tracingId="own-00b"),
    )
    answers = rig.inbox.answers or {}
    assert [getattr(answers[key], "message_class", "") for key in ("own-00a", "file-1")] == [
        "JwtResponse",
        "UploadFailureEvent",
    ]
    assert rig.recorder.take().counts["late_message"] == 1
    rig.inbox.forget("file-1")
    assert "file-1" not in answers


FRAMES = st.sampled_from(
    [
        CONFIGURED,
        CLEARED,
        CLOSED,
        FORBIDDEN,
        echo("a"),
        echo("b"),
        echo("c"),
        reply("1"),
        reply("2"),
        frame("string", "no", 500, tracingId="a"),
        frame("string", "no", 400),
        frame("SessionExpiredEvent", {}),
        b"{",
    ]
)


@at_most(200)
@given(st.lists(FRAMES, max_size=25), st.booleans())
def test_any_order_of_frames_ends_each_request_exactly_once(frames: list[bytes], cut: bool) -> None:
    rig = Rig()
    rig.get(CONFIGURED)
    rig.inbox.pending["a"] = ("delivered", 0, 1)
    rig.inbox.pending["b"] = ("join", 0, 1)
    rig.session.send(Send.CLEAR)
    rig.inbox.pending["c"] = ("clear", 0, 1)
    rig.get(*frames)
    if cut:
        rig.inbox.on_end(None, "")
    rig.inbox.pending.give_up(Outcome.TIMEOUT)
    outcomes = rig.outcomes()
    for operation in ("delivered", "join", "clear"):
        ended = sum(outcomes.get(operation, {}).values())
        assert ended == 1
    assert rig.cleared <= 1


def test_an_inbox_whose_session_is_over_tells_nobody(rig: Rig) -> None:
    rig.get(CONFIGURED)
    rig.inbox.detach()
    rig.inbox.pending["a"] = ("delivered", 0, 1)
    rig.session.send(Send.CLEAR)
    rig.get(echo("a"), CLEARED)
    assert (rig.first, rig.session.state) == ([], State.CLEARED)


def at(time: str | None, message_id: str) -> bytes:
    body = {"type": "Text", "text": "Hi", "direction": "Outbound", "id": message_id}
    return frame("StructuredMessage", {**body, "channel": {"time": time}})


@pytest.mark.parametrize(
    ("times", "late"),
    [
        (["2026-11-28T10:00:00.100Z", "2026-11-28T10:00:00.200Z"], 0),
        (["2026-11-28T10:00:00.200Z", "2026-11-28T10:00:00.100Z"], 1),
        (["2026-11-28T10:00:00Z", "2026-11-28T10:00:00.001Z"], 0),  # "." is less than "Z"
        (["2026-11-28T10:00:00.5Z", "2026-11-28T10:00:00.25Z"], 1),
        (["2026-11-28T10:00:00.000Z", "2026-11-28T11:00:00.500+01:00"], 0),
        (["2026-11-28T11:00:00.500+01:00", "2026-11-28T10:00:00.400Z"], 1),
        (["2026-11-28T10:00:00.000Z", "soon", "", "2026-11-28T10:00:00.001Z"], 0),
        (["0001-01-01T00:00:00+14:00", "2026-11-28T10:00:00.001Z"], 0),
    ],
)
def test_times_are_compared_as_times(rig: Rig, times: list[str], late: int) -> None:
    rig.get(CONFIGURED, *(at(time, f"m{number}") for number, time in enumerate(times)))
    assert rig.recorder.take().counts.get("out_of_order", 0) == late


def test_a_missed_message_is_told_by_its_time_whatever_its_form(rig: Rig) -> None:
    rig.get(CONFIGURED, at("2026-11-28T10:00:00.500Z", "m1"))
    rig.inbox.on_end(None, "")
    history = [
        {"direction": "Outbound", "id": f"h{number}", "text": "x", "channel": {"time": time}}
        for number, time in enumerate(
            ["2026-11-28T10:00:00Z", "2026-11-28T11:00:00.600+01:00", None]
        )
    ]
    messages, _ = decode_history(orjson.dumps({"entities": history, "pageCount": 1}))
    assert [rig.inbox.add_missed(one, 1) for one in messages] == [False, True, True]


def test_what_is_not_understood_is_counted_and_kept_for_who_waits_in_vain(rig: Rig) -> None:
    gateway = orjson.dumps({"message": "Forbidden", "connectionId": "c", "requestId": "r"})
    rig.get(CONFIGURED, gateway, frame("NewThing", {}))
    assert rig.recorder.take().counts["unknown_frame"] == 2
    assert rig.inbox.take_odd() == ("a frame of no class (Forbidden)", "a frame of NewThing")
    assert rig.inbox.take_odd() == ()


def test_a_guest_who_is_logged_out_has_no_connection_any_more(rig: Rig) -> None:
    rig.get(CONFIGURED, frame("LogoutEvent", {}))
    assert rig.session.connection is ConnectionState.RETIRED
    assert rig.recorder.take().counts["logged_out"] == 1
