"""The Platform API of a run's target, what is known of it, and the time that the run spans.

What the service has open in the run's queues and flows is counted before and after the run. These
counts are of the whole organisation: they show whether the run found the place empty and left it
so, not whose the conversations are (``harness audit`` tells that). A count that can't be had never
stops a run; the record says why.
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
from harness.preflight.stamp import Learned
from harness.reconcile.audit import Road, Search, Span
from harness.rundir.layout import SIGN_INS, RunDirectory, read_json, read_start, write_start
from harness.transport.dial import why_not
from harness.units import parse_iso

MARGIN = timedelta(minutes=5)
"""Clocks differ: the service's is asked for a little more than the run's own times."""
AFTER = timedelta(days=1)
"""How long after a run's end analytics is asked for what may belong to it."""
LAGS = 3
"""So many times the lag that the preflight's guest met: it is not the same for each."""


def long_enough_s(usual_s: float, *lags_s: float | None) -> float:
    """The usual time to ask for, or longer where a preflight has met such lags (None: not met)."""
    return max(usual_s, *(LAGS * (lag_s or 0.0) for lag_s in lags_s))


def platform_of(directory: Path) -> dict[str, Any]:
    """What the run's target said of the operators' side: see ``Terms.platform_facts``."""
    facts = read_start(directory).get("platform")
    return facts if isinstance(facts, dict) else {}


def sign_ins_of(directory: Path, tell: Callable[[str], object]) -> tuple[str, ...]:
    """The JWTs that the run's guests were signed in with, from the file that the run names.

    Empty where it names none; where that can't be read any more it is told why.
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
    """What preflights of the run's target had taught when it began."""
    return Learned.of(read_start(directory).get("learned"))


def closed_roads(learned: Learned) -> frozenset[Road]:
    """The roads to a conversation that a preflight has found to lead nowhere."""
    roads = {
        Road.MESSAGE: learned.message_leads,
        Road.ATTRIBUTES: learned.search_shown,
        Road.JOURNEY: learned.journey_shown,
    }
    closed = frozenset(road for road, leads in roads.items() if leads is False)
    # If none was found to lead anywhere, all are tried: it may have been that night only.
    return frozenset() if len(closed) == len(roads) else closed


def credentials_of(directory: Path, environment: Mapping[str, str] = ENVIRONMENT) -> Credentials:
    """From the variables that the run's target names, or the usual ones. Raises ConfigError."""
    facts = platform_of(directory)
    names = (facts.get("client_id_env"), facts.get("client_secret_env"))
    return Credentials.from_environment(environment, names=names)


def target_of(directory: Path) -> Target:
    """Where the guests of a run went. Raises ConfigError when it does not say."""
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
        # Another machine may well end what this one has opened.
        sources=[source for source in start.get("sources", []) if not why_not(source)],
    )
    target.proxy_login()  # better missed now than in the middle
    return target


def note_afterwards(
    directory: Path,
    key: str,
    block: dict[str, Any],
    console: Console,
    *,
    operations: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Put what was found or done into the run's record and report; say so if that can't be done.

    The ledger has it all the same, and it counts.
    """
    from harness.report.outputs import write_reports  # a run's start need not pay for it

    try:
        bring_up_to_date(directory, key, block, operations=operations)
        write_reports(directory)
    except Exception as error:  # noqa: BLE001 - what was done is done, and its exit code stands
        why = getattr(error, "strerror", None) or error
        text = f"the record in {directory} could not be brought up to date: {why}"
        console.print(text, style="yellow", soft_wrap=True)


def span_of(directory: Path) -> Span:
    """From before the run's start to a day after its end, or until now."""
    now = datetime.now(UTC)
    start = _moment(read_start(directory).get("started")) or now - timedelta(days=1)
    ended = _moment(read_json(RunDirectory(directory).record).get("ended"))
    latest = now + MARGIN
    return Span(
        start=start - MARGIN,
        began_until=latest if ended is None else min(ended + MARGIN, latest),
        end=latest if ended is None else min(ended + AFTER, latest),
    )


def _moment(text: object) -> datetime | None:
    try:
        return parse_iso(str(text))
    except ValueError:
        return None


@contextmanager
def open_search(directory: Path, *, api_url: str | None, login_url: str | None) -> Iterator[Search]:
    """The API of a run's organisation, and what to look for there. Raises ConfigError."""
    credentials, target = credentials_of(directory), target_of(directory)
    written = platform_of(directory).get("api_url")
    places = Places.of(target, api_url or written or None, login_url)
    with closing(PlatformApi.towards(target, credentials, places)) as api:
        closed = closed_roads(learned_of(directory))
        yield Search(api, directory.name, span_of(directory), closed)


PATIENCE_S = 15.0
"""The start of a run does not wait longer for a service that limits or fails."""


def note_counts(
    directory: Path,
    moment: Literal["before", "after"],
    target: Target,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> None:
    """Put the counts of now into ``start.json``, if the target names queues or flows.

    Raises ConfigError when ``start.json`` can't be read.
    """
    platform = platform_of(directory)
    if not (platform.get("queues") or platform.get("flows")):
        return
    try:
        credentials = credentials_of(directory, environment)
    except ConfigError:
        return  # nobody has given any: then no counts were asked for
    counted: dict[str, Any] = {"when": utc_iso()}
    try:
        places = Places.of(target, platform.get("api_url") or None)
        api = PlatformApi.towards(target, credentials, places, patience_s=PATIENCE_S)
        with closing(api):
            counted["counts"] = observe(api, queues=platform["queues"], flows=platform["flows"])
    except (ConfigError, PlatformApiError) as error:
        counted["why"] = str(error)
    with suppress(OSError):  # a disk that is full has worse to tell
        before = read_start(directory).get("baseline", {})
        write_start(directory, baseline={**before, moment: counted})
