"""A script played on paper: counts, durations and broken limits, before anything is sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from script_texts import parse_script

from harness.errors import ConfigError
from harness.workload.script.estimate import ScenarioEstimate, estimate


def played(steps: str, reply_s: float = 1.0) -> ScenarioEstimate:
    script = parse_script("scenarios:\n  A:\n" + steps, name="s")
    return estimate(script, reply_s=reply_s).scenarios[0]


def test_a_short_talk() -> None:
    found = played(
        "    - join\n    - say: a\n    - waitForReplyContaining: b\n    - think: 4s\n    - say: c\n"
    )
    # configure, join, two texts, clear
    assert (found.requests, found.texts, found.waits, found.connections) == (5, 2, 1, 1)
    assert found.duration_s == 5
    assert found.breaks == ()
    assert (found.peak_per_min, found.peak_per_s) == (5, 2)


def test_a_clear_of_the_scripts_own_is_not_counted_twice() -> None:
    assert played("    - say: a\n    - clear\n").requests == 3


def test_typing_attaching_and_idling_cost_requests() -> None:
    assert played("    - typing: 12s\n").requests == 2 + 3
    assert played("    - typing: 0s\n").requests == 2 + 1
    assert played("    - attach: a.pdf\n").requests == 2 + 2
    idle = played("    - idle: 10m\n")
    assert (idle.requests, idle.duration_s) == (2 + 13, 600)


def test_a_minute_ends_before_the_next_begins() -> None:
    # configure and text at 0; health check at 45; text and clear at 60
    found = played("    - say: a\n    - think: 60s\n    - say: b\n")
    assert (found.requests, found.peak_per_min) == (5, 3)


def test_a_health_check_goes_out_as_long_after_the_last_request_as_a_guest_sends_it() -> None:
    assert played("    - idle: 40s\n    - say: a\n    - idle: 40s\n").requests == 3
    assert played("    - idle: 50s\n    - say: a\n    - idle: 50s\n").requests == 3 + 2
    # as after the configure of a new connection
    cut = "    - idle: {0}\n    - drop\n    - reconnect\n    - idle: {0}\n"
    assert played(cut.format("40s")).requests == 3  # two configures and the clear
    assert played(cut.format("50s")).requests == 3 + 2
    alone = "    - join\n    - drop\n    - idle: 10m\n    - reconnect\n    - say: a\n"
    assert played(alone).requests == 5, "nothing can be sent without a connection"


def test_more_than_sixty_requests_in_a_minute_break_the_connections_limit() -> None:
    def talk(times: int, pause: str) -> ScenarioEstimate:
        steps = f"      steps:\n        - say: a\n        - think: {pause}\n"
        return played(f"    - repeat: {times}\n" + steps)

    assert talk(58, "1s").breaks == ()  # with configure and clear sixty
    (sentence,) = talk(59, "1s").breaks
    assert sentence == (
        "A: 61 requests in a minute on one connection with replies after 1s; the service takes 60"
    )
    assert talk(200, "1.1s").breaks == ()


def test_a_new_connection_has_a_budget_of_its_own_but_the_session_has_not() -> None:
    steps = "    - repeat: 40\n      steps: [{say: a}, {think: 0.5s}]\n"
    assert played(steps + steps).peak_per_min > 60
    for cut in ("    - drop\n    - reconnect\n", "    - drop\n"):
        two = played(steps + cut + steps)
        assert two.connections == 2
        assert two.breaks == ()
        assert two.requests == 83
    assert played("    - say: a\n    - drop\n").connections == 2  # it comes back to clear


def test_more_than_five_messages_in_a_second_break_the_sessions_limit() -> None:
    burst = "    - repeat: 6\n      steps: [{say: a}]\n    - think: 2s\n"
    (sentence,) = played(burst).breaks
    assert "6 messages in a second" in sentence
    assert played(burst.replace("6", "5")).breaks == ()
    waiting = "    - repeat: 6\n      steps: [{say: a}, {waitForReplyContaining: b}]\n"
    assert played(waiting, reply_s=0.5).breaks == ()
    assert played(waiting, reply_s=0.1).breaks != ()


def test_the_mean_guest_follows_the_weights() -> None:
    text = (
        "scenarios:\n  A: {weight: 3, steps: [{say: a}, {think: 10s}]}\n"
        "  B: [{say: a}, {say: b}, {think: 2s}]\n"
    )
    found = estimate(parse_script(text, name="s"))
    assert [one.share for one in found.scenarios] == [0.75, 0.25]
    assert found.mean_duration_s == pytest.approx(8)
    assert found.mean_texts == pytest.approx(1.25)
    assert found.mean_requests == pytest.approx(3.25)
    assert found.breaks == ()


@given(
    st.lists(st.sampled_from(["say: a", "think: 3s", "idle: 90s", "join", "drop", "typing: 7s"]))
)
def test_whatever_happens_the_account_adds_up(steps: list[str]) -> None:
    if not steps:
        return
    found = played("".join(f"    - {step}\n" for step in steps))
    assert found.texts == steps.count("say: a")
    assert found.duration_s == pytest.approx(
        3 * steps.count("think: 3s") + 90 * steps.count("idle: 90s") + 7 * steps.count("typing: 7s")
    )
    sent = steps.count("say: a") + steps.count("join") + 2 * steps.count("typing: 7s")
    assert found.requests >= sent + found.connections + 1
    assert found.peak_per_min <= found.requests


def test_a_nonsense_reply_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="reply time"):
        played("    - join\n", reply_s=-1)
