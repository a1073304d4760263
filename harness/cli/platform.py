"""What commands that use the Platform API share: where it is, and the time that a run spans."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from harness.config import Target, parse_target
from harness.errors import ConfigError
from harness.platform_api.client import Credentials, Places, PlatformApi
from harness.report.afterwards import bring_up_to_date
from harness.report.opening import START, read_start
from harness.transport.route import why_not

MARGIN = timedelta(minutes=5)
"""Clocks differ: the service's is asked for a little more than the run's own times."""


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the Platform API is."""
    parser.add_argument(
        "--api-url", metavar="URL", help="Platform API, if not beside the target (https://api…)"
    )
    parser.add_argument("--login-url", metavar="URL", help="its sign-in, if not beside the target")
    parser.add_argument(
        "--attribute-prefix",
        default="",
        metavar="TEXT",
        help="what the service puts before the names of custom attributes, if anything",
    )


def platform_of(directory: Path) -> dict[str, Any]:
    """What the run's target said of the operators' side: see ``Terms.platform_facts``."""
    found = read_start(directory).get("platform")
    return found if isinstance(found, dict) else {}


def credentials_of(directory: Path) -> Credentials:
    """From the variables that the run's target names, or the usual ones. Raises ConfigError."""
    facts = platform_of(directory)
    return Credentials.from_environment(
        names=(facts.get("client_id_env"), facts.get("client_secret_env"))
    )


def open_api(
    directory: Path, target: Target, credentials: Credentials, args: argparse.Namespace
) -> PlatformApi:
    """The API of a target's organisation. Raises ConfigError."""
    written = platform_of(directory).get("api_url")
    places = Places.of(target, args.api_url or written or None, args.login_url)
    return PlatformApi.towards(target, credentials, places)


def target_of(directory: Path) -> Target:
    """Where the guests of a run went. Raises ConfigError when it does not say."""
    start = read_start(directory)
    if "target" not in start:
        raise ConfigError(f"{directory / START} does not say where the run's guests went")
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
    from harness.report.outputs import write_reports  # needs the chart library only now

    try:
        bring_up_to_date(directory, key, block, operations=operations)
        write_reports(directory)
    except (ConfigError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        text = f"the record in {directory} could not be brought up to date: {why}"
        console.print(text, style="yellow", soft_wrap=True)


def span_of(directory: Path) -> tuple[datetime, datetime]:
    """From before the run's start until now: its conversations began somewhere in it."""
    now = datetime.now(UTC)
    started = str(read_start(directory).get("started", ""))
    try:
        start = datetime.fromisoformat(started)
    except ValueError:
        start = now - timedelta(days=1)
    return start - MARGIN, now + MARGIN
