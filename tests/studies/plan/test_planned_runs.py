"""The printed commands, run as they are: what the simulator then saw is what the plan said."""

import json
import os
import shlex
import subprocess
import time
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from processes import harness, start_harness

from harness.config.run_config import LISTEN
from harness.errors import ExitCode
from harness.finish import simulator_truth
from harness.supervise.children import EmbeddedSimulator

LAUNCH = (
    "--chats-per-hour", "6000", "--handle-time", "12s", "--messages", "3.5", "--to-agents", "0%",
    "--test-duration", "90s",
)  # fmt: skip
SESSION_S, BOT_DELAY = 12.0, "1s"
SPIKE_S = 40
"""Instead of the ten minutes that are printed."""


@pytest.mark.process
@pytest.mark.long
def test_the_printed_commands_make_the_load_that_was_planned(tmp_path: Path) -> None:
    printed = json.loads(harness("plan", *LAUNCH, "--json", cwd=tmp_path).stdout)
    smoke, peak, spike, *_ = printed["plan"]["runs"]
    cut = spike["command"].replace("--over 10m", f"--over {SPIKE_S}s")
    assert cut != spike["command"]
    for command, guests, over_s in (
        (smoke["command"], smoke["guests"], 60),
        (peak["command"], peak["guests"], 90),
        (cut, spike["guests"] * SPIKE_S / 600, SPIKE_S),
    ):
        even = "even" in command
        chance = 1 if even else 4 * sqrt(guests)
        seen = run_and_watch(command, tmp_path, over_s=over_s)
        assert seen["opened"] == pytest.approx(guests, abs=chance)
        texts_each = seen["texts"] / seen["opened"]
        assert texts_each == pytest.approx(3.5, abs=4 * 0.5 / sqrt(seen["opened"]))
        if command != smoke["command"]:
            expected = guests / over_s * SESSION_S
            # of a mean over some sessions' lengths, by chance and with their coming and going
            off = 0.1 * expected if even else 4 * sqrt(expected / (over_s / SESSION_S))
            assert seen["at_once"] == pytest.approx(expected, abs=off)


def run_and_watch(command: str, folder: Path, *, over_s: float) -> dict[str, float]:
    """What the simulator counted; ``at_once`` is the mean when it had filled, before the end."""
    simulator = EmbeddedSimulator("--bot-delay", BOT_DELAY)

    def seen() -> dict[str, Any]:
        return simulator_truth(simulator.admin, simulator.ca_file, within_s=0) or {}

    try:
        words = [*shlex.split(command)[1:], "--target", simulator.start()]
        # The first 20 guests listen for some seconds before they leave: too many of so few.
        environment = {**os.environ, LISTEN.variable: "off"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": None}
        with start_harness(*words, cwd=folder, env=environment, **quiet) as process:
            began, at_once = 0.0, []
            while process.poll() is None:
                time.sleep(0.5)
                sessions, now = seen()["sessions"], time.monotonic()
                began = began or (now if sessions["opened"] else 0.0)
                if began and SESSION_S + 2 < now - began < over_s:
                    at_once.append(sessions["open"])
        truth = seen()
    finally:
        simulator.stop()
    assert process.returncode == ExitCode.PASS
    assert truth["sessions"]["open"] == 0
    return {
        "opened": truth["sessions"]["opened"],
        "texts": truth["messages"]["texts"],
        "at_once": sum(at_once) / max(1, len(at_once)),
    }
