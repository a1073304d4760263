"""What Locust's own listeners hear: one event per operation, each with a time, failures included.

Locust's ``--otel`` divides that time, so an event without one would end the run with exit code 2.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from locusts import finish, locustfile, only_run, start
from processes import decided

from harness.errors import ExitCode

pytestmark = pytest.mark.process

# Every second question is given up at once, so that there are failures too.
IMPATIENT = """
from locust import events

class Impatient(GuestUser):
    @task
    def give_up(self):
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="1ms")
"""
LISTENER = """
import json

@events.request.add_listener
def note(name, response_time, exception, **_):
    with open({path!r}, "a") as file:
        file.write(json.dumps([name, response_time, str(exception or "ok")]) + "\\n")
"""


def counted(record: dict[str, Any]) -> dict[str, int]:
    """Operations that are shown to Locust, which is all but the phases of dialling."""
    phases = ("dns", "tcp", "tls", "upgrade")
    return {k: v["count"] for k, v in record["operations"].items() if k not in phases}


def test_every_operation_is_one_event_with_a_time(simulator: Any, tmp_path: Path) -> None:
    heard = tmp_path / "heard.jsonl"
    more = IMPATIENT + LISTENER.format(path=str(heard))
    process = start(locustfile(tmp_path, more=more), tmp_path, simulator.url, "-u", "4", "-t", "3")
    code, output = finish(process)
    assert decided(code, output) == ExitCode.OBJECTIVES, output  # its guests are not served
    events = [json.loads(line) for line in heard.read_text().splitlines()]
    record = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert all(isinstance(time_ms, float) and time_ms >= 0 for _, time_ms, _ in events)
    names = [name for name, _, _ in events]
    assert {name: names.count(name) for name in set(names)} == counted(record)
    assert "timeout" in {outcome for _, _, outcome in events}


def test_locusts_telemetry_counts_the_same(simulator: Any, tmp_path: Path) -> None:
    process = start(
        locustfile(tmp_path, more=IMPATIENT), tmp_path, simulator.url,
        "-u", "4", "-t", "3", "--otel",
        OTEL_METRICS_EXPORTER="console", OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="none",
    )  # fmt: skip
    code, output = finish(process)
    assert decided(code, output) == ExitCode.OBJECTIVES, output  # as above
    assert "Traceback" not in output
    assert "not enabled" not in output
    exported = output[output.index('{\n    "resource_metrics"') :]
    found, _ = json.JSONDecoder().raw_decode(exported)
    (scope,) = found["resource_metrics"][0]["scope_metrics"]
    (durations,) = [m for m in scope["metrics"] if m["name"] == "locust.client.duration"]
    counts: dict[str, int] = {}
    for point in durations["data"]["data_points"]:
        name = point["attributes"]["name"]
        counts[name] = counts.get(name, 0) + point["count"]
    record = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert counts == counted(record)
