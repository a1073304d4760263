"""A run seen from the operator's side: what the Platform API is asked about it, and told.

Conversations that are open in the run's queues and flows are counted before and after the run.
These counts are of the whole organisation: they show whether the queues were empty before and after
it, not to which guests the conversations belong (``harness audit`` does). If they can't be counted,
the run goes on; the record says why.

Conversations of leftovers are disconnected. That takes effect a moment later, so each is checked
until it has ended or the time is up. A conversation that is not seen to end stays a leftover.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from rich.console import Console

from harness.clock import monotonic_ns, utc_iso
from harness.config.run_config import ENVIRONMENT
from harness.config.target import Target, parse_target
from harness.errors import ConfigError, PlatformApiError
from harness.guest.settings import read_sign_ins
from harness.judge.reading import bring_up_to_date
from harness.ledger.ledger import Stage
from harness.ledger.reader import Leftover, settle
from harness.platform_api.client import Credentials, Places, PlatformApi
from harness.platform_api.conversations import ConversationState, disconnect, observe, state_now
from harness.preflight.guard import Learned
from harness.reconcile.audit import MatchedBy, Matches, Search, Span, Spoken, match
from harness.rundir.layout import SIGN_INS, RunDirectory, read_json, read_start, write_start
from harness.streams import HowFar
from harness.transport.dial import why_not
from harness.units import duration_text, parse_iso

MARGIN = timedelta(minutes=5)
"""Added to both ends of the run's time span, because the service's clock may differ."""
SEARCHED_AFTER = timedelta(days=1)
"""Analytics is searched for a run's conversations until this long after its end."""
LAG_FACTOR = 3
"""Multiple of the lag that the preflight measured once: the lag varies."""


def long_enough_s(usual_s: float, *lags_s: float | None) -> float:
    """The usual time to wait; longer if a preflight has measured long lags (None: not measured)."""
    return max(usual_s, *(LAG_FACTOR * (lag_s or 0.0) for lag_s in lags_s))


def platform_of(directory: Path) -> dict[str, Any]:
    """The run's settings for the Platform API: see ``Terms.platform_facts``."""
    facts = read_start(directory).get("platform")
    return facts if isinstance(facts, dict) else {}


def sign_ins_of(directory: Path, tell: Callable[[str], object]) -> tuple[str, ...]:
    """The JWTs of the run's signed-in guests, from the file that the run names.

    Empty if it names none. If the file can't be read any more, ``tell`` is called with the reason.
    """
    named = read_start(directory).get(SIGN_INS)
    if not named:
        return ()
    try:
        return read_sign_ins(Path(str(named)))
    except ConfigError as error:
        tell(f"the run's sign-ins can't be had: {error}")
        return ()


def learned_of(directory: Path) -> Learned:
    """What preflights had learnt about the run's target when the run began."""
    return Learned.of(read_start(directory).get("learned"))


def failed_ways(learned: Learned) -> frozenset[MatchedBy]:
    """The ways to find a conversation that did not work in a preflight."""
    ways = {
        MatchedBy.MESSAGE: learned.message_leads,
        MatchedBy.ATTRIBUTES: learned.search_shown,
        MatchedBy.JOURNEY: learned.journey_shown,
    }
    closed = frozenset(way for way, leads in ways.items() if leads is False)
    # If none worked then, all are tried: that may have been a temporary failure.
    return frozenset() if len(closed) == len(ways) else closed


def credentials_of(directory: Path, environment: Mapping[str, str] = ENVIRONMENT) -> Credentials:
    """The credentials in the variables that the run's target names, or in the usual ones. Raises
    ConfigError."""
    facts = platform_of(directory)
    names = (facts.get("client_id_env"), facts.get("client_secret_env"))
    return Credentials.from_environment(environment, names=names)


def target_of(directory: Path) -> Target:
    """The target of a run. Raises ConfigError if the run's files do not name it."""
    start = read_start(directory)
    if "target" not in start:
        raise ConfigError(
            f"{RunDirectory(directory).start} does not say where the run's guests went"
        )
    target = parse_target(
        start["target"],
        ca_file=start.get("ca_file"),
        origin=start.get("origin"),
        proxy=start.get("proxy"),
        proxy_login_env=start.get("proxy_login_env", ""),
        # Only source addresses of this machine: the run may have been on another one.
        sources=[source for source in start.get("sources", []) if not why_not(source)],
    )
    target.proxy_login()  # if it is missing, fail now and not midway
    return target


def note_afterwards(
    directory: Path,
    key: str,
    block: dict[str, Any],
    console: Console,
    *,
    operations: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Add a section to the run's record and report; print a warning if that fails.

    The ledger is what counts; it is up to date in any case.
    """
    from harness.report.outputs import (
        write_reports,
    )  # imported late: starting a run needs no report

    try:
        bring_up_to_date(directory, key, block, operations=operations)
        write_reports(directory)
    except Exception as error:  # noqa: BLE001 - what was done is done, and its exit code stands
        why = getattr(error, "strerror", None) or error
        text = f"the record in {directory} could not be brought up to date: {why}"
        console.print(text, style="yellow", soft_wrap=True)


def span_of(directory: Path) -> Span:
    """The time span from just before the run's start to a day after its end, or to now."""
    now = datetime.now(UTC)
    start = _moment(read_start(directory).get("started")) or now - timedelta(days=1)
    ended = _moment(read_json(RunDirectory(directory).record).get("ended"))
    latest = now + MARGIN
    return Span(
        start=start - MARGIN,
        began_until=latest if ended is None else min(ended + MARGIN, latest),
        end=latest if ended is None else min(ended + SEARCHED_AFTER, latest),
    )


def _moment(text: object) -> datetime | None:
    try:
        return parse_iso(str(text))
    except ValueError:
        return None


@contextmanager
def open_search(
    directory: Path, console: Console, *, api_url: str | None, login_url: str | None
) -> Iterator[Search]:
    """The API of a run's organisation, and the search for the run's conversations, which tells how
    far it is where it takes a while. Raises ConfigError."""
    credentials, target = credentials_of(directory), target_of(directory)
    written = platform_of(directory).get("api_url")
    places = Places.of(target, api_url or written or None, login_url)
    closed, doing = failed_ways(learned_of(directory)), "signing in"
    with HowFar(console, f"Platform API: {doing}") as how_far:

        def tell(what: str) -> None:
            nonlocal doing
            doing = what
            how_far.tell(f"Platform API: {what}")

        def on_pause(seconds: float) -> None:
            how_far.tell(f"Platform API: {doing}; next call in {duration_text(seconds)}")

        with closing(PlatformApi.towards(target, credentials, places, on_pause=on_pause)) as api:
            yield Search(api, directory.name, span_of(directory), closed, tell)


COUNTS_PATIENCE_S = 15.0
"""How long the start of a run waits for a service that limits or fails."""


def note_counts(
    directory: Path,
    moment: Literal["before", "after"],
    target: Target,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> None:
    """Write the present counts into ``start.json``, if the target names queues or flows.

    Raises ConfigError if ``start.json`` can't be read.
    """
    platform = platform_of(directory)
    if not (platform.get("queues") or platform.get("flows")):
        return
    try:
        credentials = credentials_of(directory, environment)
    except ConfigError:
        return  # no credentials were given, so no counts were asked for
    counted: dict[str, Any] = {"when": utc_iso()}
    try:
        places = Places.of(target, platform.get("api_url") or None)
        api = PlatformApi.towards(target, credentials, places, patience_s=COUNTS_PATIENCE_S)
        with closing(api):
            counted["counts"] = observe(api, queues=platform["queues"], flows=platform["flows"])
    except (ConfigError, PlatformApiError) as error:
        counted["why"] = str(error)
    with suppress(OSError):  # a full disk is reported elsewhere
        before = read_start(directory).get("baseline", {})
        write_start(directory, baseline={**before, moment: counted})


LOOK_AGAIN_S = 1.0
EFFECT_WITHIN_S = 60.0
"""How long to wait for the effect of a disconnect (seconds); the vendor publishes no figure."""


class Disconnect(StrEnum):
    """The result for leftovers that were to be disconnected: the predicate of a sentence."""

    DONE = "conversations were disconnected; their sessions lapse by themselves"
    OVER_ALREADY = "had ended for the guest already, says the Platform API"
    STILL_OPEN = "are still open after they were disconnected"
    NOT_TOLD = "were disconnected, and the service does not show whether they have ended"
    REFUSED = "could not be disconnected"
    """followed by the service's own words"""
    NOT_FOUND = "have no conversation that the Platform API knows"


def sweep_by_platform(
    leftovers: list[Leftover],
    search: Search,
    *,
    within_s: float = EFFECT_WITHIN_S,
) -> Counter[str]:
    """Disconnect each leftover's conversations and settle it when the service shows their end.

    Returns how many leftovers had each result of :class:`Disconnect`; those that were not settled
    stay leftovers. Raises PlatformApiError if the service can't be asked, LedgerError if a result
    can't be noted.
    """
    outcomes = Counter[str]()
    matches = Matches()
    sessions = [Spoken(one.token, one.message_id, True) for one in leftovers]
    match(matches, sessions, search)
    conversations: dict[str, list[str]] = {}
    for conversation, token in matches.tokens.items():
        conversations.setdefault(token, []).append(conversation)
    states: dict[str, ConversationState] = {}
    waiting: dict[str, Leftover] = {}
    for leftover in search.each(leftovers, "disconnecting what is left"):
        ours = conversations.get(leftover.token, [])
        if not ours:
            outcomes[Disconnect.NOT_FOUND] += 1
            continue
        _look_again(search, states, ours)
        alive = [one for one in ours if not states[one].over]
        if not alive:
            outcomes[Disconnect.OVER_ALREADY] += 1
            settle(leftover, "platform: over already", Stage.DISCONNECTED)
            continue
        why = _refusal(search.api, alive)
        if why:
            outcomes[f"{Disconnect.REFUSED}: {why}"] += 1
        else:
            waiting[leftover.token] = leftover
            conversations[leftover.token] = alive
    deadline = monotonic_ns() + int(within_s * 1e9)
    while waiting:
        search.tell(f"waiting until the service shows what was disconnected: {len(waiting):,} left")
        _look_again(search, states, [one for token in waiting for one in conversations[token]])
        for token, leftover in list(waiting.items()):
            if all(states[one].over for one in conversations[token]):
                outcomes[Disconnect.DONE] += 1
                settle(leftover, "platform: disconnected", Stage.DISCONNECTED)
                del waiting[token]
        if not waiting or monotonic_ns() >= deadline:
            break
        time.sleep(min(LOOK_AGAIN_S, max(0.01, (deadline - monotonic_ns()) / 1e9)))
    for token in waiting:
        is_open = any(states[one] is ConversationState.OPEN for one in conversations[token])
        outcomes[Disconnect.STILL_OPEN if is_open else Disconnect.NOT_TOLD] += 1
    return outcomes


def _refusal(api: PlatformApi, conversations: list[str]) -> str:
    """Disconnect all of them; returns why the service refused, empty if it did not."""
    for one in conversations:
        try:
            disconnect(api, one)
        except PlatformApiError as error:
            if error.status not in (400, 403, 404, 409):
                raise
            return str(error)
    return ""


def _look_again(
    search: Search, states: dict[str, ConversationState], conversations: list[str]
) -> None:
    """Update the states of those that have not ended: from the conversation itself or, if that may
    not be read, from analytics."""
    pending = [one for one in conversations if one not in states or not states[one].over]
    states |= {one: state_now(search.api, one) for one in pending}
    hidden = [one for one in pending if states[one] is ConversationState.UNKNOWN]
    if hidden:
        states |= {seen.id: seen.state for seen in Matches().ask_by_id(search, hidden)}
