"""What a run is pointed at, validated before anything is sent."""

import ipaddress
import ssl
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from harness.config.run_config import ENVIRONMENT
from harness.errors import ConfigError

EXAMPLE_URL = "ws://127.0.0.1:PORT/v1?deploymentId=UUID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A deployment's guest socket. Made by :func:`parse_target`."""

    scheme: str
    host: str
    port: int
    path: str
    deployment_id: str
    ca_file: Path | None = None
    origin: str | None = None
    proxy: tuple[str, int] | None = None
    """host and port of an HTTP proxy that takes CONNECT"""
    proxy_login_env: str = ""
    """the environment variable that holds its user:password; the login itself is kept nowhere"""
    sources: tuple[str, ...] = ()
    """addresses of this machine to connect from, in turn: each has its own range of ports"""

    @property
    def url(self) -> str:
        """The whole URL, as :func:`parse_target` takes it."""
        return f"{self.scheme}://{self.netloc}{self.resource}"

    @property
    def netloc(self) -> str:
        """host:port, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def proxy_url(self) -> str | None:
        """As :func:`parse_target` takes it; there is no login in it."""
        if self.proxy is None:
            return None
        host, port = self.proxy
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def resource(self) -> str:
        """Path and query of the upgrade request."""
        return f"{self.path}?{urlencode({'deploymentId': self.deployment_id})}"

    @property
    def loopback(self) -> bool:
        """Whether the target is on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def proxy_login(self, environment: Mapping[str, str] = ENVIRONMENT) -> str:
        """The proxy's ``user:password``; empty if it asks for none. Raises ConfigError."""
        if self.proxy is None or not self.proxy_login_env:
            return ""
        login = environment.get(self.proxy_login_env, "")
        user, colon, _ = login.partition(":")
        if not user or not colon or not login.isprintable():
            raise ConfigError(
                f"the proxy's login: expected user:password in the environment variable "
                f"{self.proxy_login_env}, which is {'malformed' if login else 'not set'}"
            )
        return login

    def tls_context(self) -> ssl.SSLContext | None:
        """A context to share among all connections; None for ``ws``. Raises ConfigError."""
        if self.scheme == "ws":
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the CA file {self.ca_file} can't be used: {error.strerror or error}"
            ) from error


def parse_target(
    url: str,
    *,
    ca_file: str | None = None,
    origin: str | None = None,
    proxy: str | None = None,
    proxy_login_env: str = "",
    sources: Sequence[str] = (),
) -> Target:
    """``ws(s)://host[:port]/v1?deploymentId=UUID`` as a Target. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"the target {url!r} is not a URL: {error}") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigError(f"the target {url!r} is not a websocket URL; expected {EXAMPLE_URL}")
    if parts.username or parts.password:
        raise ConfigError("the target must not hold a user name or password")
    ids = parse_qs(parts.query).get("deploymentId", [])
    if len(ids) != 1:
        raise ConfigError(f"the target {url!r} lacks its deploymentId; expected {EXAMPLE_URL}")
    return Target(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or (443 if parts.scheme == "wss" else 80),
        path=parts.path or "/v1",
        deployment_id=deployment_id(ids[0]),
        ca_file=Path(ca_file) if ca_file else None,
        origin=origin or None,
        proxy=_proxy(proxy) if proxy else None,
        proxy_login_env=_login_env(proxy_login_env, proxy),
        sources=tuple(_address(source) for source in sources),
    )


def _proxy(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "http" or not parts.hostname or port is None or parts.username:
        # What stands there may be a password: it is not repeated.
        login = "@" in text
        raise ConfigError(
            "proxy: a login does not go into the URL; name the environment variable that holds "
            "user:password with proxy_login_env"
            if login
            else f"proxy: expected http://host:port (it is asked to CONNECT), got {text!r}"
        )
    return parts.hostname, port


def _login_env(name: str, proxy: str | None) -> str:
    if name and not proxy:
        raise ConfigError("proxy_login_env: there is no proxy that it belongs to")
    if name and not name.isidentifier():
        raise ConfigError("proxy_login_env: expected the name of an environment variable")
    return name


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigError(
            f"sources: expected an IP address of this machine, got {text!r}"
        ) from None


def deployment_id(text: str) -> str:
    """A deployment id in its canonical form. Raises ConfigError unless it is a UUID."""
    try:
        canonical = str(uuid.UUID(text))
    except ValueError:
        canonical = ""
    if canonical != text.lower():
        raise ConfigError(
            f"the deployment id {text!r} is not a UUID such as 12345678-90ab-cdef-1234-567890abcdef"
        )
    return canonical
