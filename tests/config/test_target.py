"""Targets are understood or refused with the reason, before anything is sent."""

import ssl
from pathlib import Path

import pytest
import trustme

from harness.config.target import deployment_id, parse_target
from harness.errors import ConfigError

ID = "12345678-90ab-cdef-1234-567890abcdef"


def test_a_target_survives_the_trip_through_its_url() -> None:
    for url in (
        f"ws://127.0.0.1:8080/v1?deploymentId={ID}",
        f"wss://webmessaging.example:443/v1?deploymentId={ID}",
        f"ws://[::1]:99/v1?deploymentId={ID}",
    ):
        target = parse_target(url)
        assert parse_target(target.url) == target
        assert target.url == url


def test_defaults_of_the_parts() -> None:
    target = parse_target(f"wss://webmessaging.example?deploymentId={ID}")
    assert (target.port, target.path, target.loopback) == (443, "/v1", False)
    assert parse_target(f"ws://localhost?deploymentId={ID}").loopback
    assert parse_target(f"ws://[::1]:5?deploymentId={ID}").loopback


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1/v1", "not a websocket URL"),
        ("sim2", "not a websocket URL"),
        ("ws://127.0.0.1:99999/v1", "not a URL"),
        ("ws://[::1/v1", "not a URL"),
        ("ws://127.0.0.1/v1", "lacks its deploymentId"),
        ("ws://127.0.0.1/v1?deploymentId=abc", "not a UUID"),
        (f"ws://me:secret@127.0.0.1/v1?deploymentId={ID}", "must not hold a user name"),
    ],
)
def test_malformed_targets_are_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_target(url)


def test_deployment_ids_have_one_form() -> None:
    assert deployment_id(ID.upper()) == ID
    with pytest.raises(ConfigError, match="not a UUID"):
        deployment_id(ID.replace("-", ""))


def test_a_ca_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    target = parse_target(f"wss://127.0.0.1?deploymentId={ID}", ca_file=str(missing))
    with pytest.raises(ConfigError, match=r"ca\.pem can't be used"):
        target.tls_context()
    assert parse_target(f"ws://127.0.0.1?deploymentId={ID}").tls_context() is None


@pytest.mark.parametrize("own_ca", [True, False])
def test_a_service_has_to_prove_who_it_is(own_ca: bool, tmp_path: Path) -> None:
    authority, ca_file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    url = f"wss://webmessaging.example?deploymentId={ID}"
    context = parse_target(url, ca_file=str(ca_file) if own_ca else None).tls_context()
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    if own_ca:
        shake_hands(context, authority, "webmessaging.example")
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            shake_hands(context, authority, "other.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake_hands(context, trustme.CA(), "webmessaging.example")


def shake_hands(ours: ssl.SSLContext, authority: trustme.CA, name: str) -> None:
    """TLS with a server whose certificate is of this authority and for this name."""
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(theirs)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(down, up, server_hostname="webmessaging.example")
    server = theirs.wrap_bio(up, down, server_side=True)
    waiting = [client, server]
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
