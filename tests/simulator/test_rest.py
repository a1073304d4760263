"""Answers over HTTP."""

import orjson
import pytest

from harness.simulator import rest


def test_an_error_has_the_vendors_form() -> None:
    answer = rest.api_error(404, "not.found", "There is nothing.")
    body = orjson.loads(answer.body)
    assert answer.status == 404
    assert (body["status"], body["code"], body["message"]) == (
        404,
        "not.found",
        "There is nothing.",
    )


@pytest.mark.parametrize(("wait", "after"), [(0.001, "1"), (1.0, "1"), (1.2, "2"), (59.9, "60")])
def test_retry_after_is_in_whole_seconds_and_never_too_short(wait: float, after: str) -> None:
    answer = rest.too_many(wait)
    assert (answer.status, answer.headers["Retry-After"]) == (429, after)
