"""A relay on loopback that keeps every byte which a client sends through it."""

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit


class Relay:
    """Leads to one server; ``sent`` holds what each connection's client has said."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._towards = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = url.replace(parts.netloc, f"127.0.0.1:{port}")
        self.sent: list[bytearray] = []
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        for thread in self._threads:
            thread.join(10)
        for sock in (self._listener, *self._open):
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._towards)
                self._open += [client, server]
                kept = bytearray()
                self.sent.append(kept)
                for way in ((client, server, kept), (server, client, None)):
                    thread = threading.Thread(target=_hand_on, args=way)
                    self._threads.append(thread)
                    thread.start()


def _hand_on(source: socket.socket, sink: socket.socket, into: bytearray | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if into is not None:
                into += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def websocket_payloads(data: bytes) -> list[bytes]:
    """The payloads of a client's frames (RFC 6455 section 5.2), which are masked."""
    messages, at = [], 0
    while at + 2 <= len(data):
        size, at = data[at + 1] & 0x7F, at + 2
        more = {126: 2, 127: 8}.get(size, 0)
        if more:
            size = int.from_bytes(data[at : at + more], "big")
        mask = data[at + more : at + more + 4]
        at += more + 4
        payload = data[at : at + size]
        messages.append(bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)))
        at += size
    return messages
