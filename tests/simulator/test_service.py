"""Sessions and conversations: opened, ended, remembered, and forgotten within bounds."""

import os

from harness.simulator import admin
from harness.simulator.service import Service
from harness.simulator.settings import Knobs
from harness.simulator.truth import SessionEnd


def opened(service: Service, token: str):
    return service.open_session(service.deployments["d"], token)


def test_a_session_ends_once(service_with) -> None:
    service = service_with()
    session = opened(service, "t")
    service.end_session(session, SessionEnd.CLEARED)
    service.end_session(session, SessionEnd.EXPIRED)
    assert admin.full_truth(service)["sessions"] == {
        "opened": 1,
        "cleared": 1,
        "expired": 0,
        "replaced": 0,
        "open": 0,
    }


def test_time_ends_a_session_and_its_conversation(service_with) -> None:
    service = service_with(session_duration_s=-1)
    session = opened(service, "t")
    service.conversations.start(session)
    assert service.find_session(service.deployments["d"], "t") is None
    told = admin.full_truth(service)
    assert told["sessions"]["expired"] == 1
    assert told["conversations"]["open"] == 0


def test_a_replaced_session_leaves_its_conversation_open(service_with) -> None:
    service = service_with()
    session = opened(service, "t")
    service.conversations.start(session)
    service.end_session(session, SessionEnd.REPLACED)
    told = admin.full_truth(service)
    assert told["sessions"]["open"] == 0
    assert told["conversations"]["open"] == 1


def test_timelines_are_kept_up_to_the_limit_and_it_is_said_once(service_with, capsys) -> None:
    service = service_with(Knobs(keep_timelines=3))
    for number in range(10):
        service.end_session(opened(service, f"t{number}"), SessionEnd.CLEARED)
    assert [bool(admin.timeline(service, f"t{n}")) for n in range(10)] == [False] * 7 + [True] * 3
    assert capsys.readouterr().err.count("keep_timelines") == 1


def test_a_timeline_has_a_longest_length(service_with) -> None:
    service = service_with(Knobs(keep_events=4))
    session = opened(service, "t")
    for _ in range(10):
        service.note(session, "text")
    assert len(admin.timeline(service, "t")[0]["events"]) == 4


def test_a_run_is_accounted_from_the_moment_it_is_named(service_with) -> None:
    service = service_with()
    session = opened(service, "t")
    service.conversations.start(session)
    service.assign_run(session, "r-1")
    service.assign_run(session, "r-2")
    service.conversations.end(session.conversation, "client")
    service.end_session(session, SessionEnd.CLEARED)
    assert list(service.truth.runs) == ["r-1"]
    assert service.truth.runs["r-1"].figures() == service.truth.whole.figures()


def test_reset_forgets_everything(service_with) -> None:
    service = service_with()
    service.conversations.start(opened(service, "t"))
    service.faults.replace({"cut": 1})
    admin.start_anew(service)
    assert admin.full_truth(service)["sessions"]["opened"] == 0
    assert admin.open_tokens(service) == []
    assert not service.faults.active


def test_it_says_only_so_much(service_with, capsys, monkeypatch) -> None:
    service = service_with()
    for _ in range(500):
        service.log("the same again")
    assert capsys.readouterr().err.count("\n") == 200
    other = service_with()
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stderr", nobody)  # not writable
        other.log("is anybody there?")


def test_a_token_used_again_and_again_is_remembered_within_bounds(service_with) -> None:
    service = service_with()
    for _ in range(100):
        service.end_session(opened(service, "t"), SessionEnd.CLEARED)
    assert len(admin.timeline(service, "t")) == 20
