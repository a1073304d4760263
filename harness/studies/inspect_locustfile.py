"""What a locustfile is about to do, learnt in a process of its own (importing Locust patches)."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ConfigError

HOW_ASKED = " (a shape asks with: arrivals = as_asked(rate='30/min', over='10m'))"


def inspect_locustfile(locustfile: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What ``harness.load.inspection`` finds; ``asked`` are HARNESS_RATE and the like.

    Raises ConfigError when the file can't be used, or does not ask for what is asked of it.
    """
    if not Path(locustfile).is_file():
        raise ConfigError(f"there is no locustfile {locustfile!r}")
    done = subprocess.run(
        [sys.executable, "-m", "harness.load.inspection", locustfile],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **asked, "HARNESS_ASKED": ""},
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"{locustfile} can't be imported: {last}") from None
    if "error" in found:
        raise ConfigError(found["error"])
    _refuse_decided(found["configured"])
    for name in asked.keys() - {"HARNESS_SEED"} - set(found["asked"]):
        option = name.removeprefix("HARNESS_").lower()
        how = HOW_ASKED if option in ("rate", "over") else ""
        raise ConfigError(
            f"--{option}: {locustfile} does not ask for it, it would change nothing{how}"
        )
    return found


def _refuse_decided(configured: Sequence[Mapping[str, Any]]) -> None:
    """What Locust would obey without our knowing of it."""
    decided = [f"{item['name']} of {item['place']}" for item in configured if item["decided"]]
    if decided:
        raise ConfigError(
            f"{', '.join(decided)}: harness run decides this by its own options (see --help); take "
            "it away, or run plain Locust"
        )


def told_settings(plan: Mapping[str, Any]) -> list[str]:
    """Sentences on Locust's own settings that hold for the run though nobody typed them."""
    return [
        f"Locust also obeys {item['name']} of {item['place']}"
        for item in plan["configured"]
        if not item["decided"]
    ]
