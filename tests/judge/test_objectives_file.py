"""Objectives from TOML: both forms, and errors that name file, line and key."""

import pytest

from harness.errors import ConfigError
from harness.judge.objective import parse_objectives

BOTH = """\
# what the bot has to do
objectives = [
    "reply p95 < 5s",
    "leftovers == 0",
]

[[objective]]
expect = "delivered errors < 1%"
abort_on_fail = true
grace = "2m"
delay = 30
"""


def test_both_forms() -> None:
    found = parse_objectives(BOTH, name="slo.toml")
    assert [objective.text for objective in found] == [
        "reply p95 < 5s",
        "leftovers == 0",
        "delivered errors < 1%",
    ]
    assert [objective.abort_on_fail for objective in found] == [False, False, True]
    assert (found[2].grace_s, found[2].delay_s) == (120, 30)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"slo\.toml: no objective in it"),
        ("objectives = []", r"slo\.toml: no objective in it"),
        ("\nobjectives = [", r"slo\.toml, line 2: not TOML: "),
        ("objectives = " + "[" * 5000, r"slo\.toml: not TOML: nested too deeply"),
        ("objectives = " + "9" * 5000, r"slo\.toml: not TOML: a number is too long"),
        ("# x\nobjective = 3", r"slo\.toml, line 2: objective: expected tables"),
        ("# x\nobjectives = 'a'", r"slo\.toml, line 2: objectives: expected a list"),
        ("# x\ngoals = []", r"slo\.toml, line 2: unknown key 'goals'"),
        (BOTH.replace("reply", "replay"), r"slo\.toml, line 3, objectives, item 1: 'replay p95"),
        (BOTH.replace("== 0", "== x"), r"slo\.toml, line 4, objectives, item 2: "),
        (BOTH.replace('"reply p95 < 5s"', "5"), r"slo\.toml, line 2, objectives, item 1: .* got 5"),
        (BOTH.replace("1%", "1s"), r"slo\.toml, line 8, expect: "),
        (BOTH.replace("grace", "mercy"), r"slo\.toml, line 10: unknown key 'mercy'; there are"),
        (BOTH.replace("expect", "# expect"), r"slo\.toml, line 7: \[\[objective\]\] needs expect"),
        (BOTH.replace("= true", "= 1"), r"slo\.toml, line 9, abort_on_fail: expected true"),
        (BOTH.replace('"2m"', '"long"'), r"slo\.toml, line 8, expect: .*grace: expected a dur"),
        (BOTH.replace("= true", "= false"), r"slo\.toml, line 8, expect: .*need abort_on_fail"),
        (BOTH + "[[objective]]\nexpect = 'leftovers==0'\n", r"slo\.toml: .* is there twice"),
    ],
)
def test_errors_name_file_line_and_key(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_objectives(text, name="slo.toml")
