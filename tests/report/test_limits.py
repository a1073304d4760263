"""How near a run came to the limits."""

from harness.judge.series import Series
from harness.report.findings import busiest_minute, limit_rows
from harness.rundir.schema import RunRecord


def series(width_s: float, ok: list[float | None], refused: list[float | None]) -> Series:
    bins = {"connect.ok": ok, "connect.rate_limited": refused, "reply.ok": [9.0] * len(ok)}
    rows = Series(
        width_s=width_s,
        starts_s=[place * width_s for place in range(len(ok))],
        operations=bins,
    )
    whole = Series(width_s=width_s, starts_s=[0.0])
    whole.rows = rows
    return whole


def record(**parts: object) -> RunRecord:
    return RunRecord.model_validate({"schema": 1, "run_id": "r"} | parts)


def test_the_busiest_minute_slides() -> None:
    ok: list[float | None] = [1.0] * 50 + [10.0] * 30 + [None] + [10.0] * 29 + [1.0] * 50
    refused: list[float | None] = [None] * 70 + [5.0] + [None] * 89
    assert busiest_minute(series(1, ok, refused)) == 59 * 10 + 5


def test_wide_bins_give_a_rate_and_short_runs_what_there_was() -> None:
    assert busiest_minute(series(300, [600.0, 1000.0], [None, None])) == 200
    assert busiest_minute(series(1, [3.0, 4.0], [None, None])) == 7
    assert busiest_minute(None) is None
    nothing = series(1, [1.0], [None])
    assert nothing.rows is not None
    nothing.rows.operations = {}
    assert busiest_minute(nothing) is None


def test_answers_429_are_told_by_operation_and_nothing_is_nothing() -> None:
    operations = {
        "connect": {"count": 9, "outcomes": {"ok": 6, "rate_limited": 3}},
        "reply": {"count": 5, "outcomes": {"ok": 5}},
    }
    found = record(operations=operations, forensics={"paced": 2})
    rows = {row.key: (row.figure, row.note) for row in limit_rows(found, None)}
    assert rows["refused"] == ("3", "connect 3")
    assert rows["paced"][0] == "2"
    assert "connections" not in rows
    assert limit_rows(record(), None) == []
