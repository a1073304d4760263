"""The public API of locustfiles: guests, arrivals and objectives on top of Locust.

A locustfile imports ``locust`` and this package and nothing else of the harness. Importing it
registers the harness with Locust, as Locust's plugins do; a run begins with Locust's own test.

The exceptions are those that a story may end by; a locustfile needs to catch none of them.
"""

import locust as _locust  # noqa: F401 - it patches the libraries that all below import

from harness.errors import (
    ConnectFailed,
    ConnectionLost,
    Forbidden,
    NotPossible,
    RateLimited,
    RemoteProtocolError,
    ReplyTimeout,
    ServiceError,
    SessionExpired,
    SessionNotFound,
    TransportError,
    UpgradeRejected,
)
from harness.guest.session import GuestSession
from harness.load import plugin as _plugin
from harness.load.options import (
    from_options,
    objective,
    over,
    poisson,
    rate,
    seed,
    silence,
    slots_for,
    stay,
)
from harness.load.shape import ArrivalShape
from harness.load.user import GuestUser, ScriptUser
from harness.protocol.codec import Message
from harness.workload.arrivals import Schedule, from_csv, ramp, spike, steady, steps, then
from harness.workload.data import texts
from harness.workload.think import constant, from_data, lognormal, uniform

__all__ = [
    "ArrivalShape",
    "ConnectFailed",
    "ConnectionLost",
    "Forbidden",
    "GuestSession",
    "GuestUser",
    "Message",
    "NotPossible",
    "RateLimited",
    "RemoteProtocolError",
    "ReplyTimeout",
    "Schedule",
    "ScriptUser",
    "ServiceError",
    "SessionExpired",
    "SessionNotFound",
    "TransportError",
    "UpgradeRejected",
    "constant",
    "from_csv",
    "from_data",
    "from_options",
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
