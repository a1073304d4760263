"""``harness conform``: whether a recording of a real deployment holds anything we don't know."""

import json
import secrets
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.cli.parsing import Command, Namespace, argument, option
from harness.conform.check import Checked, Finding, Stay, check_recording
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.units import duration_text
from harness.workload.har.moments import Turn
from harness.workload.har.reading import read_recording

TURNS_SHOWN = 12


def run(args: Namespace) -> int:
    """Do it."""
    key = secrets.token_bytes(32)
    checked = [check_recording(read_recording(file), key=key) for file in args.files]
    if args.out is not None:
        _write(args.out, json.dumps(_to_send(checked), indent=1, ensure_ascii=False))
    frames = sum(one.frames for one in checked)
    findings = [finding for one in checked for finding in one.findings]
    if args.json:
        print(json.dumps(_facts(checked), indent=1, ensure_ascii=False))
    else:
        for one in checked:
            _show(one)
        if not frames:
            print("no frame of the service: nothing was held against anything")
        elif not findings:
            print(f"all {frames:,} frames understood")
        elif args.out is not None:
            print(f"{len(findings)} not understood; to be sent: {args.out}")
        else:
            print(f"{len(findings)} not understood; --out FILE writes what can be sent")
    if findings:
        return ExitCode.OBJECTIVES
    return ExitCode.PASS if frames else ExitCode.NO_DATA


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be written ({error.strerror})") from None


def _to_send(checked: Sequence[Checked]) -> dict[str, Any]:
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


def _facts(checked: Sequence[Checked]) -> dict[str, Any]:
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


def _show(checked: Checked) -> None:
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


COMMAND = Command(
    "conform",
    run,
    [
        argument("files", many=True, type=Path, metavar="FILE", help="a recording"),
        option("--json", flag=True, help="print JSON instead of text"),
        option(
            "--out",
            type=Path,
            metavar="FILE",
            help="write what is not understood to a file, as JSON",
        ),
    ],
    description=(
        "Holds each frame of the service in a recording against what this harness and its "
        "simulator know: classes, fields, types, words, forms of times, close codes, the order at "
        "Clear; and says how many messages came to each text, and when. What is not understood is "
        "listed without anybody's data, ready to be sent.\n\n"
        "FILE is a HAR export (with sensitive data) of Chrome or Edge, a file of harness guest "
        "--record, a JSON file of frames, or a directory of such files.\n\n"
        "exit code: 0 all frames understood, 3 some were not, 5 no frame of the service, "
        "8 a file can't be read"
    ),
    epilog=(
        "examples:\n"
        "  harness conform chat.har\n"
        "  harness conform guest.jsonl frames/ --out unknown.json\n"
    ),
)
