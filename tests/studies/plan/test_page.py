"""The plan's page gives a manager the answer first, and never a better one than there is."""

from dataclasses import replace
from typing import Any

import pytest

from harness.report.html.page import render
from harness.studies.plan.model import Capacity, Wanted, plan_launch
from harness.studies.plan.page import plan_page

LAUNCH = Wanted(chats_per_h=3000, peak_factor=1.6, handle_s=480, messages=12)


@pytest.mark.parametrize(
    ("changes", "headline", "tone"),
    [
        ({}, "It fits the documented limits; the capacity is not known yet", "no_data"),
        ({"capacity": Capacity(per_min=100)}, "It fits, with 25% to spare", "pass"),
        ({"capacity": Capacity(per_min=60)}, "It does not fit: 1 thing stands against it", "fail"),
        ({"chats_per_h": 60_000}, "It does not fit: 1 thing stands against it", "fail"),
    ],
)
def test_the_answer_comes_first(changes: dict[str, Any], headline: str, tone: str) -> None:
    wanted = replace(LAUNCH, **changes)
    plan = plan_launch(wanted)
    rows = [("what <b>", "7", "because")]
    html = render(plan_page(wanted, plan, rows, locustfile="x < 1"))
    assert f"<h1>{headline}</h1>" in html
    assert f'class="verdict {tone}"' in html
    assert "what &lt;b&gt;" in html
    assert "x &lt; 1" in html
    assert "http://" not in html
    assert "e+0" not in html
    for sentence in (*plan.assumptions, *plan.unknown):
        assert sentence in html
    for sentence in (*plan.obstacles, *plan.warnings):
        assert f"<li>{sentence[0].upper()}{sentence[1:]}.</li>" in html


def test_each_command_follows_what_it_is_for_and_none_is_cut_off() -> None:
    plan = plan_launch(LAUNCH)
    html = render(plan_page(LAUNCH, plan, [], locustfile="x"))
    commands = html[html.index('<pre tabindex="0" class="wraps">') :].partition("</pre>")[0]
    for run in plan.runs:
        assert f"# {run.why}" in commands
        assert f"\n{run.command}" in commands
    assert "generator machine<" in html
    assert "generator machines<" not in html
