"""A conversation script as load: HARNESS_SCRIPT names another one than the example.

``--rate`` and ``--over``.
"""

import os
from pathlib import Path

from harness.load import ArrivalShape, ScriptUser, from_options, objective, poisson, slots_for

EXAMPLE = Path(__file__).parent / "scripts" / "order.yaml"


class Arriving(ArrivalShape):
    arrivals = poisson(from_options(rate="60/min", over="5m"))
    slots = slots_for(arrivals, "2m")


class Scripted(ScriptUser):
    script = os.path.abspath(os.environ.get("HARNESS_SCRIPT", EXAMPLE))


objective("reply p95 < 5s", "session_open errors < 1%", "leftovers == 0")
