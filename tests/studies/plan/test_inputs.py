"""What no plan can be made of is refused in one sentence naming the option, or file and line."""

from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import ExitCode

LAUNCH = ("--chats-per-hour", "3000", "--handle-time", "8m", "--messages", "12")
PROFILE = ("--from", "day.csv", "--handle-time", "8m", "--messages", "12")


def refused(
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    code: ExitCode = ExitCode.CONFIG,
) -> str:
    assert main(["plan", *words]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert not Path("reports").exists()
    return printed.err.removeprefix("error: ")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("option", "text", "why"),
    [
        ("--chats-per-hour", "many", "expected a number"),
        ("--chats-per-hour", "nan", "expected more than zero, got nan"),
        ("--chats-per-hour", "inf", "expected more than zero, got inf"),
        ("--chats-per-hour", "-5", "expected more than zero, got -5"),
        ("--chats-per-hour", "1e12", "expected 1 to 36,000,000"),
        ("--chats-per-hour", "1e-9", "expected 1 to 36,000,000"),
        ("--peak-factor", "0.5", "expected 1 to 100, got 0.5"),
        ("--peak-factor", "1e9", "expected 1 to 100"),
        ("--handle-time", "8 moons", "expected a duration"),
        ("--handle-time", "-8m", "expected a duration"),
        ("--handle-time", "8", "expected a duration with its unit, such as 8ms, 8s or 8m"),
        ("--handle-time", "9d", "expected 10s to a day, got 9d; is the unit right?"),
        ("--messages", "0", "expected more than zero"),
        ("--messages", "0.5", "expected 1 to 10,000"),
        ("--bot-time", "8m", "expected less than the handle time (8m), got 8m"),
        ("--shrinkage", "30", "expected a share such as 5%"),
        ("--shrinkage", "100%", "expected 0% to 95%"),
        ("--ai-tokens-per-guest", "-1", "expected 0 to 1,000"),
        ("--messages", "1e9", "expected 1 to 10,000"),
        ("--concurrency", "0.001", "expected 1 to 100 chats"),
        ("--to-agents", "0.5", "expected a share such as 5%"),
        ("--to-agents", "150%", "expected 0% to 100%, got 150%"),
        ("--answer-within", "0s", "expected more than zero"),
        ("--service-level", "100%", "expected above 0% and below 100%"),
        ("--patience", "1us", "expected 1s to a day, got 1us"),
        ("--test-duration", "9999d", "expected 1m to 30 days"),
        ("--window", "48h", "expected 1m to a day, got 2d"),
        ("--capacity", "60", "expected a rate such as 390/min or the folder"),
        ("--capacity", "0/min", "expected more than zero"),
        ("--capacity", "reports/gone", "expected a rate such as 390/min or the folder"),
        ("--leftover-rate", "-1%", "expected 0% to 100%, got -1%"),
        ("--leftover-time", "nan", "expected a duration"),
        ("--guests-per-machine", "0", "expected more than zero"),
        ("--rate-per-machine", "0/s", "expected more than zero"),
        ("--messages-per-machine", "many", "expected a rate"),
    ],
)
def test_each_option_says_what_it_takes(
    option: str, text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = refused((*LAUNCH, option, text), capsys)
    assert refusal.startswith(f"{option}: ")
    assert why in refusal


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "day.csv: empty; expected a header line"),
        ("start,guests\n", "day.csv: expected at least two intervals, got 0"),
        ("start,people\n09:00,1\n", "day.csv, line 1: expected one column 'guests'"),
        ("start,guests\n09:00,0\n09:15,0\n", "day.csv: the profile has no guests to plan for"),
        ("start,guests\n0,5\n1d,6\n", "day.csv: intervals of 1d do not show the busy hour"),
        ("start,guests\n0,5\n1us,6\n", "day.csv: intervals of 1us do not show the busy hour"),
        ("start,guests\n0,0.1\n1h,0.1\n", "day.csv: chats in the busy hour: expected 1 to"),
    ],
)  # fmt: skip
def test_a_csv_of_arrivals_is_named_with_its_line(
    text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("day.csv").write_text(text)
    assert refused(PROFILE, capsys).startswith(why)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (PROFILE, "day.csv: No such file"),
        ((*LAUNCH, "--calibration", "none.json"), "none.json can't be read"),
        ((*LAUNCH, "--capacity", "."), "search.json is not a search that can go on: No such file"),
    ],
)
def test_what_is_missing_is_named(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(words, capsys).startswith(why)


@pytest.mark.parametrize("words", [LAUNCH[2:], (*LAUNCH, "--from", "x.csv")])
def test_guests_are_told_of_in_one_way(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    why = refused(words, capsys, ExitCode.USAGE)
    assert why.startswith("give either --chats-per-hour or --from")
