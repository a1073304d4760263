"""Soak: a moderate rate for hours. Does anything grow, slow down or leak with time?

``--rate`` and ``--over``; eight hours by default. Look at the report's trends, not its means.
"""

from random import choice

from locust import task

from harness.load import ArrivalShape, GuestUser, as_asked, objective, slots_for, texts

QUESTIONS = (*texts("short"), *texts("medium"))


class LongDay(ArrivalShape):
    arrivals = as_asked(rate="10/min", over="8h")
    slots = slots_for(arrivals, "5m")


class Customer(GuestUser):
    think_time = "lognormal(8s, p95=40s, max=2m)"

    @task
    def talk_at_ease(self) -> None:
        with self.guest() as guest:
            for _ in range(5):
                guest.say(choice(QUESTIONS))
                guest.await_reply(within="30s")
                guest.think()


objective("reply p99 < 10s", "session_open errors < 0.5%", "dropped == 0", "leftovers == 0")
