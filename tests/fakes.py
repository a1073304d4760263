"""A websocket server in a thread, on a real socket, that does exactly what a test tells it to.

It speaks through the library's server-side protocol and has nothing in common with our simulator.
"""

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

import orjson
import trustme
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.protocol = ServerProtocol(max_size=None)
        self._frames: list[Frame] = []
        self._ended = False
        self.close_code: int | None = None

    def accept(self, reject: tuple[int, str] | None = None) -> bool:
        """Answer the upgrade; False if there was none or it was rejected."""
        while True:
            if not self._read():
                return False
            for event in self.protocol.events_received():
                assert isinstance(event, Request)
                answer = (
                    self.protocol.accept(event)
                    if reject is None
                    else self.protocol.reject(reject[0], reject[1])
                )
                self.protocol.send_response(answer)
                self.flush()
                return reject is None

    def receive(self) -> dict[str, Any] | None:
        """The next JSON message, None at the end of the connection."""
        while not self._frames:
            if self._ended or not self._read():
                return None
            self._frames += [
                event
                for event in self.protocol.events_received()
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT
            ]
            self.flush()
        message: dict[str, Any] = orjson.loads(bytes(self._frames.pop(0).data))
        return message

    def send(self, message: object) -> None:
        """One text frame; bytes go as they are, anything else as JSON."""
        data = message if isinstance(message, bytes) else orjson.dumps(message)
        self.protocol.send_text(data)
        self.flush()

    def send_all(self, messages: Iterable[object]) -> None:
        """Several text frames in one write."""
        for message in messages:
            data = message if isinstance(message, bytes) else orjson.dumps(message)
            self.protocol.send_text(data)
        data = b"".join(self.protocol.data_to_send())
        if data:
            self.sock.sendall(data)

    def send_in_pieces(self, data: bytes, sizes: list[int]) -> None:
        """Write raw bytes in TCP segments of the given sizes, the rest at the end."""
        at = 0
        for size in sizes:
            self.sock.sendall(data[at : at + size])
            at += size
        self.sock.sendall(data[at:])

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self.protocol.send_close(code, reason)
        self.flush()

    def reset(self) -> None:
        """End the connection by a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def flush(self) -> None:
        """Write what the protocol has to say."""
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)

    def heed(self, within_s: float) -> None:
        """Do nothing for a while, but answer a close frame at once."""
        if select.select([self.sock], [], [], within_s)[0]:
            self._read()
            self.flush()

    def _read(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        if data:
            self.protocol.receive_data(data)
        else:
            self._ended = True
            with contextlib.suppress(EOFError):
                self.protocol.receive_eof()
        if self.protocol.close_rcvd is not None:
            self.close_code = self.protocol.close_rcvd.code
        return bool(data)


class FakeServer:
    """Runs ``script(peer)`` in a thread for each connection; errors of a script fail the test."""

    def __init__(
        self,
        script: Callable[[Peer], None],
        *,
        tls: bool = False,
        reject: tuple[int, str] | None = None,
    ) -> None:
        self._script = script
        self._reject = reject
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.failures: list[BaseException] = []
        self._server_tls: ssl.SSLContext | None = None
        self.client_tls: ssl.SSLContext | None = None
        if tls:
            authority = trustme.CA()
            self._server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("127.0.0.1", "localhost").configure_cert(self._server_tls)
            self.client_tls = ssl.create_default_context()
            authority.configure_trust(self.client_tls)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "FakeServer":
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(5)
        for thread in self._threads:
            thread.join(5)
        if error is None and self.failures:
            raise self.failures[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with self._secured(sock) as secured:
                secured.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = Peer(secured)
                if peer.accept(self._reject):
                    self._script(peer)
        except OSError:
            pass  # the client has gone
        except Exception as error:  # noqa: BLE001 - handed to the test in __exit__
            self.failures.append(error)

    @contextlib.contextmanager
    def _secured(self, sock: socket.socket) -> Iterator[socket.socket]:
        if self._server_tls is None:
            with sock:
                yield sock
        else:
            with self._server_tls.wrap_socket(sock, server_side=True) as secured:
                yield secured
