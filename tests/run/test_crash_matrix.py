"""A random sample of the crash matrix and of random kills; the whole is ``make crash-matrix``."""

import os
import random
from itertools import product
from pathlib import Path

import pytest
from cells import CELLS, ENDINGS, FAULTS, MODES, RESTARTED, Cell, Outcome
from kills import kill_at_random, kill_families
from matrix import Progress, run_cells, say, table

pytestmark = pytest.mark.process

SAMPLE = 3
SEED = 20_261_128


@pytest.mark.timeout(420)
def test_a_sample_of_the_matrix() -> None:
    seed = int(os.environ.get("CRASH_SEED") or SEED)
    print(f"CRASH_SEED={seed}")
    draw = random.Random(seed)
    able = [cell for cell in CELLS if os.geteuid() == 0 or cell.ending != RESTARTED]
    cells = draw.sample(able, SAMPLE)
    outcomes = run_cells(cells, seed=seed, jobs=2, on_outcome=say)
    assert len(outcomes) == SAMPLE
    assert {o.cell: o.broken for o in outcomes if o.broken} == {}, f"CRASH_SEED={seed}"


@pytest.mark.timeout(120)
def test_kills_at_random_moments_lose_nothing() -> None:
    seed = int(os.environ.get("CRASH_SEED") or SEED)
    result = kill_at_random(4, seed=seed)
    print(result.text)
    assert (result.kills, result.lost, result.unbalanced) == (4, 0, 0), f"CRASH_SEED={seed}"
    assert result.sessions > 4  # they did work before they were killed


@pytest.mark.timeout(240)
def test_whichever_process_of_a_run_is_killed_nothing_stays_open_unlisted() -> None:
    seed = int(os.environ.get("CRASH_SEED") or SEED)
    result = kill_families(4, seed=seed)
    assert result.killed.total() == 4
    assert result.faults == [], f"CRASH_SEED={seed}"


def test_the_matrix_is_whole() -> None:
    sensible = [cell for cell in product(FAULTS, MODES, ENDINGS) if Cell(*cell).makes_sense]
    assert len(CELLS) == len(sensible) == len(FAULTS) * (7 + 9 + 10 + 6)
    assert {cell.ending for cell in CELLS} == set(ENDINGS)


def test_the_table_shows_what_did_not_hold() -> None:
    good = Outcome(Cell("none", "local", "SIGINT"), code=0)
    bad = Outcome(Cell("half-open", "local", "SIGTERM"), broken=["1 open"], open=1, code=0)
    text = table([good, bad], seed=7, kills="")
    assert "seed 7: 1 of 2 cells hold, of 576 in all" in text
    assert "**BROKEN** 1/0 (0)" in text
    assert "half-open, local, SIGTERM: 1 open" in text


def test_an_interrupted_matrix_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    good, bad, missing = CELLS[0], CELLS[1], CELLS[2]
    progress = Progress(state, seed=7, resume=False)
    progress.add(Outcome(good, code=0, took_s=1.5))
    progress.add(Outcome(bad, broken=["1 open"], open=1))
    progress.add_kills(3, 0, "3 kills")
    again = Progress(state, seed=7, resume=True)
    assert again.outcomes == progress.outcomes
    assert again.kills["kills"] == 3
    assert good not in again.to_do
    assert {bad, missing} < set(again.to_do)
    assert len(again.to_do) == len(CELLS) - 1
    assert Progress(state, seed=8, resume=True).outcomes == {}
    assert Progress(state, seed=7, resume=False).outcomes == {}
