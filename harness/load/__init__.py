"""The public API of locustfiles: guests, arrivals and objectives on top of Locust.

A locustfile imports ``locust`` and this package and nothing else of the harness. Importing it
registers the harness with Locust, as Locust's plugins do; a run begins with Locust's own test.
"""

from harness.load import plugin as _plugin
from harness.load.options import (
    as_asked,
    irregular,
    objective,
    over,
    rate,
    seed,
    silence,
    slots_for,
    stay,
)
from harness.load.shape import ArrivalShape
from harness.load.user import GuestUser, ScriptUser
from harness.workload.arrivals import from_csv, poisson, ramp, spike, steady, steps, then
from harness.workload.data import texts
from harness.workload.think import constant, from_data, lognormal, uniform

__all__ = [
    "ArrivalShape",
    "GuestUser",
    "ScriptUser",
    "as_asked",
    "constant",
    "from_csv",
    "from_data",
    "irregular",
    "lognormal",
    "objective",
    "over",
    "poisson",
    "ramp",
    "rate",
    "seed",
    "silence",
    "slots_for",
    "spike",
    "stay",
    "steady",
    "steps",
    "texts",
    "then",
    "uniform",
]

_plugin.register()
