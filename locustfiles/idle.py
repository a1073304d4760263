"""Idle: many guests who hold their session open and hardly speak. What does mere presence cost?

A closed workload: ``-u`` is how many there are at once. Each says one thing, then only answers the
clock with a health check every half minute, for ``--over``.
"""

from time import monotonic

from locust import task

from harness.load import GuestUser, objective, over

STAY_S = over("2m")
PAUSE_S = 31  # two health checks a minute and connection are allowed


class Lurker(GuestUser):
    think_time = "uniform(20s, 40s)"

    @task
    def hold_the_line(self) -> None:
        until = monotonic() + STAY_S
        with self.guest() as guest:
            guest.say("Just looking.")
            guest.await_reply(within="20s")
            while (left_s := until - monotonic()) > PAUSE_S:
                guest.think(PAUSE_S)
                guest.health_check()
            guest.think(max(0.0, left_s))


objective("health_check errors < 1%", "session_open errors < 1%", "leftovers == 0")
