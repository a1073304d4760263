"""Defaults that the documents state."""

from harness.simulator.settings import DeploymentSettings, Knobs


def test_documented_defaults() -> None:
    deployment = DeploymentSettings(id="d")
    assert deployment.session_duration_s == 72 * 3600
    assert deployment.disconnect == "off"
    assert Knobs().threading_s == 72 * 3600
    assert sorted(Knobs().clear_order.split(",")) == ["cleared", "closed", "echo"]
