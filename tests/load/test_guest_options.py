"""How guests guest_options themselves: options, environment, targets file, in that order."""

import json
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import pytest
from locust.argument_parser import LocustArgumentParser
from locusts import finish, locustfile, only_run, start
from processes import Simulator
from sessions import terms_of

from harness.config.target import Terms, parse_target, resolve_target
from harness.errors import ConfigError
from harness.guest.rest import exchange_sign_in
from harness.guest.settings import DOCUMENTED, UNLIMITED, GuestSettings
from harness.load.options import GuestOptions, add_options, read_guest_options, read_options
from harness.preflight.guard import Learned, write_stamp

URL = "ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"
LEARNED = Learned(greets=True, joined=True, analytics_ends_s=40.5)
REAL = URL.replace("ws://127.0.0.1:1", "wss://webmessaging.mypurecloud.de")


def parsed(*words: str) -> Namespace:
    parser = LocustArgumentParser()
    add_options(parser)
    return parser.parse_args(list(words))


def terms(tmp_path: Path, more: str = "", url: str = REAL) -> Terms:
    return terms_of(url, tmp_path, more)


def guest_options(where: Terms, *words: str) -> GuestOptions:
    return read_guest_options(parsed(*words), where)


def test_connections_are_limited_where_somebody_else_would_mind(tmp_path: Path) -> None:
    real, here = terms(tmp_path), terms(tmp_path, url=URL)
    agreed = terms(tmp_path, "connections_per_minute = 3000\n")
    found = [
        guest_options(real),
        guest_options(here),
        guest_options(agreed),
        guest_options(here, "--connections", "5"),
        guest_options(agreed, "--connections", "off"),
        guest_options(real, "--pace", "off"),
    ]
    assert [one.connections_per_minute for one in found] == [1000, 0, 3000, 5, 0, 0]


def test_the_limit_is_shared_among_workers(tmp_path: Path) -> None:
    real = terms(tmp_path)
    shares = [
        guest_options(real).settings(real, workers=workers, run_id="r").connections
        for workers in (1, 3)
    ]
    assert [share.limit for share in shares if share is not None] == [1000, 333]


def test_the_command_line_wins_over_the_targets_file(tmp_path: Path) -> None:
    widget = terms(tmp_path, "auto_join = true\n")
    assert guest_options(widget).auto_join
    assert not guest_options(widget, "--auto-join", "off").auto_join
    plain = guest_options(terms(tmp_path))
    assert (plain.auto_join, plain.history, plain.paced) == (False, True, True)


def test_an_age_of_connections_that_is_asked_for_wins(tmp_path: Path) -> None:
    here = terms(tmp_path, url=URL)
    found = []
    for words in ((), ("--max-connection-age", "off"), ("--max-connection-age", "90s")):
        made = guest_options(here, *words)
        shared = made.settings(here, workers=1, run_id="r")
        for own_s in (0.0, 6600.0):
            guest = made.of_guest(shared, sign_in="", max_age_s=own_s)
            found.append(guest.max_connection_age_s)
    assert found == [0, 6600, 0, 0, 90, 90]
    plain = guest_options(here)
    shared = plain.settings(here, workers=1, run_id="r")
    assert plain.of_guest(shared, sign_in="a.b.c", max_age_s=5).sign_in == "a.b.c"
    for nonsense in ("old", "0s", "100ms"):
        with pytest.raises(ConfigError, match="--max-connection-age"):
            guest_options(here, "--max-connection-age", nonsense)


def test_what_the_guests_of_a_run_share(tmp_path: Path) -> None:
    real = terms(tmp_path)
    words = ("--history", "off", "--auto-join", "on", "--pace", "off")
    made = guest_options(real, *words).settings(real, workers=1, run_id="r-1")
    assert (made.history, made.auto_join, made.budget) == (False, True, UNLIMITED)
    assert made.custom_attributes == {"runId": "r-1"}
    assert guest_options(real).settings(real, workers=1, run_id="r").budget == DOCUMENTED


def test_options_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_TARGET", URL)
    monkeypatch.setenv("HARNESS_AUTO_JOIN", "on")
    monkeypatch.setenv("HARNESS_CONNECTIONS", "60")
    found = read_options(parsed()).guest_options
    assert (found.auto_join, found.connections_per_minute) == (True, 60)


def test_whether_the_flow_greets_is_known_from_a_preflight(tmp_path: Path) -> None:
    here = terms(tmp_path, url=URL)
    after_join = Learned(greets=True, joined=True)

    def greets(*words: str, learned: Learned | None = after_join, **own: bool) -> bool | None:
        found = read_guest_options(parsed(*words), here, learned)
        settings = found.settings(here, workers=1, run_id="r")
        return found.of_guest(settings, sign_in="", max_age_s=0, **own).greets

    assert greets("--auto-join", "on") is True
    assert greets() is None  # it was not learnt of guests who don't join
    assert greets("--auto-join", "on", learned=None) is None
    assert greets("--auto-join", "on", "--greets", "off") is False
    assert greets("--auto-join", "on", greets=False) is False  # as the guest's class says
    assert greets(learned=Learned(greets=False, joined=False)) is False


def test_answers_of_several_messages_are_known_from_a_preflight(tmp_path: Path) -> None:
    here, written = terms(tmp_path, url=URL), terms(tmp_path, "turns = false\n", url=URL)
    several, one = Learned(turn_messages=3), Learned(turn_messages=1)
    assert read_guest_options(parsed(), here, several).turns is True
    assert read_guest_options(parsed(), here, one).turns is False
    assert read_guest_options(parsed(), written, several).turns is False
    assert read_guest_options(parsed("--turns", "off"), here, several).turns is False


def test_the_master_tells_its_workers_what_was_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_TARGET", URL)
    options = parsed("--reports", str(tmp_path))
    assert read_options(options).learned is None
    write_stamp(tmp_path, resolve_target(URL, tmp_path / "no"), passed=True, learned=LEARNED)
    assert read_options(options).learned == LEARNED
    options.reports = str(tmp_path / "elsewhere")
    setattr(options, "harness_learned", asdict(LEARNED))  # noqa: B010 - as Locust hands it on
    assert read_options(options).learned == LEARNED


def test_sign_ins_are_given_out_in_turn_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "jwts.txt"
    file.write_text("a.b.c\n\nd.e.f\n")
    here = terms(tmp_path, f'sign_ins = "{file}"\n', url=URL)
    found = guest_options(here)
    assert [found.sign_in_of(guest) for guest in range(3)] == ["a.b.c", "d.e.f", "a.b.c"]
    assert "d.e.f" not in repr(found)
    assert GuestOptions().sign_in_of(7) == ""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--connections", "many"], "--connections: expected a number above zero or off"),
        (["--connections", "0"], "--connections: expected"),
        (["--history", "maybe"], "--history: expected on or off, got 'maybe'"),
        (["--auto-join", "yes"], "--auto-join: expected on or off"),
        (["--pace", "fast"], "--pace: expected documented or off"),
        (["--sign-ins", "gone.txt"], "gone.txt: No such file"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, words: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        guest_options(terms(tmp_path), *words)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty; expected JWTs"),
        (b"a.b.c\nsecret password\n", "line 2: expected a JWT"),
        (b"\xff.b.c", "not UTF-8"),
    ],
)
def test_a_bad_file_of_sign_ins_is_placed_and_not_quoted(
    tmp_path: Path, data: bytes, why: str
) -> None:
    file = tmp_path / "jwts.txt"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=why) as told:
        guest_options(terms(tmp_path), "--sign-ins", str(file))
    assert "password" not in str(told.value)


@pytest.mark.process
def test_a_run_of_guests_who_sign_in_join_and_fetch_what_they_missed(tmp_path: Path) -> None:
    running = Simulator("--limits", "off", "--deployment", "authentication=true")
    try:
        settings = GuestSettings(target=parse_target(running.url))
        # One for each guest: a customer who comes a second time ends the first visit.
        jwts = [
            exchange_sign_in(settings, f"customer {n}", "https://shop.example") for n in range(60)
        ]
        (tmp_path / "jwts.txt").write_text("\n".join(jwts))
        file = locustfile(tmp_path, messages=1, think="300ms")
        text = file.read_text()
        file.write_text(text.replace("guest.think()", "guest.drop(); guest.think()\n" + 16 * " "
                                     + "guest.reconnect()"))  # fmt: skip
        words = ("--sign-ins", str(tmp_path / "jwts.txt"), "--auto-join", "on")
        _, output = finish(
            start(file, tmp_path, running.url, "-u", "2", "-t", "3", "--stop-timeout", "5", *words)
        )
        run = json.loads((only_run(tmp_path) / "run.json").read_text())
        made = {name: found["outcomes"] for name, found in run["operations"].items()}
        for operation in ("session_open", "join", "resume", "history", "clear"):
            assert made[operation].keys() == {"ok"}, (operation, output)
        assert run["sessions"]["leftover"] == 0
        assert running.truth()["counts"].get("sessions_replaced", 0) == 0
        files = [path for path in only_run(tmp_path).rglob("*") if path.is_file()]
        for path in files:
            assert not any(jwt.encode() in path.read_bytes() for jwt in jwts), path
        assert not any(jwt in output for jwt in jwts)
    finally:
        running.stop()
