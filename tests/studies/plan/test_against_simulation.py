"""A plan's figures are what happens to guests who are simulated one by one."""

import pytest

from tests.benchmarks.plans import LAUNCHES, WHY, Launch, compare

ROUGHLY = {"wait, s": 0.25, "give up": 0.1, "at most": 0.1, "worst minute": 0.1}
"""What so few guests leave to chance; the whole table has 5 % for all of them."""


FEW = 3
"""Of the launches, in the contributor's loop."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "launch",
    [
        pytest.param(launch, id=launch.name, marks=[pytest.mark.rates] if number >= FEW else [])
        for number, launch in enumerate(LAUNCHES)
    ],
)
def test_each_figure_is_what_happens(launch: Launch) -> None:
    comparison = compare(launch, guests=200_000, seed=5)
    off = {
        name: f"planned {value:.4g}, happened {happened:.4g}"
        for name, (value, happened, far) in comparison.rows.items()
        if abs(far) > ROUGHLY.get(name, 0.05) and name not in WHY
    }
    assert off == {}
    assert (
        comparison.plan.agents.places == 0
        or comparison.one_agent_less < launch.wanted.service_level + 0.02
    )
