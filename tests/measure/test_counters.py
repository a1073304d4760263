"""The registry of counts: whoever counts, writes, judges or shows one has it from there."""

import ast
from dataclasses import fields
from pathlib import PurePath

import pytest
from pydantic import BaseModel
from source import modules

from harness.guest.inbox import Finding
from harness.judge.objective import JUDGED_COUNTERS
from harness.judge.record import ENDS, sessions_block
from harness.ledger.reader import Account
from harness.load.arrivals import Counts
from harness.measure.model import CLASSES, COUNTERS, GROUPS, CountedBy, Section, counters_of
from harness.rundir.schema import Arrivals, Guests, Questions, Sessions, Stories


def counted_by_guests() -> set[str]:
    """The words by which the package of the guests counts: literals, and what frames are."""
    found = {str(one) for one in Finding}
    for module, nodes in modules().items():
        for node in nodes if module.startswith("guest/") else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                named = ast.unparse(node.func).endswith("recorder.count")
                if named and isinstance(node.args[0], ast.Constant):
                    found.add(node.args[0].value)
    return found


def test_what_guests_count_has_its_place_and_words() -> None:
    known = set(counters_of(Section.FORENSICS, CountedBy.GUESTS))
    assert counted_by_guests() - known == set()


def test_the_dispatch_counts_what_the_registry_says() -> None:
    assert tuple(one.name for one in fields(Counts)) == counters_of(Section.ARRIVALS)


@pytest.mark.parametrize(
    ("section", "model"),
    [
        (Section.SESSIONS, Sessions),
        (Section.ARRIVALS, Arrivals),
        (Section.GUESTS, Guests),
        (Section.STORIES, Stories),
        (Section.QUESTIONS, Questions),
    ],
)
def test_every_count_is_a_key_of_the_record(section: Section, model: type[BaseModel]) -> None:
    assert set(counters_of(section)) <= set(model.model_fields)


def test_questions_end_as_the_registry_says() -> None:
    assert {"asked", *ENDS, "failed", "ambiguous"} == set(GROUPS["questions"])


def test_the_classes_of_sessions_are_those_of_the_account() -> None:
    account = {"intended", "opened", "leftover_reasons", "balanced", "may_lack"}
    assert set(CLASSES) == set(sessions_block(Account())) - account


def test_each_count_has_words_of_its_own() -> None:
    told = [one.many for one in COUNTERS.values()]
    assert len(set(told)) == len(told)
    assert not [text for text in told if "_" in text or text.endswith(".")]


def test_an_objective_may_name_what_is_judged() -> None:
    grouped = {f"{group} {word}" for group, words in GROUPS.items() for word in words}
    assert {*JUDGED_COUNTERS} | grouped == {name for name, one in COUNTERS.items() if one.judged}


def test_nobody_keeps_a_table_of_counts_beside_it() -> None:
    names = {one.name for one in COUNTERS.values() if not one.grouped}
    tables = []
    for module, nodes in modules().items():
        path = PurePath(module)
        if path.name in ("model.py", "schema.py") or "simulator" in path.parts:
            continue
        if path.name == "visit.py":
            continue  # what a person is told of one frame, while it comes
        for node in nodes:
            keys = node.keys if isinstance(node, ast.Dict) else []
            words = [key.value for key in keys if isinstance(key, ast.Constant)]
            texts = [one for one in getattr(node, "values", []) if isinstance(one, ast.Constant)]
            if len(names.intersection(words)) >= 3 and texts:
                tables.append(f"{module}:{node.lineno}")
    assert tables == []
