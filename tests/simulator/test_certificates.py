"""The private CA: usable by a client that trusts it, and gone afterwards."""

import ssl

import pytest

from harness.simulator.certificates import private_ca


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "twin.example"])
def test_the_ca_file_is_there_while_needed(host) -> None:
    with private_ca(host) as (context, ca_file):
        assert isinstance(context, ssl.SSLContext)
        ssl.create_default_context(cafile=str(ca_file))
    assert not ca_file.exists()
