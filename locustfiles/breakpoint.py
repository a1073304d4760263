"""Breakpoint: the rate rises in a straight line until something gives. Where is the end?

``--rate`` is the rate at the end of ``--over``. Stop it early by objectives of a file with
``abort_on_fail``: ``harness run locustfiles/breakpoint.py --slo FILE``.
"""

from locust import task

from harness.load import ArrivalShape, GuestUser, objective, over, ramp, rate, slots_for

HIGHEST = rate("600/min")


class Climb(ArrivalShape):
    arrivals = ramp(per_second=(HIGHEST / 100, HIGHEST), over=over("20m"))
    slots = slots_for(HIGHEST, "1m")
    drop_after = "2s"  # beyond the end guests give up


class Customer(GuestUser):
    think_time = "uniform(1s, 3s)"

    @task
    def ask_once(self) -> None:
        with self.guest() as guest:
            guest.say("Where is my order?")
            guest.await_reply(within="30s")
            guest.think()


objective("leftovers == 0")
