"""Without a target nothing starts, and the user is told how to get one."""

from argparse import Namespace
from pathlib import Path

import gevent
import orjson
import pytest
from locust import User, argument_parser, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from harness.errors import ConfigError
from harness.load.options import RUN_ID, add_options, read_options
from harness.load.run import time_to_clear_s
from harness.preflight.guard import Intent, drain_s
from harness.rundir.layout import HANDED_OUT_FILES
from harness.supervise.children import free_port

URL = "ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"


def parsed(*words: str) -> Namespace:
    parser = LocustArgumentParser()
    add_options(parser)
    return parser.parse_args(list(words))


def test_options_come_from_the_command_line_and_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HARNESS_TARGET", URL)
    monkeypatch.setenv("HARNESS_REPORTS", "elsewhere")
    monkeypatch.delenv("HARNESS_RUN_ID", raising=False)
    options = read_options(parsed("--origin", "https://shop.example"))
    assert options.target.url == URL
    assert options.target.origin == "https://shop.example"
    assert (options.reports, options.run_id) == (Path("elsewhere"), None)
    assert options.term_grace_s == 8


def test_the_masters_run_id_wins() -> None:
    arguments = parsed("--target", URL)
    setattr(arguments, RUN_ID, "r-1")
    assert read_options(arguments).run_id == "r-1"


def test_no_target_says_how_to_start_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_TARGET", raising=False)
    with pytest.raises(ConfigError, match="harness simulate"):
        read_options(parsed())


def test_a_host_is_refused_because_nobody_would_obey_it() -> None:
    with pytest.raises(ConfigError, match=r"--host: got 'http://x'; name the target with --target"):
        read_options(Namespace(**{**vars(parsed("--target", URL)), "host": "http://x"}))
    for host in ("", "127.0.0.1:1"):  # what the web UI's form posts
        read_options(Namespace(**{**vars(parsed("--target", URL)), "host": host}))


def test_a_worker_finds_the_masters_files_where_they_were_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets, own = tmp_path / "targets.toml", tmp_path / "own.pem"
    targets.write_text(f'[targets.shop]\nurl = "{URL}"\nca_file = "/elsewhere/ca.pem"\n')
    paths = {"targets": {"t.toml": str(targets)}, "ca_file": {"/elsewhere/ca.pem": str(own)}}
    paths["slo"] = {"a/s.toml": "here.toml"}
    (tmp_path / HANDED_OUT_FILES).write_bytes(orjson.dumps(paths))
    monkeypatch.setenv("HARNESS_HANDED_OUT", str(tmp_path))
    monkeypatch.setenv("HARNESS_REPORTS", "mine")
    words = ("--target", "shop", "--targets", "./t.toml", "--slo", "a/./s.toml")
    options = read_options(parsed(*words, "--reports", "/only/there"))
    assert options.target.url == URL
    assert options.target.ca_file == own, "the targets file names it"
    assert (options.slo, options.reports) == (Path("here.toml"), Path("mine"))
    (tmp_path / HANDED_OUT_FILES).unlink()
    with pytest.raises(ConfigError, match="what the master handed out is gone"):
        read_options(parsed(*words))


class Waiting(User):
    @task
    def wait_for_ever(self) -> None:
        gevent.sleep(3600)


def test_an_order_to_a_worker_does_not_make_out_locusts_options_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes once a second while users are ramped up, and the worker has guests in session."""
    options = argument_parser.get_parser().parse_args([])
    made, make = [], argument_parser.get_empty_argument_parser

    def counting() -> LocustArgumentParser:
        made.append(1)
        return make()

    monkeypatch.setattr(argument_parser, "get_empty_argument_parser", counting)
    port = int(free_port())
    master = Environment(user_classes=[Waiting], parsed_options=options).create_master_runner(
        "127.0.0.1", port
    )
    worker = Environment(user_classes=[Waiting], parsed_options=options).create_worker_runner(
        "127.0.0.1", port
    )
    with gevent.Timeout(30):
        while not master.clients.ready:
            gevent.sleep(0.05)
        master.start(2, spawn_rate=2)
        while worker.user_count < 2:
            gevent.sleep(0.05)
    worker.quit()
    master.quit()
    assert len(made) <= 1


@pytest.mark.parametrize("guests", [1, 1000, 100_000])
def test_a_window_leaves_more_time_to_clear_than_one_process_takes_for_all(guests: int) -> None:
    intent = Intent(sessions=None, at_once=guests, peak_per_s=None, stop_timeout_s=0)
    assert drain_s(intent) > time_to_clear_s(guests)
