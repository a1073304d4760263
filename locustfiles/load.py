"""Load: the usual rate, held. Does the deployment carry a normal day within its objectives?

Height and length: ``harness run locustfiles/load.py --rate 30/min --over 10m``.
"""

from locust import task

from harness.load import ArrivalShape, GuestUser, from_options, objective, poisson, slots_for


class UsualDay(ArrivalShape):
    arrivals = poisson(from_options(rate="30/min", over="5m"))
    slots = slots_for(arrivals, "1m")


class Customer(GuestUser):
    think_time = "lognormal(4s, p95=12s, max=30s)"

    @task(3)  # three in four ask about an order
    def ask_about_an_order(self) -> None:
        with self.guest() as guest:
            for text in ("Where is my order?", "The number is 4711.", "Thanks, that is all."):
                guest.say(text)
                guest.await_reply(within="20s")
                guest.think()

    @task(1)
    def look_in_and_leave(self) -> None:
        with self.guest() as guest:
            guest.join()
            guest.await_greeting(within="20s")


objective("reply p95 < 5s", "session_open errors < 1%", "dropped == 0", "leftovers == 0")
