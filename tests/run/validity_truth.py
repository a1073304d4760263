"""What really happened in a cell of the validity matrix, and what a run may say of it."""

import math
import re
from dataclasses import dataclass
from typing import Any

from plants import Plant

from harness.errors import ExitCode

CODES = {
    "PASS": {ExitCode.PASS},
    "FAIL": {ExitCode.OBJECTIVES, ExitCode.LEFTOVERS},
    "NO_DATA": {ExitCode.NO_DATA, ExitCode.LEFTOVERS},
    "INVALID": {ExitCode.INVALID, ExitCode.LEFTOVERS},
}
LIMIT_MS = 1000.0
STATED = 0.01
"""The share that the objectives allow: of guests, of errors, of what was not offered."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
Words = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """Of one cell: the simulator's rows and counts."""

    texts: list[Words]
    unasked: int
    opened: int
    turned_away: int

    @property
    def came(self) -> int:
        return len(self.texts)

    @property
    def answered(self) -> int:
        return sum(bool(row["answers_ms"]) for row in self.texts)

    @property
    def kept(self) -> int:
        """Nobody was there for their answers: a guest who comes back reads them in the history."""
        return sum(bool(row["unheard"]) and not row["answers_ms"] for row in self.texts)

    def reply_ms(self, row: Words) -> float:
        """When the first message of its answer was written; never: for ever.

        A guest who has left does not hear what would have come: then it counts as it was due.
        """
        times = row["answers_ms"] or ([] if row["refused"] else row["due_ms"])
        return float(times[0]) if times else math.inf

    def quantile(self, share: float) -> float:
        """By the ceil rank, over all questions that came."""
        times = sorted(self.reply_ms(row) for row in self.texts)
        return times[max(math.ceil(share * len(times)), 1) - 1]

    def lies_of_pass(self, due: int | None) -> list[str]:
        """Why the run may not pass: what went beyond the stated share."""
        found = []
        never = sum(self.reply_ms(row) == math.inf for row in self.texts)
        if never > STATED * self.came:
            found.append(f"{never} of {self.came} questions were never answered")
        tried = self.opened + self.turned_away
        if self.turned_away > STATED * tried:
            found.append(f"{self.turned_away} of {tried} connections were turned away")
        if due is not None and self.opened < (1 - STATED) * due:
            found.append(f"{self.opened} sessions for {due} arrivals that were due")
        if self.texts and self.quantile(0.95) > LIMIT_MS:
            found.append(f"the true p95 is {self.quantile(0.95):.0f} ms")
        if not self.texts:
            found.append("no question ever came")
        return found


def read_truth(rows: list[Words], whole: Words, turned_away: int) -> Truth:
    """From ``/sim/questions`` and ``/sim/truth``, and who never got as far as the service."""
    counts = whole["counts"]
    refused = sum(many for name, many in counts.items() if name.startswith("upgrade_refused"))
    refused += counts.get("connections_unanswered", 0) + turned_away
    return Truth(
        texts=[row for row in rows if row.get("kind") in ("text", "choice")],
        unasked=sum("unasked" in row for row in rows),
        opened=int(whole["sessions"]["opened"]),
        turned_away=refused,
    )


def judge(
    plant: Plant, due: int | None, truth: Truth, record: Words, code: int, *, words: str = ""
) -> list[str]:
    """What does not hold of a run; ``due`` arrivals were asked for, where there is a schedule.

    ``words`` are what it printed at its end.
    """
    broken = []
    verdict = str(record.get("verdict"))
    if verdict == "PASS":
        broken += [f"PASS, but {lie}" for lie in truth.lies_of_pass(due)]
        if plant.cause and not broken:
            broken.append("PASS, and by the truth too: what was planted did not strike")
    elif plant.honest:
        broken.append(f"nothing is wrong, but {verdict}: {reasons(record)}")
    elif plant.cause and not re.search(plant.cause, f"{reasons(record)}\n{words}"):
        broken.append(f"{verdict} does not name its cause: {reasons(record) or 'no reason'}")
    elif not reasons(record):
        broken.append(f"{verdict} without a reason")
    if plant.verdicts and verdict not in plant.verdicts:
        broken.append(f"{verdict}, but expected {' or '.join(sorted(plant.verdicts))}")
    if code not in CODES.get(verdict, set()):
        broken.append(f"{verdict} with exit code {code}")
    if plant.figures:
        broken += _account(truth, record)
        broken += _figures(truth, record)
    return broken


def reasons(record: Words) -> str:
    """The sentences that stand beside the verdict."""
    told = [str(reason) for reason in record.get("reasons") or ()]
    told += [str(reason) for reason in record.get("invalid_because") or ()]
    for objective in record.get("objectives") or ():
        if objective.get("verdict") != "PASS":
            told.append(" ".join(str(objective.get(key, "")) for key in ("text", "note")))
    return "; ".join(dict.fromkeys(told))


def _account(truth: Truth, record: Words) -> list[str]:
    """Whether every question is accounted for, once."""
    account = record.get("questions")
    if not account:
        return ["the record has no account of questions"]
    found = []
    ends = ("answered", "timed_out", "unanswered", "cut_short", "failed", "lost")
    ended = sum(account[name] for name in ends)
    if ended != account["asked"]:
        found.append(f"{account['asked']} asked, {ended} ended")
    outcomes = (record["operations"].get("reply") or {}).get("outcomes") or {}
    asked = sum(outcomes.values())
    if asked < truth.came:
        found.append(f"{truth.came} questions came, {asked} are in the account")
    sure = outcomes.get("ok", 0) - account.get("ambiguous", 0)
    if sure > truth.answered:
        read = ((record["operations"].get("history") or {}).get("outcomes") or {}).get("ok", 0)
        if sure > truth.answered + min(truth.kept, read):
            found.append(f"{sure} answers are said to be sure, {truth.answered} were given")
    return found


def _figures(truth: Truth, record: Words) -> list[str]:
    """Whether a reply is said to have been faster than it was."""
    entry = record["operations"].get("reply")
    if not entry or not truth.texts:
        return []
    account = record.get("questions")
    if not account:
        return []  # that is told already
    if account["ambiguous"] > STATED * max(account["answered"], 1) or account["doubtful_because"]:
        return [] if account["advice"] or account["doubtful_because"] else ["ambiguous, untold"]
    times = entry["service_ms"]
    marked = {*(times.get("lower_bounds") or ()), *(times.get("unsure") or ())}
    found = []
    for name, share in QUANTILES.items():
        said = times.get(name)
        if said is None or name in marked:
            continue
        true = truth.quantile(share)
        if said < true * 0.99 - 2:
            found.append(f"reply {name} is said to be {said:.0f} ms and was {true:.0f} ms")
    return found
