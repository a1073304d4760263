"""A private certificate authority for ``--tls``, made at start and gone at exit."""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import trustme

from harness.errors import ConfigError


@contextmanager
def private_ca(host: str, *more: str) -> Iterator[tuple[ssl.SSLContext, Path]]:
    """(the server's context, the CA's PEM file); the file is removed on the way out.

    The certificate is for loopback, for ``host`` unless it stands for all addresses, and for the
    names or addresses in ``more``. Raises ConfigError for what can be no name.
    """
    names = {"localhost", "127.0.0.1", "::1", *more}
    try:
        if not ip_address(host).is_unspecified:
            names.add(host)
    except ValueError:
        names.add(host)
    authority = trustme.CA()
    try:
        server = authority.issue_cert(*sorted(names))
    except ValueError as error:
        raise ConfigError(f"--tls-name: a certificate can't be made: {error}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.configure_cert(context)
    with tempfile.TemporaryDirectory(prefix="harness-simulator-") as folder:
        ca_file = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        yield context, ca_file
