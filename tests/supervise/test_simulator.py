"""The simulator beside a run: started, asked, stopped; a bad option is one sentence."""

import pytest

from harness.errors import ConfigError
from harness.finish import simulator_truth
from harness.supervise.children import EmbeddedSimulator

pytestmark = pytest.mark.process


def test_it_starts_tells_the_truth_and_stops() -> None:
    simulator = EmbeddedSimulator("--limits", "off")
    simulator.stop()  # of one that was never begun
    try:
        assert simulator.start() == simulator.url
        truth = simulator_truth(simulator.admin, None, within_s=0)
        assert truth is not None
        assert truth["sessions"]["opened"] == 0
    finally:
        simulator.stop()
        simulator.stop()
    assert simulator_truth(simulator.admin, None, within_s=0) is None


def test_a_bad_option_is_told_in_its_own_words() -> None:
    with pytest.raises(ConfigError, match=r"the simulator did not start: .*no_such_fault"):
        EmbeddedSimulator("--fault", "no_such_fault=1").start()
