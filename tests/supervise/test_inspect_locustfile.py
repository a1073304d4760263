"""A locustfile is looked at in another process; what it ignores is refused."""

from pathlib import Path

import pytest
from locusts import locustfile

from harness.errors import ConfigError
from harness.supervise.children import inherited_settings, inspect_locustfile

pytestmark = pytest.mark.process

OPEN = (
    "from harness.load import rate, spike\n"
    "class Shape(ArrivalShape):\n"
    "    arrivals = spike(per_second=(1, rate('9/s')), over='60s', at='20s', hold='2s')\n"
)


def test_schedule_peak_and_what_is_asked(tmp_path: Path) -> None:
    file = str(locustfile(tmp_path, more=OPEN))
    assert inspect_locustfile(file, {})["arrivals"]["peak_per_s"] == 9
    plan = inspect_locustfile(file, {"HARNESS_RATE": "5/s", "HARNESS_SEED": "1"})
    assert plan["arrivals"]["peak_per_s"] == 5
    assert "HARNESS_RATE" in plan["used_variables"]


def test_what_it_does_not_ask_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--over: .* does not use it.*from_options"):
        inspect_locustfile(str(locustfile(tmp_path)), {"HARNESS_OVER": "5s"})


def test_files_that_can_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="there is no locustfile"):
        inspect_locustfile(str(tmp_path / "none.py"), {})
    with pytest.raises(ConfigError, match=f"{tmp_path} is a folder; expected a locustfile"):
        inspect_locustfile(str(tmp_path), {})
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="the current folder was deleted: go to another one"):
        inspect_locustfile(str(locustfile(tmp_path)), {})
    monkeypatch.undo()
    (tmp_path / "bad.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(ConfigError, match=r"bad\.py:1: ModuleNotFoundError"):
        inspect_locustfile(str(tmp_path / "bad.py"), {})


@pytest.mark.parametrize(
    ("conf", "environment", "place"),
    [
        ("master = true\n", {}, "master of locust.conf"),
        pytest.param("users = 7\n", {}, "users of locust.conf", marks=pytest.mark.long),
        pytest.param(
            "",
            {"LOCUST_MODE_MASTER": "1"},
            "LOCUST_MODE_MASTER of the environment",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "",
            {"LOCUST_MODE_WORKER": "true"},
            "LOCUST_MODE_WORKER of the environment",
            marks=pytest.mark.long,
        ),
        ("", {"LOCUST_USERS": "9"}, "LOCUST_USERS of the environment"),
    ],
)
def test_what_locust_would_obey_silently_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    conf: str,
    environment: dict[str, str],
    place: str,
) -> None:
    (tmp_path / "locust.conf").write_text(conf)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{place}: harness run sets this"):
        inspect_locustfile(str(locustfile(tmp_path)), {})


def test_what_else_locust_obeys_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locust.conf").write_text("tags = [a]\nmaster = false\nsomebody = else\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HARNESS_REPORTS", "elsewhere")
    plan = inspect_locustfile(str(locustfile(tmp_path)), {})
    assert inherited_settings(plan) == ["Locust also obeys tags of locust.conf"]
