"""Sweep and audit in words, whatever a record holds."""

from collections.abc import Iterable
from typing import Any

import pytest

from harness.judge.reading import VERDICT_STAYS, sweep_block
from harness.report.findings import AUDIT, SWEEP, baseline_rows, block_rows, remark


def told(rows: Iterable[Any]) -> dict[str, str]:
    return {row.label: f"{row.figure} {row.note}".strip() for row in rows}


def test_a_sweep_tells_how_its_sessions_ended() -> None:
    block = sweep_block(
        3, 1, by="harness sweep", endings={"cleared": 2, "gone": 1, "clear_refused": 1}
    )
    found = told(block_rows({**block, "verdict": VERDICT_STAYS}, SWEEP))
    assert found["Sessions it proved ended"] == "3"
    assert found["Sessions still without proof of an end"] == "1"
    assert found["Were over already: the service no longer knew them"] == "1"
    assert found["Could not be cleared: the deployment has Clear Conversation switched off"] == "1"
    assert found["Done"].endswith(" UTC")
    assert "verdict" not in str(found).lower()
    assert remark({"verdict": VERDICT_STAYS}).startswith("The verdict is that of the run")


def test_an_audit_names_what_is_open() -> None:
    ids = [{"conversation_id": f"c{n}", "token": "abc…"} for n in range(5)]
    block = {
        "when": "2026-11-24T09:24:21.570Z",
        "deadline_s": 120.0,
        "visible": None,
        "conversations": 1200,
        "leftovers": ids,
        "cleared_yet_open": [],
        "observed": {"oWaiting": 2},
        "ends": {"measured": 1100, "cleared": 1195, "before_the_proof": 3},
    }
    found = told(block_rows(block, AUDIT))
    assert found["Open at the service, no proof of an end"] == "5 c0, c1, c2 and 2 more"
    assert found["Open at the service in spite of the proof"] == "0"
    assert found["Conversations the service showed"] == "—"
    assert found["Conversations whose end is known"].startswith("1,100 of 1,195 cleared 3 seem")
    assert found["Asked again for at most"] == "2m"
    assert found["Open now, of all guests"] == "2 oWaiting"
    assert found["Done"] == "2026-11-24 09:24:21 UTC"


@pytest.mark.parametrize(
    "block",
    [
        {"when": 3, "ends": [], "leftovers": "x", "looks": {}, "deadline_s": "soon"},
        {"when": "no time", "observed": [1], "endings": [2], "what": {"else": {"is": [1]}}},
        {},
    ],
)
def test_foreign_blocks_are_shown_somehow(block: dict[str, Any]) -> None:
    for labels in (SWEEP, AUDIT):
        assert all(isinstance(row.figure, str) for row in block_rows(block, labels))


def test_secrets_in_a_foreign_block_are_hidden() -> None:
    block = {"client_secret": "s3cret", "place": "https://me:s3cret@host/x"}
    assert "s3cret" not in str([*block_rows(block, AUDIT)])


def test_queues_and_flows_before_and_after() -> None:
    counts = {"before": {"when": "w", "counts": {"oWaiting": 2, "oFlow": 0}}}
    found = told(baseline_rows({**counts, "after": {"when": "w", "counts": {"oWaiting": 1}}}))
    assert found["Waiting in a queue, before → after"] == "2 → 1"
    assert found["In a flow, before → after"].startswith("0 → ")
    assert told(baseline_rows({"after": {"why": "HTTP 403"}})) == {
        "Not counted after the run": "HTTP 403"
    }
    assert baseline_rows({"before": 3, "after": {"counts": []}}) == []
