"""Smoke: a few guests, one after the other in each slot. Does the deployment work at all?"""

from locust import between, task

from harness.load import GuestUser, objective


class Visitor(GuestUser):
    wait_time = between(0.5, 1.5)  # between one guest of this slot and the next
    think_time = between(0.2, 1)

    @task
    def ask_one_question(self) -> None:
        with self.guest() as guest:
            guest.join()
            guest.await_greeting(within="20s")
            guest.think()
            guest.say("Where is my order?")
            guest.await_reply(within="20s")


# Counts and the slowest: a percentile or a share would need more samples than a smoke run has.
objective("reply max < 10s", "session_open errors == 0", "guests failed == 0", "leftovers == 0")
