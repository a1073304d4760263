"""A search in real processes finds a planted knee's side, is resumable, and refuses nonsense."""

import json
from pathlib import Path
from typing import Any

import pytest
from processes import Simulator, harness

from harness.cli.main import main
from harness.errors import ExitCode
from harness.supervise.children import free_port

GUESTS = """
from locust import task
from harness.load import ArrivalShape, GuestUser, over, rate, steady

class Level(ArrivalShape):
    arrivals = steady(per_second=rate("1/s"), over=over("10s"))
    slots = 200

class Guest(GuestUser):
    @task
    def ask(self):
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="10s")
"""


@pytest.mark.long
@pytest.mark.process
def test_a_service_that_takes_no_more_connections_is_over_and_the_search_says_how_far_it_came(
    tmp_path: Path,
) -> None:
    """What hangs at the end of a level is no success, and a dead service no mistake of the user."""
    file = tmp_path / "level.py"
    file.write_text(GUESTS)
    simulator = Simulator("--limits", "off")
    simulator.faults(half_open={"probability": 1, "from": "4s"})
    try:
        done = search(
            tmp_path, str(file), "--target", simulator.url, "--objective", "reply p50 < 400ms",
            "--start", "4/s", "--highest", "8/s", "--hold", "5s", "--longest", "5s", "--settle",
            "0s", "--warm-up", "1s", "--max-levels", "1", "--reports", str(tmp_path / "r"),
            "--json",
        )  # fmt: skip
    finally:
        simulator.stop()
    answer = json.loads(done.stdout) if done.stdout else {}
    assert answer, done.stderr
    assert done.returncode == ExitCode.NO_DATA
    assert [level["judged"] for level in answer["levels"]] == ["over"]
    assert any(figure.startswith("connect errors") for figure in answer["levels"][0]["figures"])
    assert "the target 127.0.0.1" in done.stderr
    assert "harness capacity --resume" in done.stderr


@pytest.mark.long
@pytest.mark.process
def test_levels_of_a_guarded_target_run_by_the_preflight_of_the_target(tmp_path: Path) -> None:
    file, targets = tmp_path / "level.py", tmp_path / "targets.toml"
    file.write_text(GUESTS)
    simulator = Simulator("--limits", "off")
    targets.write_text(
        f'[targets.twin]\nurl = "{simulator.url}"\ntreat_as_real = true\ntime_zone = "UTC"\n'
        'approval = "case 1"\nwindow = "always"\nmax_sessions = 500\nmax_rate = "8/s"\n'
    )
    where = ("--target", "twin", "--targets", str(targets), "--reports", str(tmp_path / "r"))
    words = (
        str(file), *where, "--objective", "reply p50 < 400ms", "--start", "4/s", "--hold", "4s",
        "--longest", "4s", "--settle", "0s", "--warm-up", "1s", "--max-levels", "1", "--json",
    )  # fmt: skip
    try:
        refused = search(tmp_path, *words, "--highest", "4/s")
        before = simulator.truth()["sessions"]["opened"]
        assert harness("preflight", *where).returncode == ExitCode.PASS
        done = search(tmp_path, *words, "--highest", "4/s")
        above = search(tmp_path, *words, "--highest", "9/s")
    finally:
        simulator.stop()
    assert (refused.returncode, before) == (ExitCode.PREFLIGHT, 0)
    assert "there has been no preflight" in refused.stderr
    assert len(json.loads(done.stdout)["levels"]) == 1, done.stderr
    assert (above.returncode, above.stdout) == (ExitCode.CONFIG, "")


STAYING = """guest.await_reply(within="10s")
            for _ in range(4):
                guest.think(0.3)
                guest.say("and?")
                guest.await_reply(within="10s")
"""


def search(directory: Path, *words: str) -> Any:
    return harness("capacity", *words, within_s=250)


@pytest.mark.long
@pytest.mark.process
def test_a_service_of_one_worker_is_over_where_it_must_be(tmp_path: Path) -> None:
    file = tmp_path / "level.py"
    file.write_text(GUESTS)
    profile = tmp_path / "twin.toml"
    # One worker that takes 100 ms: ten replies a second, whatever comes.
    profile.write_text('[bot]\ntime = "100ms"\nworkers = 1\n')
    out = tmp_path / "reports"
    done = search(
        tmp_path, str(file), "--objective", "reply p50 < 400ms", "--start", "6/s", "--highest",
        "24/s", "--hold", "6s", "--longest", "12s", "--settle", "3s", "--warm-up", "1s",
        "--max-levels", "2", "--sim-profile", str(profile), "--reports", str(out), "--json",
    )  # fmt: skip
    answer = json.loads(done.stdout) if done.stdout else {}
    assert answer, done.stderr
    levels = {level["rate_per_s"]: level["judged"] for level in answer["levels"]}
    assert levels.keys() == {6, 12}
    assert levels[6] == "under"
    # Twelve a second is more than ten: in so short a time a growing queue is at least no success.
    assert levels[12] in ("over", "close", "inconclusive")
    assert (Path(answer["directory"]) / "capacity.html").is_file()
    # A finished search has nothing more to do when it is resumed.
    again = search(tmp_path, "--resume", answer["directory"], "--json")
    assert json.loads(again.stdout)["levels"] == answer["levels"]


@pytest.mark.long
@pytest.mark.process
@pytest.mark.timeout(400)  # four levels on a busy machine
def test_a_service_that_fits_so_many_at_once_is_found_by_occupancy(tmp_path: Path) -> None:
    file = tmp_path / "level.py"
    file.write_text(GUESTS.replace('guest.await_reply(within="10s")', STAYING))
    profile = tmp_path / "twin.toml"
    # Beyond ten sessions an answer of 200 ms takes as much longer: 250 ms with 12.5 of them.
    profile.write_text('[bot]\ntime = "200ms"\nmemory_sessions = 10\n')
    done = search(
        tmp_path, str(file), "--by", "occupancy", "--objective", "reply p90 < 250ms", "--start",
        "10", "--highest", "16", "--hold", "4s", "--longest", "8s", "--settle", "4s",
        "--warm-up", "3s",
        "--resolution", "0.3", "--max-levels", "4", "--sim-profile", str(profile),
        "--reports", str(tmp_path / "reports"), "--wanted", "20", "--json",
    )  # fmt: skip
    answer = json.loads(done.stdout) if done.stdout else {}
    assert answer, done.stderr
    assert (answer["by"], answer["unit"]) == ("occupancy", "guests at once")
    levels = {level["guests"]: level for level in answer["levels"]}
    assert levels[10]["judged"] == "under"
    assert levels[16]["judged"] == "over"
    for level in levels.values():
        assert level["occupancy"] == pytest.approx(level["guests"], rel=0.05)
        assert level["little_off"] < 0.05
        assert level["session_s"] == pytest.approx(level["occupancy"] / level["arrivals_per_s"])
    # One guest of grace at either side: a busy machine adds to each answer.
    assert answer["low"] - 1 <= 12.5 <= answer["high"] + 1, answer
    assert answer["headroom"] == pytest.approx(answer["low"] / 20 - 1)
    assert "guests at once" in (Path(answer["directory"]) / "capacity.html").read_text()
    assert "guests/min" not in done.stderr
    again = search(tmp_path, "--resume", answer["directory"], "--json")
    assert json.loads(again.stdout)["levels"] == answer["levels"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--start", "fast"], "--start: expected a rate"),
        (["--start", "10/s", "--highest", "1/s"], "--start: expected no more than --highest"),
        (["--start", "20"], "--start: expected a rate such as"),
        (["--by", "occupancy", "--start", "600/min"], "--start: with --by occupancy expected a"),
        (["--by", "occupancy", "--wanted", "60/min"], "--wanted: with --by occupancy expected a"),
        (["--wanted", "20"], "--wanted: expected a rate such as"),
        (["--wanted", "0/s"], "--wanted: expected a rate above zero"),
        (["--objective", "rply p95 < 1s"], "nothing is called 'rply'"),
        (["--hold", "0s"], "--hold: expected one second or more"),
        (["--resolution", "2"], "--resolution: expected a share between 0 and 1"),
        (["--resolution", "nan"], "--resolution: expected a share between 0 and 1"),
        (["no-such-file.py"], "harness new writes one"),
        (["--resume", "nowhere"], "not a search that can go on"),
    ],
)
def test_nonsense_is_refused(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["capacity", *words, "--reports", str(tmp_path / "r")]) == ExitCode.CONFIG
    assert why in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--resume", "d", "--start", "1/s"], "--start and --resume do not go together"),
        (["--slo", "x", "--objective", "reply p95 < 1s"], "give --objective or --slo, not both"),
        (["--bind", "10.0.0.1"], "--bind goes with --master"),
    ],
)
def test_what_does_not_fit_together_is_a_mistake_of_usage(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["capacity", *words, "--reports", str(tmp_path / "r")]) == ExitCode.USAGE
    assert why in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.process
def test_why_a_level_did_not_run_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_LOG_FORMAT", "json")
    file = tmp_path / "level.py"
    file.write_text(GUESTS)
    nobody = f"ws://127.0.0.1:{free_port()}/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"
    words = ("--target", nobody, "--objective", "reply p50 < 1s", "--reports", str(tmp_path / "r"))
    done = search(tmp_path, str(file), *words)
    assert done.returncode == ExitCode.CONFIG
    assert "error: level-01 did not run: the target 127.0.0.1" in done.stderr
    assert '"level"' not in done.stderr
