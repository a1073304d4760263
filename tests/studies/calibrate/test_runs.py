"""The stories of a calibration are locustfiles that load, with the schedule that was meant."""

from pathlib import Path

import pytest

from harness.studies.calibrate import runs as rising
from harness.studies.calibrate.runs import Rises
from harness.supervise.children import inspect_locustfile

RISES = Rises(
    processes=1,
    tls=False,
    rise_s=10,
    top_guests_per_s=80,
    top_messages_per_s=400,
    speakers=50,
    held=200,
)


@pytest.mark.long
@pytest.mark.process
def test_each_story_loads(tmp_path: Path) -> None:
    visits = rising.STORY.format(
        arrivals='ramp(per_second=(2, 80), over="10s")', slots=80, story=rising.VISIT
    )
    speak = rising.SPEAK.format(until=11, low=10, slope=39, filled=1, guests=50)
    stay = rising.STAY.format(until=20)
    expected = {
        "visits": (visits, 410, 80),
        "speak": (rising._filling(50, 0.5, speak), 50, 50),
        "stay": (rising._filling(200, 2.0, stay), 200, 200),
    }
    for name, (story, guests, slots) in expected.items():
        path = tmp_path / f"{name}.py"
        path.write_text(story)
        arrivals = inspect_locustfile(str(path), {})["arrivals"]
        assert arrivals["slots"] == slots
        assert abs(arrivals["count"] - guests) <= 1


def test_the_run_goes_as_fast_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_RATE", "1/s")
    environment = rising._environment()
    assert environment["HARNESS_PACE"] == "off"
    assert "HARNESS_RATE" not in environment
    command = rising._command(RISES, Path("f/story.py"), 12)
    assert "--sim-tls" not in command
    assert "--processes" not in command
