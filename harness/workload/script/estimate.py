"""What a script will send, how long it takes, and which documented limit it would break.

The script is played on paper: think times take their mean, replies come after a stated time, and
each request is put on the connection's and the session's account. That finds what would otherwise
come back as 429 at night.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from harness.errors import ConfigError
from harness.limits import (
    HEALTH_CHECK_EVERY_S,
    MESSAGES_PER_SESSION_PER_SECOND,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
    TYPING_EVERY_S,
)
from harness.units import duration_text
from harness.workload.script.model import PAUSES, SPEAKING, WAITS, Script, Step, StepKind, walk

MESSAGES = (StepKind.SAY, StepKind.CHOOSE, StepKind.JOIN, StepKind.CLEAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioEstimate:
    """One scenario, once through. ``breaks`` are sentences, empty when it keeps the limits.

    ``peak_per_min`` is the most requests in any minute on one connection, ``peak_per_s`` the most
    messages in any second of the session.
    """

    name: str
    share: float
    duration_s: float
    texts: int
    requests: int
    connections: int
    waits: int
    peak_per_min: int
    peak_per_s: int
    breaks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """All scenarios, and the mean guest by their weights."""

    scenarios: tuple[ScenarioEstimate, ...]
    mean_duration_s: float
    mean_texts: float
    mean_requests: float

    @property
    def breaks(self) -> tuple[str, ...]:
        return tuple(sentence for one in self.scenarios for sentence in one.breaks)


@dataclass(slots=True)
class _Account:
    """Where and when requests fall while a script is played."""

    now_s: float = 0.0
    requests: list[list[float]] = field(default_factory=lambda: [[0.0]])
    messages: list[float] = field(default_factory=list)
    connected: bool = True

    def send(self, *, message: bool) -> None:
        self.requests[-1].append(self.now_s)
        if message:
            self.messages.append(self.now_s)

    def wait(self, wait_s: float) -> None:
        """Time passes; health checks go out while it does, if there is a connection."""
        end_s = self.now_s + wait_s
        sent = self.requests[-1]
        while self.connected and sent[-1] + HEALTH_CHECK_EVERY_S <= end_s:
            sent.append(sent[-1] + HEALTH_CHECK_EVERY_S)
        self.now_s = end_s

    def reconnect(self) -> None:
        """A new connection, configured anew."""
        self.requests.append([self.now_s])
        self.connected = True


def estimate(script: Script, *, reply_s: float = 1.0) -> Estimate:
    """Play each scenario once. ``reply_s`` is how long a reply takes."""
    if not 0 <= reply_s < 86400:
        raise ConfigError(f"estimate: reply time: expected 0 up to a day, got {reply_s!r}")
    whole = sum(scenario.weight for scenario in script.scenarios.values())
    estimates = tuple(
        _play(
            name,
            scenario.weight / whole,
            scenario.steps,
            reply_s,
            pause_s=script.pause_before_texts_s,
        )
        for name, scenario in script.scenarios.items()
    )
    return Estimate(
        scenarios=estimates,
        mean_duration_s=sum(one.share * one.duration_s for one in estimates),
        mean_texts=sum(one.share * one.texts for one in estimates),
        mean_requests=sum(one.share * one.requests for one in estimates),
    )


def _play(
    name: str, share: float, steps: tuple[Step, ...], reply_s: float, *, pause_s: float
) -> ScenarioEstimate:
    account = _Account()
    before = None
    texts = waits = 0
    cleared = False
    for step in walk(steps):
        kind = step.kind
        cleared = kind is StepKind.CLEAR
        if not account.connected and kind not in (StepKind.IDLE, StepKind.THINK, StepKind.DROP):
            account.reconnect()  # whatever needs a connection gets one
        if kind is StepKind.SAY and before not in PAUSES:
            account.wait(pause_s)
        before = kind
        texts += kind in SPEAKING
        waits += kind in WAITS
        account.connected = account.connected and kind is not StepKind.DROP
        _account_for(step, account, reply_s)
    if not cleared:  # the guest always ends its session
        if not account.connected:
            account.reconnect()
        account.send(message=True)
    per_min = max(_most_within(times, 60.0) for times in account.requests)
    per_s = _most_within(account.messages, 1.0)
    return ScenarioEstimate(
        name=name,
        share=share,
        duration_s=account.now_s,
        texts=texts,
        requests=sum(len(times) for times in account.requests),
        connections=len(account.requests),
        waits=waits,
        peak_per_min=per_min,
        peak_per_s=per_s,
        breaks=_breaks(name, per_min, per_s, reply_s),
    )


def _account_for(step: Step, account: _Account, reply_s: float) -> None:
    match step.kind:
        case StepKind.THINK:
            account.wait(step.think_time.mean_s)
        case StepKind.IDLE:
            account.wait(step.duration_s)
        case StepKind.TYPING:
            for sent in range(max(1, ceil(step.duration_s / TYPING_EVERY_S))):
                account.send(message=True)
                account.wait(min(step.duration_s - sent * TYPING_EVERY_S, TYPING_EVERY_S))
        case StepKind.ATTACH:
            account.send(message=False)  # asks for the place to upload to
            account.send(message=True)
        case kind if kind in WAITS:
            account.wait(reply_s)
        case kind if kind in MESSAGES:
            account.send(message=True)


def _most_within(times: Sequence[float], span_s: float) -> int:
    """The most of rising times that fall into any window of less than ``span_s``."""
    most = start = 0
    for end, at_s in enumerate(times):
        while at_s - times[start] >= span_s:
            start += 1
        most = max(most, end - start + 1)
    return most


def _breaks(name: str, per_min: int, per_s: int, reply_s: float) -> tuple[str, ...]:
    context = f"with replies after {duration_text(reply_s)}; the service takes"
    return tuple(
        f"{name}: {many} {what} {context} {limit}"
        for many, what, limit in (
            (per_min, "requests in a minute on one connection", REQUESTS_PER_CONNECTION_PER_MINUTE),
            (per_s, "messages in a second", MESSAGES_PER_SESSION_PER_SECOND),
        )
        if many > limit
    )


def foreign_settings(script: Script) -> list[str]:
    """What becomes of another tool's settings in a script, a sentence each."""
    config, notes = script.config, []
    if config is None:
        return []
    if script.pause_before_texts_s:
        notes.append(
            f"config: each text comes {duration_text(script.pause_before_texts_s)} after what is "
            "before it, as ovotech's tool waits; not where the script itself pauses"
        )
        notes.append("config: deploymentId and region are not used: say --target")
    if config.origin:
        notes.append(
            f"config: harness guest sends the origin {config.origin}; for a run say "
            f"--origin {config.origin}"
        )
    return notes
