"""What was counted is told with its meaning, worst first; zeros are told as looked for."""

from harness.report import findings as unusual
from harness.rundir.schema import RunRecord


def record(**counts: int) -> RunRecord:
    return RunRecord.model_validate({"schema": 1, "run_id": "r", "forensics": counts})


def test_what_happened_comes_worst_first_and_unknown_counts_are_shown_too() -> None:
    found = unusual.unusual_rows(record(zebra=1, duplicate=2, cross_talk=3, bad_frame=0))
    assert [(row.label, row.figure) for row in found] == [
        ("cross talk", "3"),
        ("duplicate", "2"),
        ("zebra", "1"),
    ]


def test_what_was_looked_for_is_told_apart_from_what_was_not() -> None:
    assert unusual.never_counted(record(bad_frame=0, after_clear=0)) == ["after clear", "bad frame"]
    assert unusual.never_counted(record()) == unusual.unusual_rows(record()) == []
