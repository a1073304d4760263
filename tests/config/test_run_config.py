"""What may be asked of a run has one owner; what is handed over is taken as a whole."""

import ast
from pathlib import Path

import pytest
from source import modules

from harness.config.run_config import (
    CONFIG_FILE,
    PACE,
    RATE,
    SETTINGS,
    TARGETS,
    RunConfig,
    child_environment,
)
from harness.errors import ConfigError
from harness.rundir.layout import write_json

OWNER = "config/run_config.py"


@pytest.mark.slow
def test_nobody_else_spells_a_variable_or_looks_into_the_environment() -> None:
    uses = []
    for module, nodes in modules().items():
        if module == OWNER:
            continue
        for node in nodes:
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv"):
                uses.append(f"{module}: {node.attr}")
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                if text.startswith("HARNESS_") and " " not in text:
                    uses.append(f"{module}: {text}")
    assert uses == []


def test_each_setting_has_a_variable_of_its_own_named_as_its_option() -> None:
    options = [one.option for one in SETTINGS.values() if one.option]
    assert len(options) == len(set(options))
    for name, one in SETTINGS.items():
        assert name == one.variable
        assert not one.option or name == f"HARNESS_{one.key.upper()}"


def test_a_process_takes_the_file_that_it_is_handed_and_no_variable_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig({PACE.variable: "off"}).with_values(
        {RATE.variable: "5/s", "HARNESS_SLO": None}
    )
    file = write_json(tmp_path / "run-config.json", config.values)
    monkeypatch.setenv(RATE.variable, "9/s")
    monkeypatch.setenv(TARGETS.variable, "other.toml")
    environment = child_environment(config=file)
    assert not set(environment) & set(SETTINGS)
    handed = RunConfig.of_process(environment)
    assert handed == config
    assert (handed.get(RATE), handed.get(PACE), handed.get(TARGETS)) == (
        "5/s",
        "off",
        "targets.toml",
    )


def test_variables_count_where_there_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG_FILE, raising=False)
    monkeypatch.setenv(RATE.variable, "9/s")
    assert RunConfig.of_process().get(RATE) == "9/s"
    assert RATE.variable not in child_environment({RATE.variable: None})
    assert child_environment({RATE.variable: "1/s"})[RATE.variable] == "1/s"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{torn", "can't be read"),
        ("[]", "expected a JSON object"),
        ('{"HARNESS_RTAE": "5/s"}', "HARNESS_RTAE: expected a known setting"),
        ('{"HARNESS_RATE": 5}', "HARNESS_RATE: expected a known setting with a text"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "run-config.json").write_text(text)
    with pytest.raises(ConfigError, match=why):
        RunConfig.read(tmp_path / "run-config.json")
    with pytest.raises(ConfigError, match="can't be read"):
        RunConfig.read(tmp_path / "none.json")
