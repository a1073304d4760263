"""What was counted on the wire beside the plain course of things, in words."""

from harness.report.figures import count_text
from harness.report.story import Row
from harness.rundir.schema import RunRecord

MEANINGS = {
    "cross_talk": "messages of another guest's session",
    "unasked_clear": "events that said a session was cleared though its guest had not asked for it",
    "after_clear": "messages after the proof of Clear",
    "duplicate": "messages that came twice",
    "out_of_order": "messages older, by the service's clock, than one that came before",
    "late_message": "answers to requests that had been given up",
    "unmatched_echo": "echoes that no guest of this process had caused",
    "bad_frame": "frames that could not be read",
    "unknown_frame": "frames of a kind that we do not know",
    "clear_is_off": "Clear was refused: it is switched off in this deployment's configuration",
    "typing_is_off": "typing was refused: it is switched off in this deployment's configuration",
    "rate_limited": "answers 429: a limit of the service was reached",
    "disconnected_by_service": "conversations that the other side ended",
    "logged_out": "guests whose customers were logged out (LogoutEvent)",
    "reconnects": "connections that were lost and made again",
    "going_away": "of these, ended by the service as idle or too old (close code 1001)",
    "renewed": "connections that their guest replaced at their maximum age",
    "resumed_anew": "sessions that the service had forgotten when their guest came back",
    "recovered": "messages fetched from the history after a reconnect",
    "paced": "requests that waited for the guest's own limit",
    "paced_connects": "connections that waited for the limit of connections",
    "end_resumes": "sessions resumed only to be ended",
    "out_of_range": "durations above two hours, kept at the top of the scale",
    "expected": "messages from the service that were as expected",
}
"""Count → what it means; the worst first."""


def oddity_rows(record: RunRecord) -> list[Row]:
    """Everything that was counted at least once."""
    return [
        Row(key=name, label=_label(name), figure=count_text(count), note=MEANINGS.get(name, ""))
        for name, count in _in_order(record)
        if count
    ]


def never_seen(record: RunRecord) -> list[str]:
    """What was looked for and did not happen."""
    return [_label(name) for name, count in _in_order(record) if not count]


def _in_order(record: RunRecord) -> list[tuple[str, int]]:
    counts = record.forensics
    names = [name for name in MEANINGS if name in counts]
    names += sorted(counts.keys() - MEANINGS.keys())
    return [(name, counts[name]) for name in names]


def _label(name: str) -> str:
    return name.replace("_", " ")
