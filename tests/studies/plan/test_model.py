"""A plan's figures follow from closed forms; what breaks a limit is warned about."""

import json
from dataclasses import replace

import pytest
from scipy.stats import poisson

from harness.errors import ConfigError
from harness.protocol import names
from harness.studies.plan import model as planning
from harness.studies.plan.model import Wanted, peak_of_intervals, plan_launch
from harness.workload.arrivals import ramp, steady

LAUNCH = Wanted(chats_per_h=3000, peak_factor=1.6, handle_s=480, messages=12)


def test_load_follows_from_littles_law_with_a_poisson_allowance() -> None:
    plan = plan_launch(LAUNCH)
    assert plan.peak_per_min == pytest.approx(80)
    assert plan.occupancy == pytest.approx(80 * 8)
    assert poisson.cdf(plan.peak_minute, 80) >= 0.999 > poisson.cdf(plan.peak_minute - 1, 80)
    assert plan.slots == plan.occupancy_high == poisson.ppf(0.999, 640)
    assert plan.test_guests == 4800
    assert plan.warnings == ()


def test_agents_are_those_of_the_published_erlang_c_example() -> None:
    # callcentrehelper.com, "Erlang C formula made simple": 200 calls an hour of 3 minutes with 80 %
    # answered in 20 s need 14 agents (88.8 %), before shrinkage
    plan = plan_launch(Wanted(chats_per_h=200, handle_s=180, messages=4, answer_within_s=20))
    assert (plan.agents, plan.model) == (14, "Erlang C")
    assert plan.answered_within == pytest.approx(0.888, abs=5e-4)


def test_patience_concurrency_and_bots_lower_the_need() -> None:
    plain = plan_launch(LAUNCH)
    patient = plan_launch(replace(LAUNCH, patience_s=120))
    assert patient.model == "Erlang A"
    assert patient.agents < plain.agents
    assert patient.abandoned > 0
    three = plan_launch(replace(LAUNCH, concurrency=3))
    assert three.agent_slots == plain.agent_slots
    assert three.agents == -(-plain.agent_slots // 3)
    bots = plan_launch(replace(LAUNCH, to_agents=0.25))
    assert bots.agents < plain.agents / 3
    assert plan_launch(replace(LAUNCH, to_agents=0)).agents == 0


def test_leftovers_cost_the_time_they_keep_an_agents_place() -> None:
    plan = plan_launch(replace(LAUNCH, leftover_share=0.01, leftover_s=7200, concurrency=2))
    # 30 an hour for two hours each on half an agent
    assert plan.leftover_chats_per_h == pytest.approx(30)
    assert plan.leftover_agents == pytest.approx(30)
    assert plan.leftover_agent_hours_per_1000_chats == pytest.approx(10)


def test_limits_windows_and_capacity_are_checked() -> None:
    crowded = plan_launch(replace(LAUNCH, chats_per_h=60_000))
    assert any("limit of 1,000 a minute per deployment" in w for w in crowded.warnings)
    huge = plan_launch(replace(LAUNCH, chats_per_h=2_000_000))
    assert not any("e+0" in command for command, _ in huge.commands)
    assert "--rate 53333/min" in huge.commands[1][0]
    chatty = plan_launch(replace(LAUNCH, messages=600))
    assert any("limit of 60" in w for w in chatty.warnings)
    assert plan_launch(replace(LAUNCH, test_s=6 * 3600)).nights == 2
    endless = plan_launch(replace(LAUNCH, handle_s=4 * 3600))
    assert endless.nights is None
    assert any("cannot fill up and drain" in w for w in endless.warnings)
    small = plan_launch(replace(LAUNCH, capacity_per_min=60))
    assert small.headroom == pytest.approx(-0.25)
    assert any("25% below the peak" in w for w in small.warnings)
    assert plan_launch(replace(LAUNCH, capacity_per_min=100)).headroom == pytest.approx(0.25)
    held = plan_launch(replace(LAUNCH, capacity_at_once=320))  # of 640
    assert held.headroom == pytest.approx(-0.5)
    assert any("capacity of 320 guests at once is 50% below" in w for w in held.warnings)


def test_machines_are_for_whatever_is_scarcer() -> None:
    held = plan_launch(replace(LAUNCH, machine_guests=100))
    assert (held.machines, held.machines_for) == (-(-held.occupancy_high // 100), "guests held")
    fast = plan_launch(replace(LAUNCH, machine_guests_per_s=0.5))
    assert fast.machines_for == "new guests per second"
    assert fast.machines == 4

    chatty = plan_launch(replace(LAUNCH, machine_messages_per_s=5))
    assert (chatty.machines, chatty.machines_for) == (5, "messages per second")  # 22 a second


def test_the_arrivals_can_be_run_as_they_are_written() -> None:
    plan = plan_launch(LAUNCH)
    schedule = eval(plan.arrivals, {"ramp": ramp, "steady": steady})
    assert schedule.duration_s == LAUNCH.test_s
    assert schedule.rate_at(1800) * 60 == pytest.approx(plan.peak_per_min)


def test_a_plan_is_plain_json() -> None:
    found = json.loads(json.dumps(plan_launch(LAUNCH).as_dict(), allow_nan=False))
    assert found["agents"] == plan_launch(LAUNCH).agents


def test_the_busiest_hour_of_a_profile() -> None:
    # quarters of an hour; the busiest hour is 20 + 40 + 30 + 30
    mean, peak = peak_of_intervals([5, 10, 20, 40, 30, 30, 10], 900)
    assert mean == pytest.approx(120)
    assert peak == pytest.approx(40 * 4 / 120)
    assert peak_of_intervals([100], 7200) == (pytest.approx(50), pytest.approx(1))
    with pytest.raises(ConfigError, match="no guests"):
        peak_of_intervals([0, 0], 900)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("chats_per_h", 0, "chats per hour"),
        ("chats_per_h", float("nan"), "chats per hour"),
        ("chats_per_h", 1e9, "is the unit right"),
        ("handle_s", -1, "handle time"),
        ("handle_s", 200_000, "is the unit right"),
        ("messages", 0, "messages"),
        ("peak_factor", 0.5, "peak factor: expected 1 to 100"),
        ("concurrency", 0, "concurrency"),
        ("to_agents", 1.5, "to agents: expected 0% to 100%, got 150%"),
        ("service_level", 1, "service level"),
        ("leftover_share", -0.1, "leftover rate"),
        ("patience_s", 0, "patience"),
        ("capacity_per_min", 0, "capacity"),
    ],
)
def test_nonsense_is_refused_with_the_reason(field: str, value: float, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        replace(LAUNCH, **{field: value})


def test_the_limits_are_the_protocols() -> None:
    assert planning.CONNECTIONS_PER_MINUTE == names.CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE
    assert planning.REQUESTS_PER_CONNECTION_PER_MINUTE == names.REQUESTS_PER_CONNECTION_PER_MINUTE
