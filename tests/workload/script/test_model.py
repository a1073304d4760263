"""The script model: foreign scripts run unchanged, ours say more, mixes follow their weights."""

from collections import Counter
from random import Random

import pytest
from script_texts import parse_script

from harness.workload.data import parse_table
from harness.workload.script.model import StepKind, columns_in, render, walk
from harness.workload.think import lognormal

# The form that ovotech's genesys-web-messaging-tester takes.
FOREIGN = r"""config:
  deploymentId: 11111111-1111-1111-1111-111111111111
  region: xx
  origin: https://shop.example
  stepTimeoutInSeconds: 25
scenarios:
  Accept survey:
    - say: hi
    - waitForReplyContaining: Can we ask you some questions?
    - say: Yes
    - waitForReplyMatching: ^Thank you.* (?<agent>00[\.7]) \k<agent>$
  Decline survey:
    - say: hi
    - waitForReplyContaining: Can we ask you some questions?
    - say: No
"""

OURS = """\
feeder: {file: orders.csv, mode: unique}
within: 15s
attributes: {channel: web, tier: none}
scenarios:
  Order:
    weight: 3
    attributes: {tier: gold}
    steps:
      - join
      - think: lognormal(6s, p95=20s)
      - repeat: 2
        steps:
          - say: Where is {{order}}?
            attributes: {order: "{{ order }}"}
          - waitForReplyContaining: "{{order}}"
            within: 20s
      - typing: 2s
      - choose: Thanks
      - attach: invoice.pdf
      - drop
      - reconnect:
      - waitForReplyMatching: "bye|later"
      - waitForReply:
        within: 1m
      - idle: 5m
      - clear: true
  Nothing:
    - say: Hello
"""
ORDERS = parse_table("order\n4711\n12\n", name="orders.csv")


def test_a_foreign_script_runs_unchanged() -> None:
    script = parse_script(FOREIGN, name="tests.yaml")
    assert list(script.scenarios) == ["Accept survey", "Decline survey"]
    steps = script.scenarios["Accept survey"].steps
    assert [(step.kind, step.text) for step in steps] == [
        (StepKind.SAY, "hi"),
        (StepKind.WAIT_CONTAINING, "Can we ask you some questions?"),
        (StepKind.SAY, "Yes"),
        (StepKind.WAIT_MATCHING, r"^Thank you.* (?<agent>00[\.7]) \k<agent>$"),
    ]
    assert script.within_s(steps[1]) == 25
    without = parse_script(FOREIGN.replace("  stepTimeoutInSeconds: 25\n", ""), name="tests.yaml")
    assert without.within_s(steps[1]) == 10
    assert script.pause_before_texts_s == 2
    assert parse_script(OURS, name="ours.yaml", table=ORDERS).pause_before_texts_s == 0
    assert script.config is not None
    assert script.config.origin == "https://shop.example"
    ours = parse_script(FOREIGN + "within: 3s\n", name="tests.yaml")
    assert ours.within_s(steps[1]) == 3


def test_every_step_of_ours() -> None:
    script = parse_script(OURS, name="ours.yaml", table=ORDERS)
    steps = list(walk(script.scenarios["Order"].steps))
    said = ["say", "waitForReplyContaining"]
    after = ["typing", "choose", "attach", "drop", "reconnect", "waitForReplyMatching"]
    last = ["waitForReply", "idle", "clear"]
    assert [str(s.kind) for s in steps] == ["join", "think", *said, *said, *after, *last]
    assert {step.kind for step in steps} | {StepKind.REPEAT} == set(StepKind)
    assert steps[1].think_time == lognormal("6s", p95="20s")
    assert (steps[6].duration_s, steps[-2].duration_s) == (2, 300)
    assert (script.within_s(steps[3]), script.within_s(steps[-4])) == (20, 15)
    assert script.within_s(steps[-3]) == 60


def test_the_nearer_attributes_win() -> None:
    script = parse_script(OURS, name="ours.yaml", table=ORDERS)
    step = next(s for s in walk(script.scenarios["Order"].steps) if s.kind is StepKind.SAY)
    row = ORDERS.row(0)
    found = {key: render(v, row) for key, v in script.attributes_of("Order", step).items()}
    assert found == {"channel": "web", "tier": "gold", "order": "4711"}
    assert script.attributes_of("Nothing") == {"channel": "web", "tier": "none"}


def test_columns_are_filled_in() -> None:
    assert render("{{a}} and {{ b }}, {c}", {"a": "1", "b": "{{a}}"}) == "1 and {{a}}, {c}"
    assert columns_in("{{a}} and {{ b }}, {c}") == {"a", "b"}


def test_scenarios_are_picked_as_often_as_their_weights_say() -> None:
    script = parse_script(OURS, name="ours.yaml", table=ORDERS)
    rng = Random(1)
    picked = Counter(script.pick(rng) for _ in range(4000))
    assert picked["Order"] == pytest.approx(3000, abs=140)  # five standard errors
