"""The accounts of a run beside that of its sessions: questions, stories, guests, story errors.

In each of the first three everything is in exactly one class, and the sum is checked. Errors of the
locustfile's own are counted by kind, file and line: their text may hold whatever the story knows.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from harness.guest.outcomes import Why
from harness.judge.objective import Objective
from harness.measure.model import GROUPS, Outcome
from harness.measure.recorder import (
    GUESTS_ARRIVED,
    GUESTS_ASKED_NOTHING,
    GUESTS_CUT,
    GUESTS_FAILED,
    GUESTS_SERVED,
    HEARD,
    LATE_ANSWERS,
    LISTENED,
    QUESTION_MESSAGES,
    QUESTIONS_AMBIGUOUS,
    QUESTIONS_ASKED,
    STORIES_BEGUN,
    STORIES_BROKEN,
    STORIES_CUT,
    STORIES_FINISHED,
    STORIES_TOLD,
    UNASKED,
    WARM_UP,
    by_reason,
)

ASKED = ("reply", "greeting")
"""The operations that are questions."""
ENDS: Mapping[str, tuple[Outcome, ...]] = MappingProxyType(
    {
        "answered": (Outcome.OK,),
        "timed_out": (Outcome.TIMEOUT,),
        "unanswered": (Outcome.UNANSWERED,),
        "cut_short": (Outcome.CUT_SHORT,),
        "lost": (Outcome.LOST, Outcome.EXPIRED),
    }
)
"""How questions end, by the outcomes of their operations; all other outcomes are ``failed``."""
MANY_MESSAGES = 1.2
"""With more messages to a question than this, answers come in parts."""
SOME_AMBIGUOUS = 0.01
JUDGED_FOR_ERRORS = ("connect", "session_open", "delivered", "reply")
DECLARE = (
    "say how the flow speaks: greets (of the target or the GuestUser class, or --greets) if it "
    "says something by itself; await_reply(turn=True) or --turns on if it answers in several "
    "messages; expect_reply=False for what needs no answer"
)
WORDS = MappingProxyType(
    {
        "connect": ("connects", "were refused or failed"),
        "session_open": ("openings of a session", "failed"),
        "delivered": ("messages", "were not delivered"),
        "reply": ("questions", "were not answered"),
    }
)


def with_warm_up(outcomes: Mapping[str, Mapping[str, int]], operation: str) -> dict[str, int]:
    """How often an operation ended in each outcome, whether or not it was begun in the warm-up."""
    counts = dict(outcomes.get(operation, {}))
    for outcome, many in outcomes.get(WARM_UP + operation, {}).items():
        counts[outcome] = counts.get(outcome, 0) + many
    return counts


def questions_block(
    outcomes: Mapping[str, Mapping[str, int]], counts: Mapping[str, int]
) -> dict[str, Any]:
    """The account of questions: ``asked`` is the sum of the six that follow it."""
    ended: dict[str, int] = {}
    for operation in ASKED:
        for outcome, many in with_warm_up(outcomes, operation).items():
            ended[outcome] = ended.get(outcome, 0) + many
    block: dict[str, Any] = {"asked": counts.get(QUESTIONS_ASKED, 0)}
    block |= {name: sum(ended.get(one, 0) for one in ends) for name, ends in ENDS.items()}
    known = {outcome for ends in ENDS.values() for outcome in ends}
    block["failed"] = sum(many for outcome, many in ended.items() if outcome not in known)
    block["open"] = block["asked"] - sum(ended.values())
    block["ambiguous"] = counts.get(QUESTIONS_AMBIGUOUS, 0)
    messages, answered = counts.get(QUESTION_MESSAGES, 0), block["answered"]
    block["messages_per_question"] = round(messages / answered, 3) if answered else None
    block["late_answers"] = counts.get(LATE_ANSWERS, 0)
    block["unasked"] = counts.get(UNASKED, 0)
    block["listened"] = counts.get(LISTENED, 0)
    block["heard_more"] = counts.get(HEARD, 0)
    block["doubtful_because"] = _heard(block)
    turns = with_warm_up(outcomes, "turn").get(Outcome.OK, 0)
    replies = with_warm_up(outcomes, "reply").get(Outcome.OK, 0)
    block["advice"] = _advice(block, by_turns=0 < replies <= turns)
    return block


def _heard(block: Mapping[str, Any]) -> str:
    heard, listened = block["heard_more"], block["listened"]
    if not heard:
        return ""
    return (
        f"{heard:,} of {listened:,} guests who stayed silent before they left heard a message that "
        "answers nothing they had asked: answers may have been taken for others'"
    )


def _advice(block: Mapping[str, Any], *, by_turns: bool) -> str:
    """What to do where answers and questions do not match one to one; empty where they do.

    ``by_turns``: the guests waited for all of each answer, however many messages it had.
    """
    each, answered, ambiguous = (
        block["messages_per_question"],
        block["answered"],
        block["ambiguous"],
    )
    reasons = [block["doubtful_because"]] if block["doubtful_because"] else []
    if each is not None and each > MANY_MESSAGES and not by_turns:
        reasons.append(f"a question was answered by {each:.2f} messages on average")
    if ambiguous > SOME_AMBIGUOUS * max(1, answered):
        reasons.append(
            f"of {ambiguous:,} of {answered:,} answers it is not sure what they answered"
        )
    return f"{'; '.join(reasons)}. To be sure, {DECLARE}" if reasons else ""


def stories_block(counts: Mapping[str, int]) -> dict[str, Any]:
    """The account of stories, and where they broke off, the most frequent first."""
    where = by_reason(counts, STORIES_BROKEN)
    most = sorted(where.items(), key=lambda item: (-item[1], item[0]))
    return {
        "begun": counts.get(STORIES_BEGUN, 0),
        "finished": counts.get(STORIES_FINISHED, 0),
        "broken_off": sum(where.values()),
        "cut": counts.get(STORIES_CUT, 0),
        "where": [{"step": step, "count": many} for step, many in most],
        "told": sorted(by_reason(counts, STORIES_TOLD)),
    }


def guests_block(counts: Mapping[str, int]) -> dict[str, Any]:
    """The account of guests, and why some were not served."""
    why = by_reason(counts, GUESTS_FAILED)
    return {
        "arrived": counts.get(GUESTS_ARRIVED, 0),
        "served": counts.get(GUESTS_SERVED, 0),
        "failed": sum(why.values()),
        "cut": counts.get(GUESTS_CUT, 0),
        "asked_nothing": counts.get(GUESTS_ASKED_NOTHING, 0),
        "why": {str(one): why[one] for one in Why if one in why},
    }


def unbalanced(record: Mapping[str, Any]) -> list[str]:
    """One sentence for each account that does not add up."""
    sentences = []
    questions, stories, guests = (record[name] for name in ("questions", "stories", "guests"))
    if questions["open"]:
        sentences.append(
            f"the account of questions does not add up: {questions['asked']:,} asked, "
            f"{questions['asked'] - questions['open']:,} ended"
        )
    for name, block, whole in (("stories", stories, "begun"), ("guests", guests, "arrived")):
        ended = sum(block[part] for part in GROUPS[name][1:])
        if ended != block[whole]:
            sentences.append(
                f"the account of {name} does not add up: {block[whole]:,} {whole}, {ended:,} ended"
            )
    return sentences


def not_judged(operations: Mapping[str, Any], objectives: Iterable[Objective]) -> list[str]:
    """Errors that no objective looks at, such as ``23 of 50 connects were refused or failed``."""
    looked_at = {
        objective.subject
        for objective in objectives
        if objective.figure == "errors" or objective.figure in tuple(Outcome)
    }
    sentences = []
    for name in JUDGED_FOR_ERRORS:
        entry = operations.get(name)
        if entry is None or name in looked_at:
            continue
        failed = {word: many for word, many in entry["outcomes"].items() if word != Outcome.OK}
        many = sum(failed.values()) - entry.get("cut_early", 0)
        if many > 0:
            what, became = WORDS[name]
            shown = ", ".join(f"{word} {number:,}" for word, number in failed.items())
            sentences.append(f"{many:,} of {entry['count']:,} {what} {became} ({shown})")
    return sentences


STORY_ERROR = "story error: "
ELSEWHERE = f"{STORY_ERROR}elsewhere"
"""Of places beyond those that are told one by one."""
NO_STORIES = "most stories ended by errors of their own: the run was ended"


def story_error_count(kind: str, file: str, line: int) -> str:
    """The name of the count for an error at a place."""
    return f"{STORY_ERROR}{kind} in {file}, line {line}"


def is_story_error(count: str) -> bool:
    """Whether a count is one of these."""
    return count.startswith(STORY_ERROR)


def errors_block(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The record's ``story_errors``: what ended stories, and how often, the most frequent first."""
    rows = [
        {"what": name.removeprefix(STORY_ERROR), "count": number}
        for name, number in counts.items()
        if is_story_error(name)
    ]
    return sorted(rows, key=lambda entry: (-entry["count"], entry["what"]))


def sentences(block: list[dict[str, Any]]) -> list[str]:
    """One for each kind and place."""
    return [
        f"{_times(entry['count'])} a story of the locustfile ended by an error of its own: "
        f"{entry['what']} (Locust's log has the whole of it)"
        for entry in block
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
