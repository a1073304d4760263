"""A private certificate authority for ``--tls``, made at start and gone at exit."""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import trustme


@contextmanager
def private_ca(host: str) -> Iterator[tuple[ssl.SSLContext, Path]]:
    """(the server's context, the CA's PEM file); the file is removed on the way out."""
    names = {"localhost", "127.0.0.1", "::1"}
    try:
        if not ip_address(host).is_unspecified:
            names.add(host)
    except ValueError:
        names.add(host)
    authority = trustme.CA()
    server = authority.issue_cert(*sorted(names))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.configure_cert(context)
    with tempfile.TemporaryDirectory(prefix="harness-simulator-") as folder:
        ca_file = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        yield context, ca_file
