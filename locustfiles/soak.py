"""Soak: a moderate rate for hours to days. Does anything grow, slow down or leak with time?

One guest in ten stays for ``--stay`` and is silent for ``--silence`` at a time: health checks keep
the connection, ``--max-connection-age`` replaces it before the service ends it. A session that
expires meanwhile is counted. Afterwards: ``harness drift latest``.
"""

from time import monotonic

from locust import task

from harness.load import (
    ArrivalShape,
    GuestUser,
    from_options,
    objective,
    poisson,
    silence,
    slots_for,
    stay,
)

STAY_S, SILENCE_S = stay("3h"), silence("10m")


class LongDay(ArrivalShape):
    arrivals = poisson(from_options(rate="10/min", over="8h"))
    slots = slots_for(arrivals, 0.9 * 120 + 0.1 * STAY_S)


class Customer(GuestUser):
    think_time = "lognormal(8s, p95=40s, max=2m)"
    max_connection_age = "110m"

    @task(9)
    def talk(self, stay_s: float = 90, silence_s: float | None = None) -> None:
        with self.guest() as guest:
            until = monotonic() + stay_s
            while monotonic() < until:
                guest.say("I have a question about my order, it is still not here.")
                guest.await_reply(within="30s")
                guest.think(silence_s)

    @task(1)
    def stay_for_long(self) -> None:
        self.talk(STAY_S, SILENCE_S)


objective("reply p99 < 10s", "session_open errors < 0.5%", "dropped == 0", "leftovers == 0")
