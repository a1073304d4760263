"""A conversation script as load: HARNESS_SCRIPT names another one than the example."""

import os

from locust import constant

from harness.load import ArrivalShape, ScriptUser, irregular, objective, over, steady


class Arriving(ArrivalShape):
    arrivals = irregular(steady(per_minute=60, over=over("5m")))
    slots = 100


class Scripted(ScriptUser):
    wait_time = constant(0)
    script = os.environ.get("HARNESS_SCRIPT", "scripts/order.yaml")


objective("reply p95 < 5s", "session_open errors < 1%", "leftovers == 0")
