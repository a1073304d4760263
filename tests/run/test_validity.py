"""A seeded sample of the validity matrix, and its judgement; the whole: make validity-matrix."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from plants import CLOSED, GOES_ON, ONE, OPEN, PLANTS, STORIES, TWO, WAITS, YAML, Plant
from validity import Progress, run_cells, say, table
from validity_cells import BY_NAME, CELLS, Cell, Outcome, write_story
from validity_truth import Truth, judge, read_truth

SAMPLE = 2
QUICK = (
    "nothing",
    "503",
    "texts fail",
    "no answer to 30 %",
    "a greeting on Join, slow answers",
    "bubbles",
    "slots too few",
    "slots die in on_start",
    "too few samples",
)
"""Plants that end soon and need no quiet machine."""


@pytest.mark.process
@pytest.mark.timeout(300)
def test_a_sample_of_the_matrix() -> None:
    seed = int(os.environ.get("VALIDITY_SEED") or 1)
    print(f"VALIDITY_SEED={seed}")
    cells = [cell for cell in CELLS if cell.plant in QUICK]
    cells = random.Random(seed).sample(cells, SAMPLE)
    outcomes = run_cells(cells, seed=seed, jobs=2, on_outcome=say)
    assert len(outcomes) == SAMPLE
    assert {str(o.cell): o.broken for o in outcomes if o.broken} == {}, f"VALIDITY_SEED={seed}"


def row(*answers: float, refused: int | None = None, due: list[float] | None = None) -> Any:
    return {
        "kind": "text",
        "refused": refused,
        "answers_ms": list(answers),
        "due_ms": list(answers) if due is None else due,
        "greetings_ms": [],
        "unheard": 0,
    }


def record(verdict: str = "PASS", **more: Any) -> dict[str, Any]:
    """What a run says of a hundred questions that were answered after 50 ms."""
    times = {"p50": 50.0, "p90": 50.0, "p95": 50.0, "p99": 50.0}
    account = dict.fromkeys(
        ("timed_out", "unanswered", "cut_short", "failed", "lost", "ambiguous"), 0
    )
    told = {"asked": 100, "answered": 100, "doubtful_because": "", "advice": ""}
    return {
        "verdict": verdict,
        "reasons": [],
        "questions": {**account, **told},
        "operations": {"reply": {"outcomes": {"ok": 100}, "service_ms": times}},
        **more,
    }


def truth(texts: list[Any], *, opened: int = 30, turned_away: int = 0) -> Truth:
    return Truth(texts=texts, unasked=0, opened=opened, turned_away=turned_away)


HONEST = BY_NAME["nothing"]
PLAIN = Plant("any")


def test_an_honest_run_may_pass_and_must() -> None:
    answered = truth([row(50.0)] * 100)
    assert judge(HONEST, 30, answered, record(), 0) == []
    (told,) = judge(HONEST, 30, answered, record("FAIL", reasons=["reply p95"]), 3)
    assert "nothing is wrong, but FAIL: reply p95" in told


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (truth([row(50.0)] * 98 + [row()] * 2), "2 of 100 questions were never answered"),
        (truth([row(50.0)] * 98 + [row(refused=429)] * 2), "2 of 100 questions were never"),
        (truth([row(50.0)] * 100, turned_away=30), "30 of 60 connections were turned away"),
        (truth([row(50.0)] * 100, opened=20), "20 sessions for 30 arrivals that were due"),
        (truth([row(50.0)] * 94 + [row(1500.0)] * 6), "the true p95 is 1500 ms"),
        (truth([]), "no question ever came"),
    ],
)
def test_no_pass_beyond_the_stated_share(what: Truth, told: str) -> None:
    assert any(told in broken for broken in judge(PLAIN, 30, what, record(), 0))


def test_what_would_have_been_said_to_a_guest_who_left_counts_as_it_was_due() -> None:
    left = truth([row(50.0)] * 90 + [row(due=[3000.0])] * 10)
    assert left.quantile(0.95) == 3000
    assert left.lies_of_pass(30) == ["the true p95 is 3000 ms"]


def test_no_percentile_below_the_truth() -> None:
    slow = truth([row(50.0)] * 80 + [row(900.0)] * 20)
    broken = judge(PLAIN, 30, slow, record(), 0)
    assert "reply p90 is said to be 50 ms and was 900 ms" in broken
    marked = record()
    marked["operations"]["reply"]["service_ms"]["lower_bounds"] = ["p90", "p95", "p99"]
    assert judge(PLAIN, 30, slow, marked, 0) == []
    doubted = record()
    doubted["questions"] |= {"ambiguous": 30, "advice": "30 of 100 answers are ambiguous"}
    assert judge(PLAIN, 30, slow, doubted, 0) == []
    doubted["questions"]["advice"] = ""
    assert "ambiguous, untold" in judge(PLAIN, 30, slow, doubted, 0)


def test_every_question_is_accounted_for() -> None:
    many = truth([row(50.0)] * 103)
    assert "103 questions came, 100 are in the account" in judge(PLAIN, 30, many, record(), 0)
    few = truth([row(50.0)] * 99 + [row()])
    assert "100 answers are said to be sure, 99 were given" in judge(PLAIN, 30, few, record(), 0)
    torn = record()
    torn["questions"]["asked"] = 101
    assert "101 asked, 100 ended" in judge(PLAIN, 30, truth([row(50.0)] * 100), torn, 0)
    assert "the record has no account of questions" in judge(
        PLAIN, 30, many, {**record(), "questions": None}, 0
    )


def test_a_verdict_names_its_cause_and_has_its_exit_code() -> None:
    plant = Plant("x", cause="refused")
    what = truth([row(50.0)] * 100)
    assert judge(plant, 30, what, record("FAIL", reasons=["50 were refused"]), 3) == []
    assert judge(plant, 30, what, record("FAIL", reasons=["x"]), 3, words="50 refused") == []
    (told,) = judge(plant, 30, what, record("FAIL", reasons=["reply p95 missed"]), 3)
    assert told == "FAIL does not name its cause: reply p95 missed"
    assert judge(plant, 30, what, record(), 0) == [
        "PASS, and by the truth too: what was planted did not strike"
    ]
    assert judge(PLAIN, 30, what, record("INVALID"), 6) == ["INVALID without a reason"]
    (told,) = judge(PLAIN, 30, what, record("FAIL", reasons=["x"]), 0)
    assert told == "FAIL with exit code 0"
    only = Plant("x", verdicts=frozenset({"INVALID"}))
    (told,) = judge(only, 30, what, record("FAIL", reasons=["x"]), 3)
    assert told == "FAIL, but expected INVALID"


def test_truth_is_read_from_the_rows() -> None:
    rows = [row(50.0), {**row(), "kind": "join"}, {"unasked": "agent"}, {**row(), "kind": "choice"}]
    whole = {
        "sessions": {"opened": 7},
        "counts": {"upgrade_refused_503": 3, "connections_unanswered": 1, "error_5000": 9},
    }
    found = read_truth(rows, whole, 2)
    assert (found.came, found.unasked, found.opened, found.turned_away) == (2, 1, 7, 6)


def test_the_matrix_is_whole() -> None:
    assert len({plant.name for plant in PLANTS}) == len(PLANTS)
    assert {cell.plant for cell in CELLS} == {plant.name for plant in PLANTS}
    assert {cell.story for cell in CELLS} == set(STORIES)
    assert set(QUICK) <= set(BY_NAME)
    whole = [cell for cell in CELLS if cell.plant == "nothing"]
    assert len(whole) == 2 * 2 * len(STORIES)


def test_every_cell_has_a_locustfile_that_can_be_read(tmp_path: Path) -> None:
    for cell in CELLS:
        text = write_story(cell, BY_NAME[cell.plant], tmp_path).read_text()
        compile(text, str(cell), "exec")
        assert ("ArrivalShape)" in text) is (cell.workload == OPEN)


def test_the_table_shows_what_did_not_hold() -> None:
    good = Outcome(Cell("nothing", OPEN, ONE, WAITS), verdict="PASS")
    bad = Outcome(Cell("503", CLOSED, TWO, GOES_ON), broken=["PASS"], verdict="PASS")
    text = table([good, bad], seed=7)
    assert f"seed 7: 1 of 2 cells hold, of {len(CELLS)} in all" in text
    assert "| nothing | waits | ok P | · | · | · |" in text
    assert "| 503 | does not wait | · | · | · | **BROKEN** P |" in text
    assert "* 503, closed, two, does not wait: PASS" in text
    assert f"| slots die in on_start | {YAML} |" not in text


def test_an_interrupted_matrix_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    good, bad, missing = CELLS[0], CELLS[1], CELLS[2]
    progress = Progress(state, seed=7, resume=False)
    progress.add(Outcome(good, verdict="PASS"))
    progress.add(Outcome(bad, broken=["PASS"]))
    again = Progress(state, seed=7, resume=True)
    assert again.outcomes == progress.outcomes
    assert good not in again.to_do
    assert {bad, missing} < set(again.to_do)
    assert Progress(state, seed=8, resume=True).outcomes == {}


@pytest.mark.process
@pytest.mark.parametrize("script", ["validity.py", "matrix.py"])
def test_a_matrix_starts_by_itself_as_make_starts_it(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout
