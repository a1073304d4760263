"""Launch: a short rehearsal of an opening day. Over a thousand guests in a minute, after a ramp."""

from random import randint

from locust import task

from harness.load import ArrivalShape, GuestUser, objective, ramp, steady

QUESTIONS = (
    "Hello, I have a question about my order.",
    "The number is 4711.",
    "When will it arrive?",
    "Can I still change the address?",
    "And what does express delivery cost?",
)


class OpeningDay(ArrivalShape):
    arrivals = ramp(per_minute=(600, 1140), over="20s") + steady(per_minute=1140, over="40s")
    slots = 400


class Shopper(GuestUser):
    think_time = "uniform(1s, 3s)"

    @task
    def ask_about_an_order(self) -> None:
        with self.guest() as guest:
            for question in QUESTIONS[: randint(2, 5)]:
                guest.say(question)
                guest.await_reply(within="10s")
                guest.think()
            guest.say("Thanks, that is all.")
            guest.await_reply(within="10s")


objective("reply p95 < 2s", "delivered p95 < 1s", "session_open errors < 1%")
objective("dropped == 0", "leftovers == 0")
