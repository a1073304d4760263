"""A plan's figures follow from closed forms; what breaks a limit is told, what is doubtful too."""

import json
import re
from dataclasses import asdict, replace
from typing import Any

import pytest
from scipy.stats import poisson

from harness.cli.main import command_of
from harness.errors import ConfigError
from harness.studies.plan.model import (
    Capacity,
    LaunchPlan,
    Wanted,
    plan_launch,
    slots_for,
)
from harness.supervise.parameters import check_numbers

LAUNCH = Wanted(chats_per_h=3000, peak_factor=1.6, handle_s=480, messages=12)


def test_load_follows_from_littles_law_and_chance() -> None:
    plan = plan_launch(replace(LAUNCH, to_agents=0))
    assert plan.peak_per_min == pytest.approx(80)
    assert plan.occupancy == pytest.approx(80 * 8)
    assert plan.occupancy_high == poisson.ppf(0.999, 640)
    assert poisson.cdf(plan.peak_minute, 80) >= 0.999 > poisson.cdf(plan.peak_minute - 1, 80)
    assert plan.messages_per_s == pytest.approx(16)
    assert plan.test_guests == 4800
    assert plan_launch(replace(LAUNCH, chats_per_h=60_000, peak_factor=1)).test_guests == 60_000
    assert plan.obstacles == plan.warnings == ()


def test_waiting_is_time_in_session_too() -> None:
    plan = plan_launch(LAUNCH)
    assert plan.agents.mean_wait_s > 10
    assert plan.occupancy == pytest.approx(80 * (480 + plan.agents.mean_wait_s) / 60)
    assert plan.session_s == pytest.approx(480 + plan.agents.mean_wait_s)
    # a queue grows long at times: far beyond what chance does to a number without one
    assert plan.occupancy_high > poisson.ppf(0.999, plan.occupancy) * 1.2


@pytest.mark.parametrize("at_once", [1, 7, 50, 700, 20_000])
def test_slots_leave_a_tenth_to_spare(at_once: float) -> None:
    high = int(poisson.ppf(0.999, at_once))
    assert 1.1 * high <= slots_for(at_once) <= 1.1 * high + 8


def test_agents_are_those_of_the_published_erlang_c_example() -> None:
    # callcentrehelper.com, "Erlang C formula made simple": 200 calls an hour of 3 minutes with 80 %
    # answered in 20 s need 14 agents (88.8 %), before shrinkage
    wanted = Wanted(chats_per_h=200, handle_s=180, messages=4, answer_within_s=20)
    agents = plan_launch(wanted).agents
    assert (agents.on_duty, agents.on_roster, agents.model) == (14, 14, "Erlang C")
    assert agents.answered_within == pytest.approx(0.888, abs=5e-4)
    # the same page adds 30 % of shrinkage: 14 / 0.7 = 20
    assert plan_launch(replace(wanted, shrinkage=0.3)).agents.on_roster == 20


def test_patience_concurrency_and_bots_lower_the_need() -> None:
    plain = plan_launch(LAUNCH).agents
    patient = plan_launch(replace(LAUNCH, patience_s=120)).agents
    assert patient.model == "Erlang A"
    assert patient.on_duty < plain.on_duty
    assert patient.gives_up > 0
    three = plan_launch(replace(LAUNCH, concurrency=3)).agents
    assert three.on_duty == -(-plain.places // 3)
    assert three.places == three.on_duty * 3
    some = plan_launch(replace(LAUNCH, to_agents=0.25)).agents
    assert some.on_duty < plain.on_duty / 3
    assert plan_launch(replace(LAUNCH, to_agents=0)).agents.on_duty == 0
    first = plan_launch(replace(LAUNCH, bot_s=240))  # half of each chat: the guests stay, agents go
    assert first.agents.on_duty == pytest.approx(plain.on_duty / 2, rel=0.02)
    assert first.occupancy == pytest.approx(plan_launch(LAUNCH).occupancy, rel=0.03)


def test_leftovers_cost_the_time_they_keep_an_agents_place() -> None:
    plan = plan_launch(replace(LAUNCH, leftover_share=0.01, leftover_s=7200, concurrency=2))
    # 30 an hour for two hours each on half an agent
    assert plan.leftover_chats_per_h == pytest.approx(30)
    assert plan.leftover_agents == pytest.approx(30)
    assert plan.leftover_agent_hours_per_1000_chats == pytest.approx(10)


def test_limits_and_windows_are_checked() -> None:
    crowded = plan_launch(replace(LAUNCH, chats_per_h=60_000))
    assert any("limit of 1,000 a minute per deployment" in one for one in crowded.obstacles)
    chatty = plan_launch(replace(LAUNCH, messages=600))
    assert any("limit of 60" in one for one in chatty.obstacles)
    assert plan_launch(replace(LAUNCH, test_s=6 * 3600)).nights == 2
    endless = plan_launch(replace(LAUNCH, handle_s=4 * 3600))
    assert endless.nights is None
    assert any("cannot fill up and drain" in one for one in endless.obstacles)
    capped = plan_launch(replace(LAUNCH, most_per_min=60, most_sessions=4000))
    assert any("max_rate is 60/min" in one for one in capped.obstacles)
    assert any("max_sessions is 4,000" in one for one in capped.obstacles)


def rates_of(plan: LaunchPlan) -> list[tuple[float, bool]]:
    """The rates that the printed commands ask for, and whether these come evenly."""
    rates = []
    for run in plan.runs:
        words = run.command.split()
        rates += [
            (float(words[at + 1].removesuffix("/min")), "even" in words)
            for at, word in enumerate(words)
            if word in ("--rate", "--start", "--highest", "--wanted")
        ]
    return rates


@pytest.mark.parametrize("chats_per_h", [60, 3000, 33_000, 36_000, 60_000, 2_000_000])
@pytest.mark.parametrize("most", [None, 50.0])
def test_no_printed_command_exceeds_a_limit(chats_per_h: float, most: float | None) -> None:
    plan = plan_launch(replace(LAUNCH, chats_per_h=chats_per_h, to_agents=0, most_per_min=most))
    rates = rates_of(plan)
    assert len(rates) >= 6
    for rate, even in rates:
        assert rate <= (most or 1000)
        assert even or poisson.ppf(0.999, rate) <= 1000
    assert not any("e+0" in run.command for run in plan.runs)


def test_a_spike_is_stated_as_its_peak() -> None:
    plan = plan_launch(LAUNCH)
    (spike,) = (run for run in plan.runs if "worst minute" in run.why)
    assert f"--rate {plan.peak_minute}/min" in spike.command
    assert "--arrivals even" in spike.command  # chance is in the figure already
    assert spike.guests == plan.peak_minute * 10


def test_what_the_runs_send_is_told() -> None:
    plan = plan_launch(replace(LAUNCH, ai_tokens=1.2))
    peak = next(run for run in plan.runs if "the peak" in run.why)
    assert (peak.guests, peak.messages) == (4800, 57_600)
    assert peak.ai_tokens == pytest.approx(5760)
    assert plan_launch(LAUNCH).runs[1].ai_tokens is None


def test_all_runs_play_the_plans_file_against_its_target() -> None:
    plan = plan_launch(LAUNCH, locustfile="x.py", target="--target staging", guarded=True)
    assert plan.runs[0].command == "harness preflight --target staging"
    for run in plan.runs[1:]:
        assert run.command.split()[2:5] == ["x.py", "--target", "staging"]


def test_headroom_is_that_of_the_tightest_figure() -> None:
    wanted = replace(LAUNCH, to_agents=0)
    assert plan_launch(wanted).headroom is None
    above = plan_launch(replace(wanted, capacity=Capacity(per_min=100)))
    assert above.headroom == pytest.approx(0.25)
    small = plan_launch(replace(wanted, capacity=Capacity(per_min=60)))
    assert small.headroom == pytest.approx(-0.25)
    assert any("25% below the peak" in one for one in small.obstacles)
    capacity = Capacity(per_min=100, at_once=720, messages_per_s=24, session_s=440, messages=14)
    tight = plan_launch(replace(wanted, capacity=capacity))
    assert (tight.headroom, tight.headroom_by) == (pytest.approx(0.125), "guests in session")


@pytest.mark.parametrize(
    ("session_s", "messages", "reason"),
    [
        (0.42, 1.0, "stay 420ms (the plan's: 8m) and have 1 messages answered each"),
        (480.0, 9.0, "have 9 messages answered each (the plan's: 12)"),
        (600.0, 12.0, "stay 10m (the plan's: 8m)"),
    ],
)
def test_a_search_with_other_guests_says_nothing_of_the_headroom(
    session_s: float, messages: float, reason: str
) -> None:
    # 480 guests a minute of 0.42 s each: by the rate alone that would be 500 % to spare
    capacity = Capacity(per_min=480, session_s=session_s, messages=messages, source="the search")
    plan = plan_launch(replace(LAUNCH, to_agents=0, capacity=capacity))
    assert plan.headroom is None
    assert reason in plan.unknown[0]


def test_one_machine_serves_all_needs() -> None:
    # 0.64 + 0.80 + 0.15 of a machine are two, though each of them alone fits one
    plan = plan_launch(LAUNCH)
    guests, per_s = plan.occupancy_high, plan.peak_minute / 60
    needs = plan_launch(
        replace(
            LAUNCH,
            machine_guests=guests / 0.64,
            machine_guests_per_s=per_s / 0.80,
            machine_messages_per_s=per_s * 12 / 0.15,
        )
    )
    assert list(needs.machine_shares.values()) == pytest.approx([0.64, 0.80, 0.15])
    assert needs.machines == 2


def test_runs_of_several_machines_are_led_by_a_master_and_small_ones_are_not() -> None:
    wanted = replace(
        LAUNCH, chats_per_h=9000, machine_guests=400, machine_processes=2, connections_per_min=5000
    )
    plan = plan_launch(wanted)
    assert plan.machines > 2
    runs = [run.command for run in plan.runs if run.command.startswith("harness run")]
    led = [int(match[1]) for run in runs if (match := re.search(r"--expect-workers (\d+)", run))]
    assert max(led) == plan.machines * 2
    assert "--master" not in runs[0], "a few guests"
    assert plan.worker == "harness worker MASTER --processes 2 --again"
    assert plan_launch(LAUNCH).worker == ""
    many = replace(wanted, chats_per_h=200_000, machine_guests=100)
    assert any("more than one master can lead" in one for one in plan_launch(many).warnings)
    assert plan.deploy == "", "there is no target"
    real = plan_launch(wanted, target="--target staging", guarded=True)
    words = real.deploy.split()
    assert words[:3] == ["harness", "deploy", "kubernetes"]
    arguments = command_of("deploy").parse(*words[2:])
    peak = next(run for run in real.runs if run.deploy)
    assert (arguments.target, arguments.workers) == ("staging", peak.workers)
    assert f"--rate {arguments.rate} --over {arguments.over}" in peak.command
    check_numbers(command_of("run").parse(*arguments.rest))
    address = "--target wss://h/v1?deploymentId=0"
    assert plan_launch(wanted, target=address, guarded=True).deploy == "", "it has no name"
    assert not any("(NAT)" in one for one in plan.warnings)
    assert any("(NAT)" in one and "give them" in one for one in plan_launch(many).warnings)
    (search,) = [run for run in plan.runs if run.command.startswith("harness capacity")]
    assert search.workers > max(led), "it goes above the peak"
    assert f"--master --bind 0.0.0.0 --expect-workers {search.workers}" in search.command


def test_doubts_are_told() -> None:
    def warned(**changes: Any) -> str:
        return "; ".join(plan_launch(replace(LAUNCH, **changes)).warnings)

    assert "shorter than three chats" in warned(test_s=1200)
    assert "shorter" not in warned(test_s=1800)
    assert "98% busy" in warned()
    assert warned(chats_per_h=100, answer_within_s=5, patience_s=600) == ""
    assert "give up before one comes" in warned(patience_s=40, service_level=0.6)


def test_a_plan_is_plain_json() -> None:
    plain = json.loads(json.dumps(asdict(plan_launch(LAUNCH)), allow_nan=False))
    assert plain["agents"]["places"] == plan_launch(LAUNCH).agents.places


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
        ("shrinkage", 0.99, "shrinkage: expected 0% to 95%"),
        ("bot_s", 480, "bot time: expected less than the handle time"),
        ("ai_tokens", -1, "ai tokens per guest"),
    ],
)
def test_nonsense_is_refused_with_the_reason(field: str, value: float, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        replace(LAUNCH, **{field: value})
