"""Whatever stands in the frames of a recording, nothing that is made of it stops."""

import json
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from examples import at_most
from hars import came, configured, har, left, said, sent, socket
from hypothesis import given
from hypothesis import strategies as st
from script_texts import parse_script

from harness.conform.check import check_recording
from harness.errors import ConfigError
from harness.simulator.dialogue import read_rehearsal
from harness.workload.data import parse_table
from harness.workload.har.reading import read_recording
from harness.workload.har.scripting import draft

KEYS = (
    "type", "class", "code", "body", "tracingId", "action", "message", "token", "text", "content",
    "events", "eventType", "presence", "buttonResponse", "attachment", "id", "quickReply",
    "contentType", "direction", "channel", "time", "metadata", "connected", "fileName", "fileSize",
    "attachmentId", "payload", "customAttributes", "cards", "card", "actions", "dateTime",
)  # fmt: skip
WORDS = (
    "Text", "Structured", "Event", "StructuredMessage", "SessionResponse", "PresignedUrlResponse",
    "onMessage", "onAttachment", "configureSession", "Inbound", "Outbound", "Presence", "Join",
    "Clear", "Disconnect", "QuickReply", "t-1", "a-1", "\ud83d", "{{x}}", "JwtResponse",
    "ConnectionClosedEvent", "SessionClearedEvent",
)  # fmt: skip
JOIN = {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": "Join"}}]}

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
values = st.recursive(
    plain | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=20,
)
good = st.sampled_from(
    [
        said(3, "Hi"),
        came(4, "Ho"),
        *left(6),
        *configured(8),
        said(9, "Order 4711-22"),
        sent(10, message=JOIN),
    ]
)
odd = st.builds(
    lambda value, at, kind: {"type": kind, "time": at, "opcode": 1, "data": json.dumps(value)},
    values,
    st.none() | st.floats(0, 100) | st.floats(),
    st.sampled_from(["send", "receive"]),
)


@at_most(40)
@given(st.lists(good | odd, max_size=10), st.lists(good | odd, max_size=4))
def test_nothing_in_a_frame_stops_us(first: list[Any], second: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "chat.har"
        sockets = socket([*configured(1), *first]), socket([*configured(30), *second])
        file.write_text(json.dumps(har(*sockets)))
        recording = read_recording(file)
        made = draft(recording, data_file="chat.csv")
        if made.yaml:
            table = parse_table(made.csv, name="chat.csv") if made.csv else None
            parse_script(made.yaml, name="chat.yaml", table=table)
        found = check_recording(recording, key=b"k")
        json.dumps([(one.sentence, one.outline) for one in found.findings])
        with suppress(ConfigError):
            read_rehearsal(file).begin(Random(1)).turn("hi")
