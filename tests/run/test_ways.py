"""Ways to a deployment, as a user goes them: proxy, private CA, Origin, sources, IPv6.

Each of them from the preflight to the proven end of the last session, through real processes.
"""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from locusts import locustfile, passed
from processes import Simulator, harness, start_harness
from proxies import Proxy

pytestmark = pytest.mark.process


class World:
    """A simulator and a targets file that names it, guarded as if it were real."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.simulator = simulator
        self._folder = folder
        now = datetime.now(UTC)
        opens, ends = now - timedelta(hours=2), now + timedelta(hours=2)
        self._keys = {
            "url": simulator.url,
            "treat_as_real": True,
            "time_zone": "UTC",
            "window": f"{opens:%H:%M}-{ends:%H:%M}",
            "approval": "case 1",
            "max_sessions": 5000,
        }
        if simulator.ca_file:
            self._keys["ca_file"] = simulator.ca_file
        self.name()

    def name(self, **more: Any) -> None:
        """Write the target with these keys besides."""
        keys = self._keys | more
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        (self._folder / "targets.toml").write_text("\n".join(["[targets.twin]", *lines]))

    def words(self, command: str, *more: str) -> list[str]:
        """A command for this target."""
        return [
            command, *more,
            "--target", "twin", "--targets", str(self._folder / "targets.toml"),
            "--reports", str(self._folder / "reports"),
        ]  # fmt: skip

    def harness(self, command: str, *more: str, **env: str) -> Any:
        """Run it to its end."""
        words = self.words(command, *more)
        return harness(*words, within_s=230, env={**os.environ, **env})

    def run_of_guests(self, *more: str, **env: str) -> dict[str, Any]:
        """The record of a short run; nothing is left over, whatever the verdict."""
        done = self.harness(
            "run", str(locustfile(self._folder)), "-u", "3", "-t", "3s", *more, **env
        )
        told = done.stdout + done.stderr
        assert passed(done.returncode, told), told
        return self.record()

    def record(self) -> dict[str, Any]:
        """Of the newest run."""
        path = max((self._folder / "reports").glob("2*/run.json"))
        found: dict[str, Any] = json.loads(path.read_text())
        sessions = found["sessions"]
        assert sessions["opened"] == sessions["cleared"] > 0
        return found


def world(folder: Path, *options: str) -> Iterator[World]:
    simulator = Simulator("--limits", "off", *options)
    yield World(folder, simulator)
    simulator.stop()


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[World]:
    """With TLS under a private CA."""
    yield from world(tmp_path, "--tls")


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[World]:
    """Without, and for one Origin alone."""
    more = ("--deployment", "allow_all_domains=false", "--deployment", "allowed_domains=shop.test")
    yield from world(tmp_path, *more)


@pytest.mark.long
def test_a_private_ca_that_is_another_or_none_is_told(secure: World, tmp_path: Path) -> None:
    import trustme

    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    run = ["run", str(locustfile(tmp_path)), "--override", "preflight=t"]
    other = str(tmp_path / "other.pem")
    for ca_file, command, code in ((other, run, 8), (other, ["preflight"], 7), ("", run, 8)):
        secure.name(ca_file=ca_file)
        done = secure.harness(*command)
        told = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == code, told
        assert "was not accepted" in told
        assert "ca_file" in told
        assert "Traceback" not in told
    assert secure.simulator.truth()["sessions"]["opened"] == 0


def test_by_a_proxy_that_wants_a_login(secure: World, tmp_path: Path) -> None:
    with Proxy(login="me:pass phrase") as proxy:
        secure.name(proxy=proxy.url)
        told = secure.harness("preflight").stdout
        assert "it wants a login (proxy_login_env)" in " ".join(told.split())
        secure.name(proxy=proxy.url, proxy_login_env="T_PROXY")
        unset = secure.harness("preflight")
        assert unset.returncode == 8
        assert "T_PROXY, which is not set" in unset.stderr
        assert secure.simulator.truth()["counts"] == {}, "something went past the proxy"
        login = {"T_PROXY": "me:pass phrase"}
        checked = secure.harness("preflight", **login)
        assert checked.returncode == 0, checked.stdout
        record = secure.run_of_guests(**login)
        assert record["operations"]["proxy"]["count"] == record["operations"]["connect"]["count"]
        connections = secure.simulator.truth()["counts"]["connections_opened"]
        # Whatever was opened, and the configuration, went through it.
        assert len(proxy.asked) - proxy.refused >= connections
    written = b"".join(
        path.read_bytes() for path in (tmp_path / "reports").rglob("*") if path.is_file()
    )
    assert b"pass phrase" not in written


def test_a_proxy_that_dies_in_mid_run(secure: World, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=24, think="500ms")
    with Proxy() as proxy:
        secure.name(proxy=proxy.url)
        words = ("-u", "3", "-t", "12s", "--override", "preflight=t")
        process = start_harness(*secure.words("run", str(file), *words))
        deadline = time.monotonic() + 60
        while secure.simulator.truth()["messages"]["texts"] < 6:
            assert time.monotonic() < deadline, "no guest has come"
            time.sleep(0.1)
        proxy.die()
        time.sleep(1)
        proxy.come_back()
        told, _ = process.communicate(timeout=120)
        assert passed(process.returncode, told), told
    record = secure.record()
    assert record["operations"]["resume"]["outcomes"]["ok"] == 3
    assert record["sessions"]["leftover"] == 0
    truth = secure.simulator.truth()["sessions"]
    assert truth["open"] == 0
    assert truth["opened"] == record["sessions"]["opened"]


@pytest.mark.long
def test_the_origin_that_a_deployment_asks_for(plain: World) -> None:
    plain.name(origin="https://shop.test.evil.example")
    checked = plain.harness("preflight", "--no-guest")
    assert checked.returncode == 7
    assert "Origin" in " ".join(checked.stdout.split())
    plain.name(origin="https://www.shop.test")
    plain.run_of_guests("--override", "preflight=t")
    assert plain.simulator.truth()["origins"].keys() == {"https://www.shop.test"}


@pytest.mark.long
def test_several_source_addresses(plain: World, tmp_path: Path) -> None:
    plain.name(origin="https://shop.test", sources=["127.0.0.2", "127.0.0.3", "192.0.2.1"])
    for command in (["preflight"], ["run", str(locustfile(tmp_path)), "--override", "preflight=t"]):
        done = plain.harness(*command)
        assert done.returncode == 8, done.stdout
        assert "sources: 192.0.2.1 is no address of this machine" in done.stderr
    assert plain.simulator.truth()["addresses"] == {}
    sources = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    plain.name(origin="https://shop.test", sources=sources)
    plain.run_of_guests("--override", "preflight=t")
    assert plain.simulator.truth()["addresses"].keys() == set(sources)


def test_ipv6(tmp_path: Path) -> None:
    for six in world(tmp_path, "--host", "::1"):
        assert "[::1]" in six.simulator.url
        checked = six.harness("preflight")
        assert checked.returncode == 0, checked.stdout
        six.run_of_guests()
        assert six.simulator.truth()["addresses"].keys() == {"::1"}
