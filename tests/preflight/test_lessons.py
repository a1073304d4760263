"""What was learnt, as lines; and what the Origin header has to be."""

from harness.preflight.checks import Status, check_flow, check_origin, lessons
from harness.preflight.guard import Learned


def test_lines_tell_what_is_known_and_nothing_else() -> None:
    assert list(lessons(Learned())) == []
    found = {
        check.name: check
        for check in lessons(
            Learned(
                joined=False,
                greets=True,
                greeting_messages=2,
                turn_messages=1,
                first_message_s=12.34,
                last_message_s=15.0,
                clear_s=0.25,
                retired_s=0.001,
                close_code=1000,
                answered_by="Bot",
            ),
            sessions=1000,
        )
    }
    assert found["greets"].text == "yes, with its first answer: 2 messages"
    assert found["turn"].text == "1 message (the longer of two)"
    assert found["times"].status is Status.WARN  # slower than guests are used to wait
    assert "proved 250 ms after" in found["end"].text
    assert "1,200 with an agentic one" in found["answers by"].text
    (_, turn) = lessons(Learned(greets=False, turn_messages=3, turn_gap_s=0.9))
    assert turn.status is Status.WARN
    assert "3 messages" in turn.text
    assert turn.text.endswith("up to 0.9 s apart: run with --turn-silence 2.7s")
    (by_people,) = lessons(Learned(answered_by="Human"))
    assert by_people.text == "Human"


def test_the_flow_that_is_counted() -> None:
    flow = {"flow": {"id": "f-1"}}
    assert check_flow(None, ()) == check_flow({}, ()) == check_flow({"flow": None}, ()) == []
    (hint,), (fine,), (other,) = (check_flow(flow, flows) for flows in ((), ("f-1",), ("f-2",)))
    assert (hint.status, fine.status, other.status) == (Status.OK, Status.OK, Status.WARN)
    assert 'write flows = ["f-1"]' in hint.text
    assert fine.text == "f-1"


def test_domains_and_the_origin() -> None:
    shop = {"allowAllDomains": False, "allowedDomains": ["shop.example"]}
    cases = [
        (None, None, False, Status.SKIPPED, None),
        (None, {"allowAllDomains": True}, True, Status.OK, False),
        (None, shop, True, Status.OK, False),
        (None, shop, False, Status.WARN, True),
        ("https://www.shop.example", shop, True, Status.OK, None),
        ("https://notshop.example", shop, False, Status.WARN, True),
        (None, {"allowAllDomains": False, "allowedDomains": 7}, False, Status.WARN, True),
    ]
    for origin, domains, reached, status, needed in cases:
        check, found = check_origin(origin, domains, reached=reached)
        assert (check.status, found) == (status, needed), (origin, domains)
    assert (
        'write origin = "https://shop.example"' in check_origin(None, shop, reached=False)[0].text
    )
