"""What a sweep, an audit or the Platform API found after a run, in words.

What has none is shown by its name.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from harness.report.figures import UNKNOWN, count_text, length_text, moment_text
from harness.report.story import Row, details, safe_text

SWEEP: MappingProxyType[str, str] = MappingProxyType(
    {
        "when": "Done",
        "by": "With",
        "settled": "Sessions proved ended by it",
        "left": "Sessions still without proof of an end",
        "left behind at the end of the run": "Left behind at the end of the run",
        "still left": "Still left",
    }
)
ENDINGS: MappingProxyType[str, str] = MappingProxyType(
    {
        "cleared": "Were alive and are cleared now",
        "gone": "Were over already",
        "expired": "Said to have expired, which no resume has shown",
        "refused": "Could not be cleared: Clear Conversation is switched off",
        "signed_in": "Signed-in guests', whose sign-in was not given",
        "rate_limited": "Refused by the service's rate limits",
        "unanswered": "Did not answer",
        "clear_unconfirmed": "Said to be cleared by an event that may have been another's",
        "cut": "Lost their connection before the proof",
        "unreachable": "Could not be reached",
        "error": "Answered with an error",
    }
)
AUDIT: MappingProxyType[str, str] = MappingProxyType(
    {
        "when": "Done",
        "conversations": "Conversations in the ledger",
        "visible": "Conversations the service showed",
        "leftovers": "Open at the service, no proof of an end",
        "cleared_yet_open": "Open at the service in spite of the proof",
        "not_in_ledger": "Open, of this run, not in the ledger",
        "unknown": "Of which the service does not tell how they stand",
        "left_out": "Open conversations that it lists and does not give",
        "damaged": "Ledger files that may hide sessions",
        "refused": "What the service would not tell",
        "cleared": "Cleared by their guests",
        "wrap_up": "Guest gone, agent still in wrap-up",
        "others": "Open conversations of others",
        "ends": "Conversations whose end is known",
        "looks": "Times asked",
        "deadline_s": "Asked for at most",
        "waited_for_rate_limits_s": "Waited for the Platform API's limits",
        "matched_by": "Matched to sessions",
        "observed": "Counted now, whoever's they are",
    }
)
COUNTED: MappingProxyType[str, str] = MappingProxyType(
    {
        "oWaiting": "Waiting in a queue, before → after",
        "oInteracting": "With an agent, before → after",
        "oFlow": "In a flow, before → after",
    }
)
HIDDEN_WHEN_EMPTY = frozenset(
    {"observed", "matched_by", "waited_for_rate_limits_s", "endings", "left_out", "damaged"}
    | {"refused"}
)
VERDICT = "verdict"
"""The note that the verdict stays: a sentence of its own on the page."""
SHOWN = 3


def sweep_rows(block: Mapping[str, Any]) -> list[Row]:
    """A record's ``sweep``."""
    return list(_rows(block, SWEEP))


def audit_rows(block: Mapping[str, Any]) -> list[Row]:
    """A record's ``audit``."""
    return list(_rows(block, AUDIT))


def baseline_rows(block: Mapping[str, Any]) -> list[Row]:
    """A record's ``baseline``: what was open in the run's queues and flows, whoever's it was."""
    moments = {key: value for key, value in block.items() if isinstance(value, dict)}
    counts = {
        key: value["counts"]
        for key, value in moments.items()
        if isinstance(value.get("counts"), dict)
    }
    before, after = counts.get("before", {}), counts.get("after", {})
    rows = [
        Row(
            key=str(name),
            label=COUNTED.get(name, safe_text("", name)),
            figure=f"{_plain(before.get(name))} → {_plain(after.get(name))}",
        )
        for name in {**before, **after}
    ]
    for key, value in moments.items():
        if "why" in value:
            why = safe_text("", value["why"])
            rows.append(Row(key=key, label=f"Not counted {safe_text('', key)} the run", figure=why))
    return rows


def remark(block: Mapping[str, Any]) -> str:
    """What has to be said below; empty where there is nothing."""
    note = block.get(VERDICT)
    return f"{note[:1].upper()}{note[1:]}." if isinstance(note, str) and note else ""


def _rows(block: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[Row]:
    known = [key for key in labels if key in block]
    for key in [*known, *(key for key in block if key not in labels and key != VERDICT)]:
        value = block[key]
        if not value and key in HIDDEN_WHEN_EMPTY:
            continue
        if key == "endings" and isinstance(value, dict):
            for ending, count in value.items():
                label = ENDINGS.get(str(ending), safe_text("", ending))
                yield Row(key=key, label=label, figure=_plain(count))
        elif key in labels:
            figure, note = _figure(key, value)
            yield Row(key=key, label=labels[key], figure=figure, note=note)
        else:
            for label, text in details({key: value}):
                yield Row(key=key, label=label[:1].upper() + label[1:], figure=text)


def _figure(key: str, value: Any) -> tuple[str, str]:
    """A value as text, and a remark on it. A record may hold anything: nothing is relied on."""
    if key == "when" and isinstance(value, str):
        return _moment(value), ""
    if key.endswith("_s") and isinstance(value, int | float):
        return length_text(float(value)), ""
    if key == "ends" and isinstance(value, dict):
        early = value.get("before_the_proof")
        note = f"{_plain(early)} seem to have ended before the proof: two clocks" if early else ""
        return f"{_plain(value.get('measured'))} of {_plain(value.get('cleared'))} cleared", note
    if isinstance(value, dict):
        return ", ".join(
            f"{_plain(count)} {safe_text('', name)}" for name, count in value.items()
        ), ""
    if isinstance(value, list):
        ids = [one.get("conversation_id") for one in value if isinstance(one, dict)]
        named = ", ".join(safe_text("", one) for one in ids[:SHOWN])
        more = f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else ""
        return f"{len(value):,}", f"{named}{more}"
    return _plain(value), ""


def _plain(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return safe_text("", value) if value is not None else UNKNOWN
    return count_text(value)


def _moment(text: str) -> str:
    try:
        return moment_text(datetime.fromisoformat(text))
    except ValueError:
        return safe_text("", text)
