"""The private CA: usable by a client that trusts it, and the same at the next start."""

import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.simulator.server import private_ca, state_folder


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "twin.example"])
def test_the_ca_stays_the_same(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = set()
    for _ in range(2):
        with private_ca(host) as (context, ca_file):
            assert isinstance(context, ssl.SSLContext)
            ssl.create_default_context(cafile=str(ca_file))
        found.add((ca_file, ca_file.read_bytes()))
    assert len(found) == 1
    (key,) = tmp_path.rglob("ca-key.pem")
    assert key.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in key.parent.iterdir()) == ["ca-key.pem", "ca.pem"]


def test_where_nothing_can_be_kept_the_ca_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with private_ca("127.0.0.1") as (_, ca_file):
        ssl.create_default_context(cafile=str(ca_file))
    assert not ca_file.exists()


@pytest.mark.parametrize("home", ["absolute", "relative", ""])
def test_a_relative_home_is_none(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / home) if home == "absolute" else home)
    assert (state_folder() is None) == (home != "absolute")
    with private_ca("127.0.0.1") as (_, ca_file):
        ssl.create_default_context(cafile=str(ca_file))
    assert [path.name for path in tmp_path.iterdir()] == ["absolute"] * (home == "absolute")


def test_a_damaged_ca_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "harness/simulator"
    folder.mkdir(parents=True)
    (folder / "ca-key.pem").write_text("garbage")
    with private_ca("127.0.0.1") as (_, ca_file):
        ssl.create_default_context(cafile=str(ca_file))


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """In memory; raises ssl.SSLCertVerificationError when the certificate is not for ``name``."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (here, there):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    here.do_handshake()


def test_the_certificate_is_for_the_names_that_were_asked_for() -> None:
    with private_ca("0.0.0.0", "twin.example", "198.18.0.1") as (server, ca_file):
        client = ssl.create_default_context(cafile=str(ca_file))
        for name in ("twin.example", "198.18.0.1", "127.0.0.1"):
            handshake(server, client, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server, client, "other.example")


def test_what_can_be_no_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="--tls-name"), private_ca("127.0.0.1", "a b/c"):
        pass
