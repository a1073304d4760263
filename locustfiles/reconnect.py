"""Reconnect: every guest loses the connection in mid-conversation and comes back.

Measures ``resume``, from the loss to the session answered on a new connection. ``--rate``,
``--over``.
"""

from locust import task

from harness.load import ArrivalShape, GuestUser, from_options, objective, poisson, slots_for


class Commuters(ArrivalShape):
    arrivals = poisson(from_options(rate="30/min", over="5m"))
    slots = slots_for(arrivals, "1m")


class Commuter(GuestUser):
    think_time = "uniform(1s, 4s)"

    @task
    def ride_through_a_tunnel(self) -> None:
        with self.guest() as guest:
            guest.say("I am on the train, bear with me.")
            guest.await_reply(within="20s")
            guest.think()
            guest.drop()
            guest.reconnect()
            guest.say("Here I am again.")
            guest.await_reply(within="20s")


objective("resume p95 < 5s", "resume errors < 1%", "leftovers == 0")
