"""A conversation script as load: HARNESS_SCRIPT names another one than the example.

``--rate`` and ``--over``.
"""

import os
from pathlib import Path

from harness.load import (
    ArrivalShape,
    ScriptUser,
    irregular,
    objective,
    over,
    rate,
    slots_for,
    steady,
)

EXAMPLE = Path(__file__).parent / "scripts" / "order.yaml"


class Arriving(ArrivalShape):
    arrivals = irregular(steady(per_second=rate("60/min"), over=over("5m")))
    slots = slots_for(rate("60/min"), "2m")


class Scripted(ScriptUser):
    script = os.path.abspath(os.environ.get("HARNESS_SCRIPT", EXAMPLE))


objective("reply p95 < 5s", "session_open errors < 1%", "leftovers == 0")
