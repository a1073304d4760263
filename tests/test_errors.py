"""Errors form one tree and say in a sentence what happened."""

import inspect

import pytest

from harness import errors


def test_every_error_descends_from_the_root_and_stands_in_the_tree_of_the_docstring() -> None:
    named = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    classes = [c for c in named if issubclass(c, BaseException)]
    assert len(classes) > 15
    assert all(issubclass(c, errors.HarnessError) for c in classes)
    assert [c.__name__ for c in classes if c.__name__ not in (errors.__doc__ or "")] == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.UpgradeRejected(403), "HTTP 403 (unknown deployment id"),
        (errors.ConnectionLost(None), "without a close frame"),
        (errors.ConnectionLost(1001, "going away"), "close code 1001: going away"),
        (errors.ReplyTimeout("reply", 20.0), "no reply within 20 s; nothing came at all"),
        (errors.ReplyTimeout("reply", 2.0, ("typing",)), "seen meanwhile: typing"),
        (errors.PlatformApiError(404, "not.found"), "HTTP 404 (not.found)"),
    ],
)
def test_text_says_what_happened(error: errors.HarnessError, text: str) -> None:
    assert text in str(error)
