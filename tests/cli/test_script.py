"""``harness script`` tells what a script would do, and refuses bad ones in one sentence."""

import json
from pathlib import Path

import jsonschema
import pytest
from hars import configured, har, said, socket

from harness.cli.main import main
from harness.errors import ExitCode

SHOP = """\
feeder: {file: orders.csv, mode: unique}
scenarios:
  Order:
    weight: 3
    steps:
      - say: Where is {{order}}?
      - waitForReplyContaining: way
      - think: 4s
  Hello:
    - say: Hello
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "orders.csv").write_text("order\n1\n2\n3\n")
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    return file


def test_check_tells_what_would_be_sent(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["script", "check", str(shop)]) == ExitCode.PASS
    out = capsys.readouterr().out
    for words in ("Order", "75%", "the mean guest: 3.75s, 1 texts", "3 rows, unique", "keeps the"):
        assert words in out
    (shop.parent / "orders.csv").write_text("order\n1\n")
    assert main(["script", "check", str(shop)]) == ExitCode.PASS
    assert "1 row, unique" in capsys.readouterr().out


def test_what_becomes_of_another_tools_settings_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "theirs.yaml"
    config = "config: {deploymentId: x, region: y, origin: 'https://shop.example'}\n"
    file.write_text(config + "scenarios:\n  A:\n    - say: hi\n    - say: ho\n")
    assert main(["script", "check", str(file)]) == ExitCode.PASS
    output = capsys.readouterr().out
    assert "the mean guest: 4s" in output
    assert "config: each text comes 2s after what is before it" in output
    assert "say --origin https://shop.example" in output


def test_check_as_json(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["script", "check", str(shop), "--reply", "3s", "--json"]) == ExitCode.PASS
    answer = json.loads(capsys.readouterr().out)
    assert answer["scenarios"][0]["duration_s"] == 7
    assert answer["breaks"] == []


def test_a_limit_that_would_break_is_told_with_its_own_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "storm.yaml"
    file.write_text(
        "scenarios:\n  Storm:\n    - repeat: 100\n      steps: [{say: a}, {think: 300ms}]\n"
    )
    assert main(["script", "check", str(file)]) == ExitCode.PREFLIGHT
    assert "would break a limit: Storm: 102 requests in a minute" in capsys.readouterr().out


def test_all_files_of_a_recording_are_written_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chat.har").write_text(json.dumps(har(socket([*configured(1), said(2, "Order 4711-22")]))))
    Path("chat.csv").write_text("mine\n1\n")
    assert main(["script", "from-har", "chat.har"]) == ExitCode.CONFIG
    assert "chat.csv is there already: --force replaces it" in capsys.readouterr().err
    assert not Path("chat.yaml").exists()
    assert main(["script", "from-har", "chat.har", "--force"]) == ExitCode.PASS
    assert Path("chat.csv").read_text() == "order_number\nEX-000001\n"
    assert "order number in the guest's texts (1)" in capsys.readouterr().out


def test_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["script", "schema"]) == ExitCode.PASS
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["from-har", "SHOP"], "shop.yaml: neither a HAR nor a recording"),
        (["check", "none.yaml"], "none.yaml: No such file"),
        (["check", "SHOP", "--reply", "soon"], "--reply: expected a duration"),
        (["check", "SHOP", "--guests", "4"], "4 guests need a row of their own and there are 3"),
        (["check", "SHOP", "--guests", "0"], "--guests: expected one or more"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    options: list[str], reason: str, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(shop) if word == "SHOP" else word for word in options]
    assert main(["script", *words]) == ExitCode.CONFIG
    output = capsys.readouterr().err
    assert reason in output
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["check"], "harness script check: expected FILE\n"),
        (["from-har"], "harness script from-har: expected FILE\n"),
        (["check", "none.yaml", "--force"], "--out and --force go with from-har\n"),
        (["schema", "--out", "x"], "--out and --force go with from-har\n"),
    ],
)
def test_what_does_not_fit_together_is_a_mistake_of_usage(
    options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["script", *options]) == ExitCode.USAGE
    assert capsys.readouterr() == ("", f"error: {reason}")
