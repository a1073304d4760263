"""What became known after a run stands beside its intervals and merges with them exactly."""

from pathlib import Path

from harness.measure.snapshot import read_histograms, read_measurements, write_addition

AT = 1_800_000_000_000_000_000
SECOND = 1_000_000_000


def test_each_sample_counts_in_its_second_and_in_the_whole(tmp_path: Path) -> None:
    samples = [(AT + 5 * SECOND, 40_000_000), (AT, 10_000_000), (AT + SECOND // 2, 20_000_000)]
    whole = write_addition(tmp_path, "conversation_end", samples)
    assert whole.count == 3
    lines = list(read_histograms(tmp_path / "histograms-audit.hlog"))
    starts = [line.started_s for line in lines if line.tag == "conversation_end.service"]
    assert starts == [AT / 1e9, AT / 1e9 + 5]
    merged = read_measurements(tmp_path)
    assert merged.workers == []  # no process of the run
    for tag in ("conversation_end.service", "conversation_end.corrected"):
        assert merged.histograms[tag].count == 3
        assert merged.histograms[tag].percentile_ms(100) == whole.max_ms


def test_a_second_audit_replaces_the_first(tmp_path: Path) -> None:
    write_addition(tmp_path, "conversation_end", [(AT, 1_000_000)])
    write_addition(tmp_path, "conversation_end", [(AT, 2_000_000), (AT, 3_000_000)])
    assert read_measurements(tmp_path).histograms["conversation_end.service"].count == 2
    assert [path.name for path in tmp_path.iterdir()] == ["histograms-audit.hlog"]
