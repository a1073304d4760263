"""Listening: one port for websocket and REST, one ready line, a clean end on a signal."""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import uvloop
from aiohttp import web

from harness.config.run_config import ENVIRONMENT
from harness.errors import ConfigError
from harness.machine import raise_file_limit, starter
from harness.rundir.layout import write_atomically, write_once
from harness.simulator import admin, rest
from harness.simulator.guest_api import attachments, authentication, messages, sessions, upgrade
from harness.simulator.platform_api import conversations, query
from harness.simulator.service import Service
from harness.simulator.settings import Settings

if TYPE_CHECKING:
    import trustme


@contextmanager
def private_ca(host: str, *more: str) -> Iterator[tuple[ssl.SSLContext, Path]]:
    """A CA that stays the same for this user: (the server's context, the CA's PEM file).

    Where nothing can be kept (a read-only home, an unknown user) it is made at start and gone at
    exit.

    The certificate is for loopback, for ``host`` unless it stands for all addresses, and for the
    names or addresses in ``more``. Raises ConfigError for what can be no name.
    """
    import trustme  # for TLS alone

    names = {"localhost", "127.0.0.1", "::1", *more}
    try:
        if not ip_address(host).is_unspecified:
            names.add(host)
    except ValueError:
        names.add(host)
    authority, ca_file = stored_ca(state_folder()) or (trustme.CA(), None)
    try:
        server = authority.issue_cert(*sorted(names))
    except ValueError as error:
        raise ConfigError(f"--tls-name: a certificate can't be made: {error}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.configure_cert(context)
    if ca_file is not None:
        yield context, ca_file
        return
    with tempfile.TemporaryDirectory(prefix="harness-simulator-") as folder:
        ca_file = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        yield context, ca_file


def state_folder() -> Path | None:
    """Where this user's programs keep their state; None for a user who has no home.

    A relative path is none (so the XDG base directory specification): it would be another folder
    wherever a command is started.
    """
    folder = Path(ENVIRONMENT.get("XDG_STATE_HOME", ""))
    with suppress(RuntimeError):
        if not folder.is_absolute() and ENVIRONMENT.get("HOME") != "":  # would be the root
            folder = Path.home() / ".local/state"
        return folder / "harness" / "simulator" if folder.is_absolute() else None
    return None


def stored_ca(folder: Path | None) -> "tuple[trustme.CA, Path] | None":
    """The CA in ``folder``, created if there is none; None where that is not possible."""
    import trustme

    if folder is None:
        return None
    whole, cert = folder / "ca-key.pem", folder / "ca.pem"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not whole.exists():
            made = trustme.CA()
            write_once(whole, made.cert_pem.bytes() + made.private_key_pem.bytes())
        text = whole.read_bytes()
        authority = trustme.CA.from_pem(text, text)
        if not cert.exists() or cert.read_bytes() != authority.cert_pem.bytes():
            write_atomically(cert, authority.cert_pem.bytes())
    except (OSError, ValueError):
        return None
    return authority, cert


PARTS = (admin, attachments, authentication, sessions, messages, rest, query, conversations)
BACKLOG = 4096
SHUTDOWN_S = 0.5
ORPHANED_AFTER_S = 15.0
"""After so long without a guest the simulator stops if the process that started it is gone. (A run
whose supervisor has died clears, sweeps and reads the truth meanwhile.)"""


def application(service: Service) -> web.Application:
    app = web.Application(
        middlewares=[admin.loopback_only],
        logger=_silenced_logger(),
        client_max_size=64 * 1024 * 1024,
    )
    app.router.add_get("/v1", partial(upgrade.accept, service))
    upgrade.add_rules(app, service)
    for part in PARTS:
        part.add_routes(app, service)
    return app


def _silenced_logger() -> logging.Logger:
    """aiohttp's logger, silenced: it prints a traceback for each malformed request, which is normal
    here."""
    for name in ("aiohttp.server", "aiohttp.websocket", "aiohttp.web"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return logging.getLogger("aiohttp.server")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises ConfigError if the address can't be had."""
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigError(f"can't listen on {host!r}: {error}") from None
    try:
        sock = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} on {host} is in use; choose another, or --port 0 for any free one"
            ) from None
        why = os.strerror(error.errno or 0)
        raise ConfigError(f"can't listen on {host} port {port}: {why}") from None
    sock.setblocking(False)
    return sock


def ready_line(service: Service, sock: socket.socket, ca_file: str | None) -> dict[str, object]:
    """What is printed once the service listens."""
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    line: dict[str, object] = {
        "url": f"{'wss' if ca_file else 'ws'}://{shown}:{port}/v1",
        "deployment_id": next(iter(service.deployments)),
        "target": "",
        "pid": os.getpid(),
    }
    line["target"] = f"{line['url']}?deploymentId={line['deployment_id']}"
    if ca_file:
        line["ca_file"] = ca_file
    return line


@contextmanager
def question_file(service: Service, path: Path) -> Iterator[None]:
    """A line for each question, at the latest when the service ends. Raises ConfigError."""
    try:
        file = path.open("wb")
    except OSError as error:
        raise ConfigError(f"--questions: {path}: can't be written ({error.strerror})") from None
    with file:
        service.write_question = lambda row: file.write(orjson.dumps(row) + b"\n")
        try:
            yield
        finally:
            service.truth.questions.end()


async def serve(settings: Settings, sock: socket.socket) -> None:
    """Run until SIGTERM, SIGINT, or the terminal has gone (unless ``nohup`` has started us)."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    with ExitStack() as cleanup:
        context: ssl.SSLContext | None = None
        ca_file: str | None = None
        if settings.tls:
            context, path = cleanup.enter_context(private_ca(settings.host, *settings.tls_names))
            ca_file = str(path)
        service = Service(settings, loop)
        if settings.questions is not None:
            cleanup.enter_context(question_file(service, settings.questions))
        runner = web.AppRunner(
            application(service), access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S
        )
        await runner.setup()
        await web.SockSite(runner, sock, ssl_context=context, backlog=BACKLOG).start()
        keeper = asyncio.create_task(service.end_what_is_old())
        above = starter()
        if above is not None:
            loop.add_reader(above.fd, orphaned, above.fd, service, stop)
        print(orjson.dumps(ready_line(service, sock, ca_file)).decode(), flush=True)
        await stop.wait()
        keeper.cancel()
        for connection in list(service.connections):
            connection.close(1001, "Going away")
        await runner.cleanup()


def orphaned(fd: int, service: Service, stop: asyncio.Event) -> None:
    """Stop by itself, after a time without guests, once its starter has gone."""
    loop = asyncio.get_running_loop()
    loop.remove_reader(fd)
    last = loop.time()

    def check_alone() -> None:
        nonlocal last
        if service.connections:
            last = loop.time()
        if loop.time() - last >= ORPHANED_AFTER_S:
            stop.set()
        else:
            loop.call_later(0.5, check_alone)

    check_alone()


def run(settings: Settings) -> None:
    """Run the simulator in this process. Raises ConfigError if the port is not available."""
    sock = listen(settings.host, settings.port)
    raise_file_limit()  # one is needed per guest
    # hardly anything here is cyclic: looking for it after every 700 objects costs a tenth of all
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, sock))
