"""Spike: ten times the usual rate for a fifth of the time. Does the deployment come back?

``--rate`` is the usual rate, ``--over`` the length of the whole.
"""

from locust import task

from harness.load import ArrivalShape, GuestUser, objective, over, rate, slots_for, spike

USUAL, LENGTH = rate("12/min"), over("5m")
PEAK = 10 * USUAL


class Announcement(ArrivalShape):
    arrivals = spike(
        per_second=(USUAL, PEAK), over=LENGTH, at=LENGTH * 2 / 5, hold=LENGTH / 5, rise=LENGTH / 20
    )
    slots = slots_for(PEAK, "1m")


class Customer(GuestUser):
    think_time = "lognormal(3s, p95=8s, max=20s)"

    @task
    def ask_what_happened(self) -> None:
        with self.guest() as guest:
            for text in ("Is it true that the shop is down?", "Thanks."):
                guest.say(text)
                guest.await_reply(within="30s")
                guest.think()


objective("session_open errors < 5%", "leftovers == 0")
