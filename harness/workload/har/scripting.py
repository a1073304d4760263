"""A script of what a recorded guest did: the same texts and pauses, and nobody's data.

Where a text has something personal in it, a column of invented data takes its place. A wait stands
where the first message of an answer came, and the pause after it lasts until the guest's next act,
so that a script does not depend on how many messages an answer has. Before a choice the wait is for
the message that offered it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import ConfigError
from harness.foreign import an_object, inner
from harness.limits import MAX_FILE_BYTES, MAX_TEXT_BYTES
from harness.units import duration_text
from harness.workload.har.reading import (
    ACTS,
    Kind,
    Moment,
    Recording,
    Turn,
    moments,
    offered_in,
    read_recording,
    turns,
)
from harness.workload.har.redaction import SUFFIX, Personal, personal_of
from harness.workload.script.file import read_script
from harness.workload.script.model import DEFAULT_WITHIN, render

STAND_IN = b"A stand-in for the file that was sent. "
SHORTEST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 86_400.0
LEAST_WITHIN_S = 10.0
WITHIN_FACTOR = 3
"""A wait has so many times as long as the slowest answer of the recording took."""
ROUNDING = ((10.0, 0.5), (60.0, 1.0), (math.inf, 5.0))
"""Pauses below the first number of seconds are rounded to the second."""

INVENTED = {
    "email": "guest{n}@example.com",
    "url": "https://example.com/{n}",
    "id": "00000000-0000-4000-8000-{n:012d}",
    "address": "{n} Example Street",
    "date": "2001-02-{d:02d}",
    "phone": "+1 202 555 {m:04d}",
    "account": "XX00 0000 0000 {m:04d}",
    "card": "0000 0000 0000 {m:04d}",
    "order_number": "EX-{m:06d}",
    "name": "Alex Example",
    "secret": "example {n}",
}
"""What stands in the data for each kind: of nobody, and to be replaced by the reader."""
COLUMN_NAMES = {"secret": "detail"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A script and what goes with it; ``files`` are name → size in bytes of stand-ins."""

    yaml: str
    csv: str
    files: dict[str, int]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Columns:
    """The columns of invented data that take the place of what was personal."""

    personal: Personal
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    def filled(self, text: str) -> str:
        """A text as a script has it."""
        return self.personal.replace(text, self._column, _literal)

    def _column(self, kind: str, value: str) -> str:
        """What stands in a script for a value."""
        key = (kind, value.casefold())
        if key not in self.names:
            number = 1 + sum(one == kind for one, _ in self.names)
            base = COLUMN_NAMES.get(kind, kind)
            name = base if number == 1 else f"{base}_{number}"
            self.names[key] = name
            form = INVENTED[kind]
            self.values[name] = form.format(n=number, d=1 + number % 28, m=number % 10_000)
        return f"{{{{{self.names[key]}}}}}"

    def csv(self) -> str:
        """Header and one row; empty without columns."""
        if not self.values:
            return ""
        return ",".join(self.values) + "\n" + ",".join(self.values.values()) + "\n"


@dataclass(slots=True)
class _Writer:
    """The steps of one scenario as lines of YAML."""

    columns: _Columns
    files: dict[str, int]
    turns: list[Turn] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    since_s: float = math.nan
    """when the last step had its end in the recording"""
    awaiting: bool = False
    """whether an act has been done that nobody has waited for"""
    replies: list[Moment] = field(default_factory=list)
    """what came since the last act"""
    typing_s: float = math.nan
    slowest_s: float = 0.0
    act_s: float = math.nan

    def step(
        self, key: str, value: str = "", comment: str = "", *, unanswered: bool = False
    ) -> None:
        line = f"    - {key}: {value}" if value else f"    - {key}"
        self.lines.append(line + (f"  # {comment}" if comment else ""))
        if unanswered:
            self.lines.append("      expectReply: false")

    def answered(self, moment: Moment) -> bool:
        """Whether anything came to it."""
        return any(turn.act is moment and turn.replies for turn in self.turns)

    def pause_until(self, at_s: float, kind: str = "think") -> None:
        """From the end of the last step to a moment."""
        self.last(at_s - self.since_s, kind)

    def last(self, length_s: float, kind: str) -> None:
        """A step that takes its time."""
        if rounded_s := _rounded(length_s):
            self.step(kind, duration_text(rounded_s))

    def wait(self, choice: str = "") -> None:
        """For what has come since the last act; for ``choice`` where it was offered."""
        offering = [one for one in self.replies if choice and choice in offered_in(one.body)]
        if not self.replies or not (self.awaiting or offering):
            return
        first, last = self.replies[0], self.replies[-1]
        comment = "1 message" if len(self.replies) == 1 else f"{len(self.replies)} messages"
        if not math.isnan(self.act_s):
            first_s = max(first.at_s - self.act_s, 0.0)
            self.slowest_s = max(self.slowest_s, first_s)
            comment += f" after {duration_text(first_s)}"
            if last is not first:
                comment += f" to {duration_text(max(last.at_s - self.act_s, 0.0))}"
        if offering:
            # A choice has a line of its own in what a reply shows.
            pattern = re.sub(r"[\\^$.*+?()\[\]{}|]", r"\\\g<0>", choice)
            self.step("waitForReplyMatching", _quoted(f"^{pattern}$"), comment)
            self.since_s = offering[-1].at_s
            self.slowest_s = max(self.slowest_s, offering[-1].at_s - self.act_s)
        else:
            self.step("waitForReply", comment=comment)
            self.since_s = first.at_s
        self.awaiting = False

    def act(self, moment: Moment) -> None:
        if moment.refused:
            self.notes.append(
                f"a {moment.kind} that the service refused with {moment.refused} was left out"
            )
            return
        choice = moment.text if moment.kind is Kind.CHOICE else ""
        personal = bool(choice) and bool(self.columns.personal.find(choice))
        offered = any(choice in offered_in(one.body) for one in self.replies)
        self.wait("" if personal else choice)
        self._come_to(moment)
        filled, silent = self.columns.filled(moment.text), not self.answered(moment)
        if moment.kind is Kind.JOIN:
            self.step("join")
        elif moment.kind is Kind.FILE:
            self.step("attach", _quoted(self._file(moment)), unanswered=silent)
        elif choice and offered and filled == choice:
            self.step("choose", _quoted(filled), unanswered=silent)
        elif len(render(filled, self.columns.values).encode("utf-8", "replace")) > MAX_TEXT_BYTES:
            self.notes.append(f"a text over the service's {MAX_TEXT_BYTES:,} bytes was left out")
            return
        elif filled.strip():
            if choice:
                why = "has personal data in it" if personal else "no message had offered"
                self.notes.append(f"a choice that {why} is said as a text")
            self.step("say", _quoted(filled), unanswered=silent)
        else:
            return
        self.since_s = self.act_s = moment.at_s
        self.awaiting, self.replies, self.typing_s = True, [], math.nan

    def _come_to(self, moment: Moment) -> None:
        """Pause and type until an act."""
        if not math.isnan(self.typing_s) and moment.kind is Kind.TEXT:
            self.pause_until(max(self.typing_s, self.since_s))
            self.last(moment.at_s - max(self.typing_s, self.since_s), "typing")
        else:
            self.pause_until(moment.at_s)

    def _file(self, moment: Moment) -> str:
        """A stand-in of the same kind and size, with a name of its own."""
        suffix = SUFFIX.search(moment.name)
        name = f"file-{len(self.files) + 1}{suffix[0].lower() if suffix else '.txt'}"
        self.files[name] = min(max(moment.size, 1), MAX_FILE_BYTES)
        return name

    def lost(self, at_s: float) -> None:
        """The connection went; the next moment brings another."""
        self.end(at_s)
        self.step("drop")
        self.since_s = at_s

    def back(self, at_s: float) -> None:
        self.pause_until(at_s, "idle")
        self.step("reconnect")
        self.since_s = at_s

    def end(self, at_s: float) -> None:
        """The guest has left, or its connection went."""
        self.wait()
        self.pause_until(at_s)


def draft(recording: Recording, *, data_file: str) -> Draft:
    """The script of a recording; ``data_file`` is the name of the CSV file for its columns."""
    columns = _Columns(personal_of(recording))
    files: dict[str, int] = {}
    scenarios: list[_Writer] = []
    for session in recording.sessions:
        for part in _lives(moments(session)):
            writer = _write(part, columns, files)
            if writer.lines:
                scenarios.append(writer)
    notes = list(dict.fromkeys(note for one in scenarios for note in one.notes))
    slowest_s = max((one.slowest_s for one in scenarios), default=0.0)
    return Draft(
        yaml=_yaml(scenarios, columns, slowest_s, data_file) if scenarios else "",
        csv=columns.csv(),
        files=files,
        dropped=(*recording.left_out, *_dropped(recording, columns)),
        notes=(*notes, *_unclear(recording)),
    )


def write_draft(file: Path, out: Path | None, *, force: bool) -> list[str]:
    """Write the script of a recording and what goes with it; what there is to say of them.

    The script is ``out``, or has the recording's name. All files are written or none: ``force``
    replaces those that are there. Raises ConfigError.
    """
    script = out or Path(f"{file.stem}.yaml")
    data = script.with_suffix(".csv")
    made = draft(read_recording(file), data_file=data.name)
    if not made.yaml:
        raise ConfigError(f"{file}: a guest connected and did nothing: there is nothing to script")
    written = {script: made.yaml.encode()}
    if made.csv:
        written[data] = made.csv.encode()
    for name, size in made.files.items():
        written[script.parent / name] = (STAND_IN * (size // len(STAND_IN) + 1))[:size]
    for path in () if force else written:
        if path.exists():
            raise ConfigError(f"{path} is there already: --force replaces it, --out names another")
    for path, content in written.items():
        try:
            path.write_bytes(content)
        except OSError as error:
            raise ConfigError(f"{path} can't be written: {error.strerror}") from None
    scenarios = read_script(script).script.scenarios
    steps, guests = sum(len(one.steps) for one in scenarios.values()), len(scenarios)
    beside = [path for path in written if path != script]
    return [
        f"{script}: {guests} recorded guest{'s' if guests > 1 else ''}, {steps} steps",
        *(
            f"{one}: {'invented data' if one == data else 'a stand-in of the same size'}"
            for one in beside
        ),
        *(f"not carried over: {sentence}" for sentence in made.dropped),
        *(f"note: {sentence}" for sentence in made.notes),
        f"read {script} before you pass it on; {file} holds secrets: delete it when you are done",
        f"next: harness guest --script {script}",
    ]


def _lives(timeline: list[Moment]) -> Iterable[list[Moment]]:
    """The parts of a token's time that Clear ended: each is a conversation of its own."""
    part: list[Moment] = []
    cleared = False
    for moment in timeline:
        if cleared and moment.kind is Kind.CONFIGURE:
            yield part
            part, cleared = [], False
        part.append(moment)
        cleared = cleared or moment.kind is Kind.CLEARED
    yield part


def _write(timeline: list[Moment], columns: _Columns, files: dict[str, int]) -> _Writer:
    writer = _Writer(columns, files, turns(timeline))
    away = over = False
    for moment in timeline:
        if math.isnan(writer.since_s) and moment.kind is Kind.READY:
            writer.since_s = moment.at_s
        if over or math.isnan(writer.since_s):
            continue
        if moment.kind is Kind.REPLY:
            writer.replies.append(moment)
        elif moment.kind is Kind.LOST and writer.lines:
            writer.lost(moment.at_s)
            away = True
        elif moment.kind is Kind.READY and away:
            writer.back(moment.at_s)
            away = False
        elif moment.kind in ACTS:
            writer.act(moment)
        elif moment.kind is Kind.TYPING and math.isnan(writer.typing_s):
            writer.typing_s = moment.at_s
        elif moment.kind in (Kind.CLEAR, Kind.DISCONNECTED):
            writer.end(moment.at_s)
            over = True
            if moment.kind is Kind.DISCONNECTED:
                writer.notes.append("what came after the other side's end was left out")
    if not over and writer.lines:
        writer.wait()
    return writer


def _yaml(scenarios: list[_Writer], columns: _Columns, slowest_s: float, data_file: str) -> str:
    within_s = max(math.ceil(slowest_s * WITHIN_FACTOR), LEAST_WITHIN_S)
    lines = [
        "# Made from a recording. Read it before you pass it on: a machine can't tell every name",
        "# from any other word. Sessions are always cleared at the end.",
    ]
    if duration_text(within_s) != DEFAULT_WITHIN:
        lines.append(f"within: {duration_text(min(within_s, LONGEST_PAUSE_S))}")
    if columns.values:
        lines.append(f"feeder: {_quoted(data_file)}  # invented data: put in rows of your own")
    lines.append("scenarios:")
    for number, one in enumerate(scenarios, 1):
        lines += [f"  Recorded guest {number}:", *one.lines]
    return "\n".join(lines) + "\n"


def _dropped(recording: Recording, columns: _Columns) -> list[str]:
    """What the frames held that the script does not, in words and without the values."""
    ids, jwts, checks = 0, 0, 0
    attributes: set[str] = set()
    tokens = len(recording.sessions)
    replies = sum(
        moment.kind is Kind.REPLY for session in recording.sessions for moment in moments(session)
    )
    for frame in recording.frames():
        fields = frame.fields
        ids += "tracingId" in fields
        jwts += fields.get("class") == "JwtResponse" or "data" in fields
        checks += fields.get("action") == "echo"
        for place in (fields, fields.get("message")):
            attributes |= an_object(inner(place, "channel", "metadata", "customAttributes")).keys()
    named = sorted(
        one if re.fullmatch(r"[A-Za-z_][\w.-]*", one) and not columns.personal.find(one) else "…"
        for one in attributes
    )
    dropped = [f"{tokens} guest token{'s' if tokens > 1 else ''}, with the deployment's id"]
    if ids:
        dropped.append("ids of messages, requests and attachments")
    if replies:
        dropped.append(f"texts of {replies} message{'s' if replies > 1 else ''} of the other side")
    if named:
        dropped.append(f"values of custom attributes: {', '.join(dict.fromkeys(named))}")
    if jwts:
        dropped.append("keys that sign a guest in, or open its history")
    if checks:
        dropped.append("health checks: every guest makes its own")
    for kind, many in Counter(kind for kind, _ in columns.names).items():
        dropped.append(f"{kind.replace('_', ' ')} in the guest's texts ({many}), now a column each")
    return dropped


def _unclear(recording: Recording) -> list[str]:
    """What the reader should know of the recording."""
    notes = []
    for session in recording.sessions:
        timeline = moments(session)
        kinds = {moment.kind for moment in timeline}
        ready = next((moment for moment in timeline if moment.kind is Kind.READY), None)
        if ready is not None and ready.body.get("newSession") is not True:
            notes.append("the session had begun before the recording: its beginning is missing")
        if Kind.CLEARED not in kinds:
            notes.append("the guest left without ending its session; the script always ends it")
        configured = [moment for moment in timeline if moment.kind is Kind.CONFIGURE]
        if any(one.body.get("action") == "configureAuthenticatedSession" for one in configured):
            notes.append(
                "the guest was signed in: give harness guest --sign-in, or sign_ins of the target"
            )
    return list(dict.fromkeys(notes))


def _rounded(pause_s: float) -> float:
    """A pause as a person would write it; 0 for none."""
    if not pause_s >= SHORTEST_PAUSE_S:  # also for nan
        return 0.0
    step = next(step for below, step in ROUNDING if pause_s < below)
    return min(max(round(pause_s / step) * step, 0.5), LONGEST_PAUSE_S)


def _literal(text: str) -> str:
    """A text in which nothing is a placeholder."""
    return re.sub(r"\$(?=\{)", "$ ", re.sub(r"\{(?=\{)", "{ ", text))


def _quoted(text: str) -> str:
    """A text as YAML in double quotes; half a character becomes a question mark."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return f'"{"".join(map(_escaped, whole))}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
