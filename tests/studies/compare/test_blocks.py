"""Blocks hold every value of the run, in order of time, with all processes merged."""

from pathlib import Path

import pytest
from synthetic import make_run

from harness.judge.series import MOST_BLOCKS
from harness.measure.snapshot import read_measurements
from harness.studies.compare.comparison import read_blocks


@pytest.mark.slow
def test_every_value_is_in_one_block(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "r", length_s=150, per_s=3)
    blocks, merged = read_blocks(run_dir), read_measurements(run_dir)
    assert blocks.keys() == merged.histograms.keys()
    for tag, histogram in merged.histograms.items():
        assert len(blocks[tag]) <= MOST_BLOCKS
        assert sum(count for block in blocks[tag] for _, count in block) == histogram.count
        assert max(value for block in blocks[tag] for value, _ in block) >= histogram.max_ms


def test_nothing_recorded_is_nothing(tmp_path: Path) -> None:
    assert read_blocks(tmp_path) == {}
