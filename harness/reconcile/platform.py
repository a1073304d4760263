"""The Platform API of a run's target, what is known of it, and the time span of the run.

Conversations that are open in the run's queues and flows are counted before and after the run.
These counts are of the whole organisation: they show whether the queues were empty before and after
it, not to which guests the conversations belong (``harness audit`` does). If they can't be counted,
the run goes on; the record says why.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from rich.console import Console

from harness.clock import utc_iso
from harness.config.run_config import ENVIRONMENT
from harness.config.target import Target, parse_target
from harness.errors import ConfigError, PlatformApiError
from harness.guest.settings import read_sign_ins
from harness.judge.reading import bring_up_to_date
from harness.platform_api.client import Credentials, Places, PlatformApi
from harness.platform_api.conversations import observe
from harness.preflight.guard import Learned
from harness.reconcile.audit import MatchedBy, Search, Span
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
