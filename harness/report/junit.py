"""JUnit XML for CI servers: one case per objective and one for the run as a whole.

What was missed is a failure; what could not be judged is an error. Neither ever passes.
"""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from harness.clock import utc_iso
from harness.report import story
from harness.report.figures import with_unit
from harness.rundir.schema import Objective, RunRecord

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 can't hold in any form (section 2.2 of the recommendation)."""


def junit(record: RunRecord, doubts: Sequence[str] = ()) -> str:
    """The XML document, ending in a newline."""
    suite = ET.Element("testsuite", name=_text(f"harness {record.run_id}"))
    for objective in record.objectives:
        case = _case(suite, record, objective.text)
        _judge(case, objective.verdict, _measured(objective))
        if objective.verdict == "PASS":
            told = f"{story.objective_word(objective)}: {_measured(objective)}"
            ET.SubElement(case, "system-out").text = _text(told)
    whole = _case(suite, record, "the run as a whole")
    _judge(whole, record.verdict, f"{story.why(record)} {story.account(record)}")
    ET.SubElement(whole, "system-out").text = _text(
        "\n".join([story.account(record), *story.accounts(record), *story.notices(record), *doubts])
    )
    suite.set("tests", str(len(suite)))
    for kind in ("failure", "error"):
        suite.set(f"{kind}s", str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("skipped", "0")
    if record.started is not None:
        suite.set("timestamp", utc_iso(int(record.started.timestamp() * 1e9)))
    if record.duration_s is not None:
        suite.set("time", f"{record.duration_s:.3f}")
    ET.indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suite, encoding="unicode")}\n'


def _case(suite: ET.Element, record: RunRecord, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_text(record.run_id), name=_text(name))


def _judge(case: ET.Element, verdict: str | None, message: str) -> None:
    if verdict == "PASS":
        return
    kind = "failure" if verdict == "FAIL" else "error"
    found = ET.SubElement(case, kind, type=verdict or "NO_VERDICT", message=_text(message))
    found.text = _text(message)


def _measured(objective: Objective) -> str:
    if objective.verdict == "NO_DATA" or objective.figure is None:
        return f"{objective.text}: {objective.note or 'nothing was measured'}"
    told = [f"{objective.text}: measured {story.objective_figure(objective)}"]
    if objective.limit is not None:
        told.append(f"limit {with_unit(objective.limit, objective.unit)}")
    if objective.margin is not None:
        told.append(story.objective_margin(objective))
    elif objective.note:
        told.append(objective.note)
    return ", ".join(told)


def _text(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
