"""Tokens, sign-ins and secrets stay where they are needed."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import harness

CREDENTIAL = re.compile("tokens?|sign_ins?|jwts?|secret|password|proxy_login")
NONE = {
    "Terms.sign_ins",  # the file's path
    "Deployment.sign_ins",  # whether there are any
    "ApiCalls.sign_ins",  # when there were some
}


def our_classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(harness.__path__, "harness."):
        if not module.name.endswith("__main__"):
            for one in vars(importlib.import_module(module.name)).values():
                if isinstance(one, type) and one.__module__ == module.name:
                    yield one


def printed_of(one: type) -> Iterator[str]:
    """The fields that stand in what is printed of such an object."""
    if issubclass(one, tuple):
        yield from getattr(one, "_fields", ())
    elif "__repr__" in vars(one):
        fields = getattr(one, "__dataclass_fields__", {})
        yield from (name for name, field in fields.items() if field.repr)


@pytest.mark.slow
def test_no_object_prints_a_credential() -> None:
    """What a mistake of ours names is printed: by gevent, in a traceback, in a log."""
    printed = {
        f"{one.__name__}.{name}"
        for one in our_classes()
        for name in printed_of(one)
        if CREDENTIAL.fullmatch(name)
    }
    assert printed == NONE
