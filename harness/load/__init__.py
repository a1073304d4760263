"""The public API of locustfiles: guests, arrivals and objectives on top of Locust.

A locustfile imports ``locust`` and this package and nothing else of the harness::

    from locust import between, task
    from harness.load import ArrivalShape, GuestUser, objective, ramp

    class Rising(ArrivalShape):
        arrivals = ramp(per_minute=(2, 20), over="20m")
        slots = 60

    class Shopper(GuestUser):
        think_time = between(4, 12)

        @task
        def ask_about_an_order(self):
            with self.guest() as guest:
                guest.say("Where is my order?")
                guest.await_reply(within="20s")

    objective("reply p95 < 5s", "leftovers == 0")

* Who talks: GuestUser, ScriptUser; GuestSession is the guest and all that it can do; Message.
* When guests arrive: ArrivalShape, Schedule; steady, ramp, steps, spike, from_csv, then, poisson;
  slots_for.
* What the command line asks for: from_options, rate, over, stay, silence, seed.
* How long guests think: constant, uniform, lognormal, from_data. What they say: texts.
* What the run has to meet: objective.
* The exceptions are those that a story may end by; a locustfile needs to catch none of them.

Durations are texts with a unit (``"500ms"``, ``"20s"``, ``"10m"``, ``"8h"``) or numbers of seconds;
rates are guests per minute or second, and say which. ``harness docs locustfiles`` and ``harness
docs schedules`` tell more.

Importing this package registers the harness with Locust, as Locust's plugins do; a run begins with
Locust's own test.
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
from harness.load.arrivals import ArrivalShape
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
