"""A locustfile with types, which `make check` holds to be right in strict mode."""

from locust import task

from harness.load import (
    ArrivalShape,
    GuestSession,
    GuestUser,
    Message,
    ReplyTimeout,
    Schedule,
    from_options,
    poisson,
)


def arrivals() -> Schedule:
    return poisson(from_options(rate="30/min", over="1m"))


def ask(guest: GuestSession, text: str) -> str:
    guest.say(text)
    try:
        return guest.await_reply(within="20s")
    except ReplyTimeout as late:
        return f"nothing within {late.waited_s} s"


class Day(ArrivalShape):
    arrivals = arrivals()


class Customer(GuestUser):
    @task
    def story(self) -> None:
        with self.guest() as guest:
            ask(guest, "Where is my order?")
            said: list[Message] = guest.history()
            assert said
