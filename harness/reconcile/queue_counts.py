"""What the service has open in the run's queues and flows, counted before and after the run.

The counts are those of the whole organisation: they show whether the run found the place empty and
left it so, not whose the conversations are (``harness audit`` tells that). A count that can't be
had never stops a run; it is said why.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from harness.clock import utc_iso
from harness.config.run_config import ENVIRONMENT
from harness.config.target import Target
from harness.errors import ConfigError, PlatformApiError
from harness.platform_api.client import Credentials, Places, PlatformApi
from harness.platform_api.conversations import observe
from harness.rundir.start import read_start, write_start

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
    start = read_start(directory)
    platform = start.get("platform") or {}
    if not (platform.get("queues") or platform.get("flows")):
        return
    credentials = _credentials(platform, environment)
    if credentials is None:
        return
    counted = {"when": utc_iso(), **_count(platform, credentials, target)}
    with suppress(OSError):  # a disk that is full has worse to tell
        write_start(directory, baseline={**start.get("baseline", {}), moment: counted})


def _credentials(platform: Mapping[str, Any], environment: Mapping[str, str]) -> Credentials | None:
    """None where nobody has given any: then no counts were asked for."""
    names = (platform.get("client_id_env"), platform.get("client_secret_env"))
    try:
        return Credentials.from_environment(environment, names=names)
    except ConfigError:
        return None


def _count(platform: Mapping[str, Any], credentials: Credentials, target: Target) -> dict[str, Any]:
    url = platform.get("api_url") or None
    try:
        places = Places.of(target, url, url and url.replace("https://api.", "https://login.", 1))
        api = PlatformApi.towards(target, credentials, places, patience_s=PATIENCE_S)
        try:
            counts = observe(api, queues=platform["queues"], flows=platform["flows"])
        finally:
            api.close()
    except (ConfigError, PlatformApiError) as error:
        return {"why": str(error)}
    return {"counts": counts}
