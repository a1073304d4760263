"""Scripts made of recordings: what the guest did, with nobody's data, and they can be read."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hars import DEPLOYMENT, TOKEN, came, configured, got, har, left, said, sent, socket
from hypothesis import given
from hypothesis import strategies as st
from script_texts import parse_script

from harness.workload.data import parse_table
from harness.workload.har.reading import Recording, read_recording
from harness.workload.har.scripting import Draft, draft
from harness.workload.script.model import SPEAKING, Script, StepKind, walk


def recording(folder: Path, *sockets: list[Any]) -> Recording:
    file = folder / "chat.har"
    file.write_text(json.dumps(har(*[socket(list(messages)) for messages in sockets])))
    return read_recording(file)


def parsed(made: Draft) -> Script:
    table = parse_table(made.csv, name="chat.csv") if made.csv else None
    return parse_script(made.yaml, name="chat.yaml", table=table)


def steps(folder: Path, *sockets: list[Any]) -> list[tuple[str, str]]:
    """Kind and text of each step of the one scenario."""
    (scenario,) = parsed(
        draft(recording(folder, *sockets), data_file="chat.csv")
    ).scenarios.values()
    return [(str(step.kind), step.text) for step in walk(scenario.steps)]


JOIN = {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": "Join"}}]}
QUICK = [
    {"contentType": "QuickReply", "quickReply": {"text": "Yes (now)", "payload": "y"}},
    {"contentType": "QuickReply", "quickReply": {"text": "No", "payload": "n"}},
]


def chosen(text: str) -> dict[str, Any]:
    button = {"type": "QuickReply", "text": text, "payload": "y"}
    return {
        "type": "Structured", "text": text,
        "content": [{"contentType": "ButtonResponse", "buttonResponse": button}],
    }  # fmt: skip


def test_waits_stand_in_place_of_answers_and_pauses_are_rounded(tmp_path: Path) -> None:
    found = steps(
        tmp_path,
        [
            *configured(100),
            sent(100.2, message=JOIN),
            came(101, "Hello"),
            came(102.5, "What can I do for you?"),
            said(107.13, "I want to return a bicycle"),
            came(109, "One moment."),
            came(111, "Really?", content=QUICK),
            sent(119.8, message=chosen("Yes (now)")),
            came(121, "Done"),
            said(200, "Thanks"),
            *left(204.1),
        ],
    )
    assert found == [
        ("join", ""),
        ("waitForReply", ""),
        ("think", "6s"),
        ("say", "I want to return a bicycle"),
        ("waitForReplyMatching", r"^Yes \(now\)$"),
        ("think", "9s"),
        ("choose", "Yes (now)"),
        ("waitForReply", ""),
        ("think", "1m20s"),
        ("say", "Thanks"),
        ("think", "4s"),
    ]
    made = draft(read_recording(tmp_path / "chat.har"), data_file="chat.csv")
    (scenario,) = parsed(made).scenarios.values()
    assert {step.text: step.expect_reply for step in scenario.steps if step.kind in SPEAKING} == {
        "I want to return a bicycle": None,
        "Yes (now)": None,
        "Thanks": False,
    }


def test_the_deadline_leaves_room_for_the_slowest_answer(tmp_path: Path) -> None:
    made = draft(
        recording(tmp_path, [*configured(1), said(2, "Hi"), came(11.5, "Hello")]), data_file="d.csv"
    )
    assert "within: 29s" in made.yaml


def test_typing_dropping_and_a_file(tmp_path: Path) -> None:
    typing = {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "On"}}]}
    attached = [{"contentType": "Attachment", "attachment": {"id": "att-1"}}]
    place = {"attachmentId": "att-1", "url": "https://store.example/?sig=abc"}
    made = draft(
        recording(
            tmp_path,
            [
                *configured(1),
                sent(4, message=typing),
                sent(8, message=typing),
                said(9, "Look"),
                sent(
                    10, "onAttachment", fileName="Ada Smith.PNG", fileType="image/png", fileSize=9
                ),
                got(10.1, "PresignedUrlResponse", place, tracingId="t-10"),
                said(12, "Ada Smith.PNG", content=attached),
            ],
            [*configured(30, new=False), said(31, "Back")],
        ),
        data_file="d.csv",
    )
    (scenario,) = parsed(made).scenarios.values()
    assert [(str(step.kind), step.text) for step in scenario.steps] == [
        ("think", "3s"), ("typing", "5s"), ("say", "Look"), ("think", "3s"),
        ("attach", "file-1.png"), ("drop", ""), ("idle", "18s"), ("reconnect", ""),
        ("think", "1s"), ("say", "Back"),
    ]  # fmt: skip
    assert made.files == {"file-1.png": 9}
    assert "Ada" not in made.yaml + "".join(made.dropped + made.notes)


def test_what_the_service_refused_and_what_nobody_offered(tmp_path: Path) -> None:
    refused = got(3, "string", "too long", code=4011, tracingId="t-2")
    made = draft(
        recording(
            tmp_path,
            [*configured(1), said(2, "Refused"), refused, sent(5, message=chosen("Yes (now)"))],
        ),
        data_file="d.csv",
    )
    (scenario,) = parsed(made).scenarios.values()
    assert [step.text for step in scenario.steps if step.kind is StepKind.SAY] == ["Yes (now)"]
    assert "a text that the service refused with 4011 was left out" in made.notes
    assert "a choice that no message had offered is said as a text" in made.notes


def test_a_token_that_was_used_again_after_clear_is_two_guests(tmp_path: Path) -> None:
    made = draft(
        recording(
            tmp_path,
            [*configured(1), said(2, "One"), *left(3)],
            [*configured(10), said(11, "Two"), *left(12)],
        ),
        data_file="d.csv",
    )
    assert list(parsed(made).scenarios) == ["Recorded guest 1", "Recorded guest 2"]


def test_a_guest_that_was_resumed_signed_in_or_never_cleared_is_told(tmp_path: Path) -> None:
    first = sent(1, "configureAuthenticatedSession", data={"code": "secret-code"})
    resumed = got(1.1, "SessionResponse", {"connected": True})
    made = draft(recording(tmp_path, [first, resumed, said(2, "Hi")]), data_file="d.csv")
    told = " ".join(made.notes)
    for words in ("had begun before the recording", "without ending its session", "--sign-in"):
        assert words in told


def test_the_same_value_has_one_column_and_others_their_own(tmp_path: Path) -> None:
    texts = ["Order 4711-99, Ada@X.example", "No, order 4711-99 of ada@x.example", "and 5000-11"]
    made = draft(
        recording(tmp_path, [*configured(1), *[said(2 + i, t) for i, t in enumerate(texts)]]),
        data_file="d.csv",
    )
    assert made.csv.splitlines()[0] == "order_number,email,order_number_2"
    assert 'say: "No, order {{order_number}} of {{email}}"' in made.yaml


PERSONAL = (
    "ada.lovelace@example.org", "+44 20 7946 0991", "4929 1234 5678 9012",
    "DE89 3704 0044 0532 0130 00",
    "ORD-2024-7788", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "https://x.example/?key=abc",
    "7d9f1c2e-0a1b-4c3d-8e5f-001122334455", TOKEN, DEPLOYMENT, "Lovelace-Byron", "12 Baker Street",
)  # fmt: skip


between = st.sampled_from([" ", "; ", ". "])
part = st.tuples(st.text(max_size=12), st.sampled_from(PERSONAL), between)


@given(st.lists(part, min_size=1, max_size=4))
@pytest.mark.parametrize("by", ["text", "choice", "file"])
def test_nothing_secret_is_in_what_is_made(by: str, parts: list[tuple[str, str, str]]) -> None:
    attributes = {"channel": {"metadata": {"customAttributes": {"name": "Lovelace-Byron"}}}}
    messages: list[Any] = [*configured(1)]
    jwt = "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.sig"
    messages.append(got(1.5, "JwtResponse", {"jwt": jwt, "exp": 1}, tracingId="t-jwt"))
    for number, (around, secret, between) in enumerate(parts):
        text, at_s = f"{around} {secret} {between}{around}", 2.0 + number
        offer = {"contentType": "QuickReply", "quickReply": {"text": text, "payload": text}}
        messages.append(came(at_s, f"Dear {secret}", content=[offer]))
        if by == "text":
            messages.append(said(at_s + 0.5, text, **attributes))
        elif by == "choice":
            messages.append(sent(at_s + 0.5, message=chosen(text) | attributes))
        else:
            name = f"{secret}.pdf"
            messages.append(sent(at_s + 0.3, "onAttachment", fileName=name, fileSize=3))
            place = {"attachmentId": f"att-{number}"}
            answer = got(at_s + 0.4, "PresignedUrlResponse", place, tracingId=f"t-{at_s + 0.3}")
            content = [{"contentType": "Attachment", "attachment": {"id": f"att-{number}"}}]
            messages += [answer, said(at_s + 0.5, name, content=content, **attributes)]
    with TemporaryDirectory() as folder:
        made = draft(recording(Path(folder), messages), data_file="chat.csv")
    parsed(made)
    written = "\n".join([made.yaml, made.csv, *made.files, *made.dropped, *made.notes])
    for _, secret, _ in parts:
        assert secret.casefold() not in written.casefold()
    assert jwt not in written


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=4), st.booleans())
def test_any_texts_make_a_script_that_can_be_read(texts: list[str], offered: bool) -> None:
    messages: list[Any] = [*configured(1)]
    for number, text in enumerate(texts):
        quick = {"contentType": "QuickReply", "quickReply": {"text": text, "payload": "p"}}
        messages.append(came(2.0 + number, text, content=[quick] if offered else None))
        messages.append(sent(2.5 + number, message=chosen(text)))
    with TemporaryDirectory() as folder:
        made = draft(recording(Path(folder), messages), data_file="chat.csv")
    if made.yaml:
        parsed(made)


def test_plain_texts_come_through_to_the_letter(tmp_path: Path) -> None:
    texts = [
        "Grüße: \"a\" #b {{c}} ${d} \\ 'e'",
        "\ttab\nline\u2028sep\u0085nel",
        "😀 yes",
        "no",
        "~",
    ]
    found = steps(tmp_path, [*configured(1), *[said(2 + i, t) for i, t in enumerate(texts)]])
    said_texts = [text for kind, text in found if kind == "say"]
    assert said_texts == ["Grüße: \"a\" #b { {c}} $ {d} \\ 'e'", *texts[1:]]
