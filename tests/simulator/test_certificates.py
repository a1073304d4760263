"""The private CA: usable by a client that trusts it, and gone afterwards."""

import ssl
from contextlib import suppress

import pytest

from harness.errors import ConfigError
from harness.simulator.server import private_ca


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "twin.example"])
def test_the_ca_file_is_there_while_needed(host) -> None:
    with private_ca(host) as (context, ca_file):
        assert isinstance(context, ssl.SSLContext)
        ssl.create_default_context(cafile=str(ca_file))
    assert not ca_file.exists()


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
