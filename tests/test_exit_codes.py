"""Exit codes are an interface: their numbers do not change."""

from harness.errors import ExitCode


def test_numbers_are_fixed() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "PASS": 0,
        "LOCUST": 1,
        "USAGE": 2,
        "OBJECTIVES": 3,
        "LEFTOVERS": 4,
        "NO_DATA": 5,
        "INVALID": 6,
        "PREFLIGHT": 7,
        "CONFIG": 8,
        "UNKNOWN": 9,
        "INTERRUPTED": 130,
    }
