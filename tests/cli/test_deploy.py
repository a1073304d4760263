"""``harness deploy`` writes nothing that a container would refuse, and replaces nothing."""

from pathlib import Path

import pytest
import yaml

from harness.cli.main import main
from harness.errors import ExitCode

pytestmark = pytest.mark.process

TARGETS = """\
[targets.staging]
url = "wss://webmessaging.mypurecloud.de/v1?deploymentId=00000000-0000-0000-0000-000000000000"
{more}

[targets.here]
url = "ws://127.0.0.1:8080/v1?deploymentId=00000000-0000-0000-0000-000000000000"
"""
STORY = """\
from locust import task
from harness.load import GuestUser
{more}

class Guest(GuestUser):
    @task
    def talk(self):
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="5s")
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("targets.toml").write_text(TARGETS.format(more=""))
    Path("shop.py").write_text(STORY.format(more=""))
    return tmp_path


def deploy(*more: str) -> int:
    options = ["--target", "staging", "--workers", "2", "--image", "harness:1"]
    return main(["deploy", "kubernetes", "shop.py", *options, *more])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--workers", "0"], "--workers: expected one or more"),
        (["--name", "Shop_1"], "--name: expected a letter"),
        (["--image", "a b"], "--image: expected the name of an image"),
        (["--target", "nobody"], "there is no target 'nobody'; there are: staging, here"),
        (["--target", "here"], "is on this machine"),
        (["--rate", "5/min"], "--rate: files/shop.py does not use it"),
        (["--file", "none.csv"], "none.csv can't be read"),
        (["--", "--workers", "2"], "no option --workers"),
        (["--", "--worker"], "--worker: harness deploy decides this"),
        (["--", "--target=sim"], "--target: harness deploy decides this"),
        (["--", "--reports", "/elsewhere"], "--reports: harness deploy decides this"),
        (["--occupancy", "5", "--", "--users", "9"], "do not go together"),
    ],
)
def test_what_would_fail_there_is_refused_here(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy(*words) in (ExitCode.CONFIG, ExitCode.USAGE)
    assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert not Path("deploy").exists()


def test_a_module_beside_the_locustfile_is_missed_until_it_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("words.py").write_text("GREETING = 'hello'\n")
    Path("shop.py").write_text(STORY.format(more="from words import GREETING"))
    assert deploy() == ExitCode.CONFIG
    error = capsys.readouterr().err
    assert "No module named 'words'" in error
    assert "--file" in error
    assert deploy("--file", "words.py") == ExitCode.PASS
    assert Path("deploy/prepare/files/words.py").read_text() == "GREETING = 'hello'\n"


def test_an_occupancy_is_asked_of_the_master_who_hands_out_slots() -> None:
    assert deploy("--occupancy", "5") == ExitCode.PASS
    (job,) = yaml.safe_load_all(Path("deploy/run/master.yaml").read_text())
    (master,) = job["spec"]["template"]["spec"]["containers"]
    assert " --occupancy 5" in " ".join(master["args"])


def test_nothing_is_replaced() -> None:
    assert deploy() == ExitCode.PASS
    before = Path("deploy/run/master.yaml").read_text()
    assert deploy("--name", "other") == ExitCode.CONFIG
    assert Path("deploy/run/master.yaml").read_text() == before


def test_a_script_is_deployed_by_its_own_name() -> None:
    assert main(["new", "menu.yaml"]) == ExitCode.PASS
    options = ["--target", "staging", "--workers", "2", "--image", "harness:1"]
    assert main(["deploy", "compose", "menu.yaml", *options, "--rate", "5/min"]) == ExitCode.PASS
    services = yaml.safe_load(Path("deploy/compose.yaml").read_text())["services"]
    assert "files/menu.yaml" in services["worker"]["command"]
    assert services["worker"]["environment"]["HARNESS_RATE"] == "5/min"
    assert Path("deploy/files/menu.yaml").is_file()


def test_signed_in_guests_need_their_file_where_containers_find_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("targets.toml").write_text(TARGETS.format(more='sign_ins = "jwts.txt"'))
    assert deploy() == ExitCode.CONFIG
    assert 'expected "sign-ins/jwts"' in capsys.readouterr().err
    Path("targets.toml").write_text(TARGETS.format(more='sign_ins = "sign-ins/jwts"'))
    assert deploy() == ExitCode.PASS
    assert "shop-sign-ins" not in Path("deploy/README.md").read_text()
    assert "harness-sign-ins --from-file=jwts=" in Path("deploy/README.md").read_text()


@pytest.mark.process
def test_more_workers_than_a_master_can_lead_are_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert deploy("--workers", "301") == ExitCode.PASS
    assert "warning: 301 workers are more than one master can lead" in capsys.readouterr().out
