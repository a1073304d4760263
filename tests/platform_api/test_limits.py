"""The organisation's limits, as the simulator's Platform API tells them."""

from typing import Any

import pytest
from sessions import Simulated

from harness.platform_api.client import CONNECTIONS, MESSAGES, REQUESTS, organisation_limits


@pytest.mark.process
def test_the_limits_that_guests_meet_are_read() -> None:
    with Simulated("--limit", "connections_per_minute=700") as world:
        api = world.api()
        assert organisation_limits(api) == {CONNECTIONS: 700, REQUESTS: 0, MESSAGES: 0}
        api.close()


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"entities": None},
        {"entities": ["x", {}, {"key": CONNECTIONS}, {"key": CONNECTIONS, "value": "1"}]},
        {"entities": [{"key": "of.something.else", "value": 1}]},
    ],
)
def test_an_answer_of_another_form_tells_nothing(answer: Any) -> None:
    class Api:
        def get(self, _: str) -> Any:
            return answer

    assert organisation_limits(Api()) == {}  # type: ignore[arg-type]
