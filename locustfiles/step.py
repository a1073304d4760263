"""Step: the rate rises in five equal steps. At which one do the times begin to bend?

``--rate`` is the height of the last step, ``--over`` the length of all together.
"""

from locust import task

from harness.load import ArrivalShape, GuestUser, objective, over, rate, slots_for, steps

STEPS = 5
HIGHEST = rate("60/min")


class Stair(ArrivalShape):
    arrivals = steps(
        per_second=[HIGHEST * step / STEPS for step in range(1, STEPS + 1)],
        each=over("10m") / STEPS,
    )
    slots = slots_for(HIGHEST, "1m")


class Customer(GuestUser):
    think_time = "lognormal(3s, p95=8s, max=20s)"

    @task
    def ask_twice(self) -> None:
        with self.guest() as guest:
            for text in ("Where is my order?", "Thanks, that is all."):
                guest.say(text)
                guest.await_reply(within="20s")
                guest.think()


objective("session_open errors < 1%", "leftovers == 0")
