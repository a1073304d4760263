"""Conversations: ended once, opened again, found by any id, forgotten within bounds."""

from harness.simulator.frames import dashed
from harness.simulator.service import Service
from harness.simulator.settings import Knobs


def opened(service: Service, token: str):
    return service.open_session(service.deployments["d"], token)


def test_open_conversations_are_never_forgotten(service_with) -> None:
    service = service_with(Knobs(keep_conversations=5))
    for number in range(100):
        conversation = service.conversations.start(opened(service, f"t{number}"))
        if number >= 10:
            service.conversations.end(conversation, "client")
    left = list(service.conversations.values())
    assert len([item for item in left if item.open]) == 10
    assert len(left) < 40


def test_more_open_ones_than_the_limit_are_not_searched_each_time(service_with) -> None:
    service = service_with(Knobs(keep_conversations=5))
    for number in range(200):
        service.conversations.start(opened(service, f"t{number}"))
    assert len(service.conversations.values()) == 200


def test_one_ends_once_and_opens_again(service_with) -> None:
    service = service_with()
    session = opened(service, "t")
    conversation = service.conversations.start(session)
    service.conversations.end(conversation, "peer")
    first = conversation.end
    service.conversations.end(conversation, "client")
    assert conversation.end == first
    assert {leg.disconnect_type for leg in conversation.participants} == {"peer"}
    service.conversations.reopen(session, conversation)
    assert conversation.open
    assert service.truth.whole.figures()["conversations"] == {"opened": 1, "ended": 0, "open": 1}


def test_found_by_its_own_id_and_by_those_of_its_messages(service_with) -> None:
    service = service_with()
    session = opened(service, "t")
    conversation = service.conversations.start(session)
    message, _ = service.head(conversation)
    find = service.conversations.find
    assert find(conversation.id) == (conversation, 0)
    assert find(message) == find(dashed(message)) == (conversation, 1)
    assert find(service.ids.message(conversation.serial, 2)) is None  # not sent yet
    assert find(service.ids.message(conversation.serial + 1, 0)) is None
    assert find("x") is None


def test_a_run_named_after_the_end_counts_both(service_with) -> None:
    service = service_with()
    session = opened(service, "t")
    service.conversations.end(service.conversations.start(session), "peer")
    service.assign_run(session, "r-1")
    told = service.truth.runs["r-1"].figures()["conversations"]
    assert told == {"opened": 1, "ended": 1, "open": 0}
