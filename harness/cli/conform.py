"""Check each frame of the service in a recording against what the harness and its simulator know:
classes, fields, types, words, times, close codes, the order at Clear. Also says how many messages
answered each text, and when. What is not known is listed without personal data, so that you can
send it to the maintainers.

FILE is a HAR export (with sensitive data) of Chrome or Edge, a file of harness guest --record, a
JSON file of frames, or a directory of such files.

exit code: 0 everything is known, 3 something is not, 5 there is no frame of the service, 8 a file
can't be read

examples:
  harness conform chat.har
  harness conform guest.jsonl frames/ --out unknown.json
"""

import json
import secrets
from pathlib import Path

from harness.cli.parsing import Command, Namespace, argument, option
from harness.conform.check import check_recording, facts, show_recording, to_send
from harness.errors import ExitCode
from harness.rundir.layout import writing
from harness.streams import HowFar, open_console, print_json_text
from harness.workload.har.reading import read_recording


def run(args: Namespace) -> int:
    """Do it."""
    key = secrets.token_bytes(32)
    checked = []
    with HowFar(open_console(stderr=True), "reading") as how_far:
        for number, file in enumerate(args.files, 1):
            how_far.tell(f"reading {file}: {number:,} of {len(args.files):,}")
            checked.append(check_recording(read_recording(file), key=key))
    if args.out is not None:
        with writing(args.out):
            text = json.dumps(to_send(checked), indent=1, ensure_ascii=False)
            args.out.write_text(text + "\n", encoding="utf-8")
    frames = sum(one.frames for one in checked)
    findings = [finding for one in checked for finding in one.findings]
    if args.json:
        print_json_text(json.dumps(facts(checked), indent=1, ensure_ascii=False))
    else:
        for one in checked:
            show_recording(one)
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


COMMAND = Command(
    run,
    argument("files FILE", "a recording", many=True, type=Path),
    option("--json", "print JSON instead of text"),
    option("--out FILE", "write what is not understood to this file, as JSON", type=Path),
)
