"""The state's own small behaviour."""

from harness.simulator.settings import DeploymentSettings
from harness.simulator.truth import Conversation, Deployment


def test_a_conversation_is_open_until_the_customers_leg_ends() -> None:
    conversation = Conversation(1, "c-1", "t-1", "d-1", 10.0)
    assert conversation.open
    conversation.end = 11.0
    assert not conversation.open


def test_deployments_do_not_share_their_sessions() -> None:
    first = Deployment(DeploymentSettings(id="a"))
    second = Deployment(DeploymentSettings(id="b"))
    assert first.sessions is not second.sessions
    assert (first.id, second.id) == ("a", "b")
