"""The summary says in a few lines what happened."""

from rich.console import Console

from harness.report.terminal import show_summary
from harness.units import milliseconds


def text(record: dict[str, object], report: str = "") -> str:
    console = Console(width=120, force_terminal=False, soft_wrap=True)
    with console.capture() as captured:
        show_summary(record, console, report=report)
    return captured.get()


SESSIONS = {
    "opened": 1032,
    "cleared": 1030,
    "leftover": 2,
    "settled": 0,
    "ended_by_service": 0,
    "never_configured": 3,
    "leftover_reasons": {"clear_unanswered": 2},
}
REPLY = {
    "count": 5000,
    "outcomes": {"ok": 4990, "timeout": 10},
    "service_ms": {"p50": 50.3, "p95": 61.25, "p99": 1234.5, "max": None},
    "corrected_ms": {"p95": 70.0},
}


def test_everything_is_there() -> None:
    shown = text(
        {
            "run_id": "r-1",
            "verdict": "FAIL",
            "reasons": ["FAIL  leftovers == 0  was 2"],
            "sessions": SESSIONS,
            "operations": {"reply": REPLY},
            "arrivals": {"due": 1035, "late": 4, "dropped": 0},
            "simulator": {"opened": 1032, "cleared": 1031, "open": 1},
        },
        report="reports/r-1/report.html",
    )
    assert "opened 1,032 · cleared 1,030 · left over 2" in shown
    assert "never came to be 3" in shown
    assert "(clear_unanswered 2)" in shown
    row = next(line for line in shown.splitlines() if line.startswith("reply "))
    assert row.split() == ["reply", "5,000", "10", "50.3", "61.2", "1,234", "-", "70"]
    assert "harness sweep r-1" in shown
    assert "verdict  FAIL" in shown
    assert "the simulator's own count: opened 1,032" in shown
    assert shown.rstrip().endswith("reports/r-1/report.html")


def test_what_never_came_is_told_once() -> None:
    never = "9 of 75 (12.0%) never came: timeout 9"
    missed = {"text": "reply p95 < 2s", "verdict": "FAIL", "figure": 5000.0, "limit": 2000.0}
    missed |= {"unit": "ms", "margin": None, "note": never, "lower_bound": True}
    reason = f"FAIL  reply p95 < 2s  was > 5s ({never})"
    shown = text(
        {"run_id": "r", "sessions": SESSIONS, "verdict": "FAIL", "reasons": [reason]}
        | {"objectives": [missed]}
    )
    assert " ".join(shown.split()).count(never) == 1


def test_findings_about_messages_have_a_line_each() -> None:
    shown = text({"sessions": SESSIONS, "run_id": "r", "forensics": {"cross_talk": 3, "late": 1}})
    assert "3 messages of another guest's session" in shown
    assert "Conversation Clear" not in shown
    assert "'Conversation Clear'" in text(
        {"sessions": SESSIONS, "run_id": "r", "forensics": {"clear_is_off": 2}}
    )


def test_a_record_of_nothing_is_shown_too() -> None:
    shown = text({"verdict": "INVALID", "reasons": ["unreadable"], "sessions": {}})
    assert "sessions: not known" in shown
    assert "unreadable" in shown


def test_milliseconds_keep_three_digits() -> None:
    assert [milliseconds(value) for value in (None, 0.1234, 12.345, 1234.5)] == [
        "-",
        "0.123",
        "12.3",
        "1,234",
    ]


def test_counts_before_and_after() -> None:
    record = {"run_id": "r", "verdict": "PASS", "sessions": SESSIONS}
    counts = {"before": {"counts": {"oFlow": 1}}, "after": {"counts": {"oFlow": 3}}}
    assert "before → after: oFlow 1 → 3" in text({**record, "baseline": counts})
    assert "oFlow 1 → ?" in text({**record, "baseline": {"before": {"counts": {"oFlow": 1}}}})
    why = {"before": {"why": "HTTP 403"}, "after": {"counts": {}}}
    assert "could not be counted: HTTP 403" in text({**record, "baseline": why})


def test_what_is_missed_and_what_is_without_data_read_as_what_is_met() -> None:
    few = {
        "text": "reply p95 < 5s", "verdict": "NO_DATA", "figure": 62.4, "unit": "ms", "low": 53.3,
        "margin": 0.98, "note": "14 samples, 6 more are needed",
    }  # fmt: skip
    slow = {
        "text": "reply p95 < 10ms", "verdict": "FAIL", "figure": 53.5, "unit": "ms", "margin": -4.35
    }  # fmt: skip
    left = {"text": "leftovers == 0", "verdict": "FAIL", "figure": 3.0, "unit": "count"}
    reasons = [
        "a worker was lost",
        "FAIL  leftovers == 0  was 3",
        "NO_DATA  reply p95 < 5s  was 62.4ms (53.3ms or more), 4.94s left (14 samples, …)",
        "FAIL  reply p95 < 10ms  was 53.5ms, 43.5ms over",
    ]
    shown = text(
        {"verdict": "FAIL", "reasons": reasons, "objectives": [few, slow, left], "sessions": {}}
    )
    told = [line.strip() for line in shown.splitlines()[-4:]]
    assert told == [
        "a worker was lost",
        "FAIL     leftovers == 0  was 3",
        "NO_DATA  reply p95 < 5s  was 62.4 ms (53.3 ms or more), 14 samples, 6 more are needed",
        "FAIL     reply p95 < 10ms  was 53.5 ms, 5.3 times the limit",
    ]
