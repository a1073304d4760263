"""A worker restarted in place, as every container is, hides no session from the ledger's list."""

import os

import pytest
from restarts import EACH_RUN, restart_in_place

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces"),
]
SEED = 20_261_128


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(3, marks=[pytest.mark.long, pytest.mark.timeout(240)]),
        pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_restarts_in_place_hide_nothing(count: int) -> None:
    result = restart_in_place(count, seed=SEED)
    print(result.text)
    assert result.faults == []
    assert result.unlisted == 0
    assert result.restarts == count
    assert result.open >= count // EACH_RUN, "it could not have broken"
