"""Capacity: short visits at a rate that the search sets. How many guests can the service take?

Used by ``harness capacity locustfiles/capacity.py``; ``make demo-capacity`` shows it at work.
"""

from locust import task

from harness.load import ArrivalShape, GuestUser, from_options, poisson, slots_for


class Visits(ArrivalShape):
    arrivals = poisson(from_options(rate="60/min", over="1m"))
    slots = slots_for(arrivals, "20s")


class Visitor(GuestUser):
    think_time = "uniform(200ms, 600ms)"

    @task
    def ask_twice(self) -> None:
        with self.guest() as guest:
            for text in ("Are you open on Sunday?", "And where can I park?"):
                guest.say(text)
                guest.await_reply(within="20s")
                guest.think()
