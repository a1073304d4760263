"""Runs that can't be one are refused with a sentence; what made a part void makes the whole so."""

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import synthetic
from synthetic import START_S, make_run

from harness.errors import ConfigError
from harness.judge.merging import merge_runs
from harness.ledger.ledger import Stage, Store


def part(folder: Path, name: str, **more: Any) -> Path:
    """A run with processes of its own, each with a ledger."""
    directory = make_run(folder / name, length_s=60, **more)
    for kind in ("intervals", "histograms"):
        for path in sorted(directory.glob(f"{kind}-*")):
            path.rename(path.with_name(path.name.replace(f"{kind}-w", f"{kind}-{name}-w")))
    for path in sorted(directory.glob("intervals-*")):
        worker = path.stem.partition("-")[2]
        meta = {"run_id": name, "worker": worker, "ended_ns": "1"}
        store = Store(directory / f"ledger-{worker}.sqlite", meta)
        store.write([(1, f"token-{worker}", str(Stage.CLEARED), 1, 1)], (), {})
        store.close()
    return directory


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    return [part(folder, name, seed=number) for number, name in enumerate(("a", "b"))]


@pytest.fixture
def parts(made: list[Path], tmp_path: Path) -> list[Path]:
    return [Path(shutil.copytree(one, tmp_path / one.name)) for one in made]


def change(directory: Path, file: str, **keys: Any) -> None:
    path = directory / file
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | keys))


def refusal(parts: list[Path], tmp_path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        merge_runs(parts, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*-merged")), "half a run is left"
    return str(refused.value)


@pytest.mark.slow
def test_counts_are_added(parts: list[Path], tmp_path: Path) -> None:
    _, record = merge_runs(parts, tmp_path / "out")
    due = [orjson.loads((one / "run.json").read_bytes())["arrivals"]["due"] for one in parts]
    assert record["arrivals"]["due"] == sum(due)
    assert record["generator"]["workers"] == 4
    assert record["how"]["seed"] == "0; 1"
    assert record["how"]["options"] == {"run_time_s": 60, "processes": 2}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("objectives", ["reply p95 < 1s"]),
        ("target", "ws://127.0.0.1:9/v1"),
        ("deployment_id", "another"),
        ("versions", {"harness": "0.0.1"}),
        ("warm_up_s", 5.0),
        ("confident", True),
        ("mix", {"Shopper": 1.0}),
        ("locustfile", "soak.py"),
        ("schedule", {"count": 5, "duration_s": 60.0, "parts": []}),
    ],
)
def test_unlike_runs_are_no_run(parts: list[Path], tmp_path: Path, key: str, value: Any) -> None:
    change(parts[1], "start.json", **{key: value})
    told = refusal(parts, tmp_path)
    assert "a and b can't be merged, they differ in" in told
    assert ("workload" if key == "schedule" else key) in told


def test_a_difference_may_be_overridden_with_a_reason(parts: list[Path], tmp_path: Path) -> None:
    change(parts[1], "start.json", versions={"python": "3.11.9"}, arrival_stamps="userspace")
    change(parts[0], "start.json", objectives=["reply p95 < 5s"])
    change(parts[1], "start.json", objectives=["leftovers == 0"])
    told = refusal(parts, tmp_path)
    for key in ("versions", "arrival_stamps", "objectives"):
        assert f"--override {key}=REASON" in told
    reasons = {"versions": "patched", "arrival_stamps": "a Mac", "objectives": "both hold"}
    _, record = merge_runs(parts, tmp_path / "out", overrides=reasons)
    assert {one["rule"]: one["reason"] for one in record["how"]["overridden"]} == reasons
    assert all("a and b differ in" in one["said"] for one in record["how"]["overridden"])
    assert record["generator"]["arrival_stamps"] == "userspace", "the better half is shown"
    assert {one["text"] for one in record["objectives"]} >= {"leftovers == 0", "reply p95 < 5s"}


def test_another_load_can_not_be_overridden(parts: list[Path], tmp_path: Path) -> None:
    change(parts[1], "start.json", versions={"python": "3.11.9"}, deployment_id="another")
    assert "--override" not in refusal(parts, tmp_path)


def test_the_folder_of_the_locustfile_is_each_machines_own(
    parts: list[Path], tmp_path: Path
) -> None:
    change(parts[1], "start.json", locustfile="/elsewhere/launch.py")
    merge_runs(parts, tmp_path / "out")


def test_no_run_is_in_it_twice(parts: list[Path], tmp_path: Path) -> None:
    assert "a has the process a-w0" in refusal([parts[0], parts[0]], tmp_path)
    copy = Path(shutil.copytree(parts[0], tmp_path / "copy"))
    assert "copy has the process a-w0" in refusal([parts[0], parts[1], copy], tmp_path)
    assert "two runs or more" in refusal(parts[:1], tmp_path)


@pytest.mark.slow
def test_runs_one_after_the_other_are_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = part(tmp_path, "a")
    monkeypatch.setattr(synthetic, "START_S", START_S + 40)
    second = part(tmp_path, "b")
    told = refusal([first, second], tmp_path)
    assert "a and b did not go on side by side: of the 1m of a, all of them shared 20s" in told


def test_what_makes_a_part_invalid_makes_the_whole_invalid(
    parts: list[Path], tmp_path: Path
) -> None:
    change(parts[1], "run.json", verdict="INVALID", invalid_because=["the generator lagged: w1"])
    _, record = merge_runs(parts, tmp_path / "out")
    assert record["verdict"] == "INVALID"
    assert "b: the generator lagged: w1" in record["invalid_because"]


def test_a_part_that_was_cut_short_makes_the_whole_partial(
    parts: list[Path], tmp_path: Path
) -> None:
    (parts[0] / "run.json").unlink()
    for path in parts[0].glob("intervals-*"):  # it was killed early: the other went on alone
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:10]))
    _, record = merge_runs(parts, tmp_path / "out")
    assert (record["verdict"], record["complete"]) == ("INVALID", False)
    assert "a did not reach the end" in record["invalid_because"]
    assert not (parts[0] / "run.json").exists(), "a part was changed"


@pytest.mark.parametrize("file", ["intervals-b-w0.jsonl", "histograms-b-w0.hlog"])
def test_a_damaged_part_makes_the_whole_invalid(
    parts: list[Path], tmp_path: Path, file: str
) -> None:
    path = parts[1] / file
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:-3], "garbage,\n", *lines[-2:]]))
    _, record = merge_runs(parts, tmp_path / "out")
    assert record["verdict"] == "INVALID"
    assert any(why.startswith(f"b: {file}: 1 damaged line") for why in record["invalid_because"])
    path.unlink()
    _, record = merge_runs(parts, tmp_path / "out")
    assert record["verdict"] == "INVALID"
    assert any("changed or lost after the run" in why for why in record["invalid_because"])


def test_a_damaged_ledger_may_hide_sessions(parts: list[Path], tmp_path: Path) -> None:
    (parts[1] / "ledger-b-w0.sqlite").write_bytes(b"garbage")
    _, record = merge_runs(parts, tmp_path / "out")
    assert record["verdict"] == "INVALID"
    assert any("ledger-b-w0.sqlite" in why for why in record["invalid_because"])


def test_what_a_part_may_lack_the_whole_may_lack(parts: list[Path], tmp_path: Path) -> None:
    assert merge_runs(parts, tmp_path / "out")[1]["sessions"]["may_lack"] is False
    path = parts[1] / "run.json"
    record = orjson.loads(path.read_bytes())
    record["sessions"]["may_lack"] = True
    path.write_bytes(orjson.dumps(record))
    assert merge_runs(parts, tmp_path / "out")[1]["sessions"]["may_lack"] is True


@pytest.mark.parametrize("file", ["run.json", "start.json"])
def test_files_that_cannot_be_read_are_named(parts: list[Path], tmp_path: Path, file: str) -> None:
    (parts[1] / file).write_text("{")
    assert str(parts[1] / file) in refusal(parts, tmp_path)


def test_what_is_no_run_is_refused(parts: list[Path], tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    assert "not a run that has measured anything" in refusal([*parts, tmp_path / "c"], tmp_path)
