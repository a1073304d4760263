"""Targets by name: terms as written, places of mistakes, and what is found from the host alone."""

from pathlib import Path

import pytest

from harness.config.target import REGIONS, read_targets, resolve_target
from harness.errors import ConfigError

ID = "12345678-90ab-cdef-1234-567890abcdef"
URL = f"wss://webmessaging.mypurecloud.de/v1?deploymentId={ID}"
LOCAL = f"ws://127.0.0.1:8080/v1?deploymentId={ID}"


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "targets.toml"
    file.write_text(text)
    return file


def test_region_window_and_addresses_come_from_the_host(tmp_path: Path) -> None:
    terms = resolve_target("t", write(tmp_path, f'[targets.t]\nurl = "{URL}"\n'))
    assert terms.zone is not None
    assert terms.zone.key == "Europe/Berlin"
    assert [f"{moment:%H:%M}" for moment in terms.window] == ["23:00", "05:00"]
    assert terms.config_url == (
        f"https://api-cdn.mypurecloud.de/webdeployments/v1/deployments/{ID}/config.json"
    )
    assert terms.api_url == "https://api.mypurecloud.de"
    assert terms.guarded


def test_every_region_has_a_time_zone_that_exists(tmp_path: Path) -> None:
    for region in REGIONS:
        text = f'[targets.t]\nurl = "wss://own.example/v1?deploymentId={ID}"\nregion = "{region}"\n'
        assert resolve_target("t", write(tmp_path, text)).zone is not None


def test_a_url_has_the_terms_that_the_file_has_for_it(tmp_path: Path) -> None:
    file = write(tmp_path, f'[targets.t]\nurl = "{URL}"\napproval = "case 1"\n')
    assert resolve_target(URL, file).approval == "case 1"
    assert resolve_target(LOCAL, file).guarded is False
    assert resolve_target(LOCAL, tmp_path / "none.toml").name == ""


def test_any_change_of_the_table_changes_the_fingerprint(tmp_path: Path) -> None:
    first = resolve_target("t", write(tmp_path, f'[targets.t]\nurl = "{URL}"\n')).fingerprint
    changed = write(tmp_path, f'[targets.t]\nurl = "{URL}"\nmax_sessions = 5\n')
    assert resolve_target("t", changed).fingerprint != first


def test_queues_and_flows_are_told_but_no_secret(tmp_path: Path) -> None:
    more = 'queues = ["q-1", "q-2"]\nflows = ["f-1"]\nclient_id_env = "A"\n'
    terms = resolve_target("t", write(tmp_path, f'[targets.t]\nurl = "{URL}"\n{more}'))
    assert terms.platform_facts == {
        "api_url": "https://api.mypurecloud.de",
        "client_id_env": "A",
        "client_secret_env": "",
        "queues": ["q-1", "q-2"],
        "flows": ["f-1"],
    }


def test_routes_are_read(tmp_path: Path) -> None:
    more = 'proxy = "http://127.0.0.1:3128"\nsources = ["127.0.0.2", "::1"]\ntreat_as_real = true\n'
    terms = resolve_target("t", write(tmp_path, f'[targets.t]\nurl = "{LOCAL}"\n{more}'))
    assert terms.target.proxy == ("127.0.0.1", 3128)
    assert terms.target.sources == ("127.0.0.2", "::1")
    assert terms.guarded


def test_a_proxys_login_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = 'proxy = "http://127.0.0.1:3128"\nproxy_login_env = "T_PROXY"\n'
    file = write(tmp_path, f'[targets.t]\nurl = "{LOCAL}"\n{more}')
    assert "t" in read_targets(file)  # to list it, nothing need be at hand
    for value, why in (("", "not set"), ("nobody", "malformed"), ("a:b\r\nX: y", "malformed")):
        monkeypatch.setenv("T_PROXY", value)
        with pytest.raises(ConfigError, match=rf"T_PROXY, which is {why}") as caught:
            resolve_target("t", file)
        assert not value or value not in str(caught.value)
    monkeypatch.setenv("T_PROXY", "me:se:cret")
    terms = resolve_target("t", file)
    assert terms.target.proxy_login() == "me:se:cret"
    assert "se:cret" not in repr(terms)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[targets", "not TOML"),
        ("a = " + "[" * 5000, "not TOML: nested too deeply"),
        ("a = " + "9" * 5000, "not TOML: a number is too long"),
        ("[target.t]\n", "unknown key 'target'"),
        ("", "no target in it"),
        ("[targets.t]\n", "[targets.t]: url is missing"),
        (f'[targets.t]\nurl = "{URL}"\nwindows = "1"\n', "unknown key 'windows'"),
        (f'[targets.t]\nurl = "{URL}"\nwindow = "night"\n', "expected a form such as 23:00-05:00"),
        (f'[targets.t]\nurl = "{URL}"\nwindow = "23:00-23:00"\n', "is empty"),
        (f'[targets.t]\nurl = "{URL}"\nmax_sessions = 0\n', "max_sessions: expected"),
        (f'[targets.t]\nurl = "{URL}"\nmax_rate = "fast"\n', "max_rate: expected a rate"),
        (f'[targets.t]\nurl = "{URL}"\nregion = "mars"\n', "'mars' is not known"),
        (f'[targets.t]\nurl = "{URL}"\ntime_zone = "Mars/Base"\n', "time_zone"),
        (f'[targets.t]\nurl = "{URL}"\nproxy = "socks5://a:1"\n', "proxy: expected http://"),
        (f'[targets.t]\nurl = "{URL}"\nproxy = "http://a:b@c:1"\n', "a login does not go into"),
        (f'[targets.t]\nurl = "{URL}"\nproxy_login_env = "A"\n', "there is no proxy"),
        (f'[targets.t]\nurl = "{URL}"\nproxy = "http://a:1"\nproxy_login_env = "a:b"\n', "name of"),
        (f'[targets.t]\nurl = "{URL}"\nsources = ["eth0"]\n', "sources: expected an IP"),
        (f'[targets.t]\nurl = "{URL}"\napproval = 5\n', "approval: expected a text"),
        (f'[targets.t]\nurl = "{URL}"\nauto_join = "yes"\n', "auto_join: expected true or false"),
        (f'[targets.t]\nurl = "{URL}"\nconnections_per_minute = true\n', "expected a whole"),
        (f'[targets.sim]\nurl = "{URL}"\n', "the embedded simulator"),
        (f'[targets.simulator]\nurl = "{URL}"\n', "the embedded simulator"),
    ],
)
def test_mistakes_are_placed(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_targets(write(tmp_path, text))
    assert "targets.toml" in str(caught.value)
    assert why in str(caught.value)


def test_a_plain_url_of_the_vendors_is_known_too(tmp_path: Path) -> None:
    terms = resolve_target(URL, tmp_path / "targets.toml")
    assert (terms.name, terms.guarded, str(terms.zone)) == ("", True, "Europe/Berlin")
    assert terms.config_url.startswith("https://api-cdn.mypurecloud.de/webdeployments/")
    assert resolve_target(LOCAL, tmp_path / "targets.toml").config_url.startswith("http://127")


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the target is empty"):
        resolve_target(" ", tmp_path / "targets.toml")
    with pytest.raises(ConfigError, match="harness target init"):
        resolve_target("t", tmp_path / "targets.toml")
    with pytest.raises(ConfigError, match="there is no target 'u'; there are: t"):
        resolve_target("u", write(tmp_path, f'[targets.t]\nurl = "{URL}"\n'))


def test_a_file_that_is_not_there_says_how_to_begin_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file of targets .* harness target init"):
        read_targets(tmp_path / "targets.toml")
