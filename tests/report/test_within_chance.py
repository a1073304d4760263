"""What is met within chance only is said in the terminal, the page, Markdown and JUnit; open and
closed, warm-up and parts are said in terminal and page."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from synthetic import make_run

from harness.cli.main import main
from harness.report.outputs import junit, markdown, write_reports
from harness.report.terminal import show_summary
from harness.rundir.schema import RunRecord

CHANCE = "met, but within chance: about 199 more samples would decide"
OBJECTIVE = {
    "text": "reply errors < 1%",
    "verdict": "PASS",
    "figure": 0.0,
    "limit": 0.01,
    "unit": "share",
    "margin": 1.0,
    "low": 0.0,
    "high": 0.02951,
    "within_chance": True,
    "more_samples": 199,
}
TIMES = {"p50": 50.0, "p95": 60.0, "p99": 70.0, "max": 80.0}
REPLY = {"count": 100, "outcomes": {"ok": 100}, "service_ms": TIMES, "corrected_ms": TIMES}
PARTS = [
    {"name": name, "from_s": at, "to_s": at + 5, "guests": 9, "operations": {"reply": {"count": 9}}}
    for name, at in (("120/min", 0), ("300/min", 5), ("drain", 10))
]
RECORD: dict[str, Any] = {
    "schema": 1,
    "run_id": "r",
    "verdict": "PASS",
    "objectives": [OBJECTIVE],
    "operations": {"reply": REPLY},
    "workload": "open",
    "warm_up": {"length_s": 2.0, "operations": {"reply": {"count": 12}}},
    "parts": PARTS,
    "how": {"arrivals": "120 guests/min over 10s", "slots": 40},
}


def shown(record: dict[str, Any]) -> str:
    console = Console(width=160, force_terminal=False, soft_wrap=True)
    with console.capture() as captured:
        show_summary(record, console)
    return captured.get()


def page(directory: Path, **parts: Any) -> str:
    run_dir = make_run(directory / "r", length_s=30, **parts)
    return write_reports(run_dir, ["html"])[0].read_text()


def test_it_is_said_everywhere(tmp_path: Path) -> None:
    record = RunRecord.model_validate(RECORD)
    for told in (shown(RECORD), markdown(record), junit(record)):
        assert CHANCE in told
        assert "up to 3.0 %" in told
    seen = page(tmp_path, objectives=[OBJECTIVE])
    assert all(told in seen for told in ("up to 3.0 %", *CHANCE.split(": ")))
    assert CHANCE not in seen, "the verdict beside the margin says it already"


def test_open_and_closed_are_said_first_and_a_closed_run_shows_no_schedule(tmp_path: Path) -> None:
    opened, closed = shown(RECORD), shown({**RECORD, "workload": "closed"})
    assert opened.lstrip().startswith("open workload: guests arrive by schedule: 120 guests/min")
    assert closed.lstrip().startswith("closed workload: 40 guests at a time")
    assert ("corrected" in opened, "corrected" in closed) == (True, False)
    texts = [
        markdown(RunRecord.model_validate(RECORD | {"workload": w})) for w in ("open", "closed")
    ]
    assert ["corrected" in text for text in texts] == [True, False]
    found = page(tmp_path, workload="closed")
    assert "closed workload: " in found.split("<nav")[0]
    # The section that explains all words explains this one too.
    visible = found.split("<script")[0].split('id="measuring"')[0]
    assert "corrected" not in visible.lower()
    assert "due by the schedule" not in visible


def test_warm_up_and_parts_are_shown_apart(tmp_path: Path) -> None:
    for told in (shown(RECORD), page(tmp_path, warm_up=RECORD["warm_up"], parts=PARTS)):
        assert "arm-up: times and errors of what began in the first 2s are not judged" in told
        assert "leftovers are (12 replies" in told
        assert all(part["name"] in told for part in PARTS)


@pytest.mark.parametrize(("more", "code"), [((), 0), (("--confident",), 5)])
def test_the_confident_are_told_how_many_more_would_decide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], code: int
) -> None:
    run_dir = make_run(tmp_path / "r", length_s=60)
    slo = tmp_path / "slo.toml"
    slo.write_text(f"objectives = {json.dumps(['clear errors < 1%'])}\n")
    assert main(["gate", str(run_dir), "--slo", str(slo), *more]) == code
    assert "met, but within chance: about " in capsys.readouterr().out
