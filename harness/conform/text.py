"""What is known of a recording, in words and as JSON."""

import statistics
from collections.abc import Sequence
from typing import Any

from harness.conform.check import Checked, Finding, Stay
from harness.units import duration_text
from harness.workload.har.reading import Turn

TURNS_SHOWN = 12


def to_send(checked: Sequence[Checked]) -> dict[str, Any]:
    """What is not understood, with the outline of a frame for each; no name of a file."""
    return {
        "form": "harness conform 1",
        "frames": sum(one.frames for one in checked),
        "not_understood": [_finding(finding) for one in checked for finding in one.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "where": finding.where,
        "there": finding.there,
        "times": finding.times,
        "outline": finding.outline,
    }


def facts(checked: Sequence[Checked]) -> dict[str, Any]:
    return {
        "files": [
            {
                "name": one.name,
                "frames": one.frames,
                "not_understood": [_finding(finding) for finding in one.findings],
                "sessions": [_stay_facts(stay) for stay in one.stays],
            }
            for one in checked
        ]
    }


def _stay_facts(stay: Stay) -> dict[str, Any]:
    return {
        "opened_s": stay.opened_s,
        "delivered_s": list(stay.delivered_s),
        "turns": [
            {
                "to": None if turn.asked is None else str(turn.asked.kind),
                "messages": len(turn.replies),
                "first_s": turn.first_s if turn.asked and turn.replies else None,
                "last_s": turn.last_s if turn.asked and turn.replies else None,
            }
            for turn in stay.turns
        ],
        "clear": list(stay.clear),
        "clear_s": stay.clear_s,
        "closes": list(stay.closes),
    }


def show_recording(checked: Checked) -> None:
    sessions = len(checked.stays)
    guests = "" if not sessions else f"{sessions} guest{'s' if sessions > 1 else ''}, "
    print(f"{checked.name}: {guests}{checked.frames:,} frames of the service")
    for stay in checked.stays:
        for name, told in _lines(stay):
            print(f"  {name:<13}{told}")
    for finding in checked.findings:
        print(f"  not understood: {finding.sentence}")


def _lines(stay: Stay) -> list[tuple[str, str]]:
    found = []
    if stay.opened_s is not None:
        found.append(("session", f"open after {duration_text(max(stay.opened_s, 0.0))}"))
    if stay.delivered_s:
        middle, most = statistics.median(stay.delivered_s), max(stay.delivered_s)
        found.append(
            ("delivered", f"after {duration_text(middle)} (median), {duration_text(most)} (most)")
        )
    for number, turn in enumerate(stay.turns[:TURNS_SHOWN], 1):
        found.append((f"{number}. {_asked(turn)}", _came(turn)))
    if len(stay.turns) > TURNS_SHOWN:
        found.append(("", f"and {len(stay.turns) - TURNS_SHOWN} more"))
    if stay.clear:
        after = "" if stay.clear_s is None else f"; proof after {duration_text(stay.clear_s)}"
        found.append(("clear", ", ".join(stay.clear) + after))
    if stay.closes:
        found.append(("close", ", ".join(stay.closes)))
    return found


def _asked(turn: Turn) -> str:
    return "unasked" if turn.asked is None else str(turn.asked.kind)


def _came(turn: Turn) -> str:
    many = len(turn.replies)
    if not many:
        return "no message"
    told = "1 message" if many == 1 else f"{many} messages"
    if turn.asked is None:
        return told
    told += f" after {duration_text(turn.first_s)}"
    return told if many == 1 else f"{told} to {duration_text(turn.last_s)}"
