"""A real HTTP proxy on loopback that takes CONNECT: with a login, refusing, dying, coming back."""

import contextlib
import socket
import threading
from base64 import b64encode
from types import TracebackType

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\nVia: us\r\n\r\n"


class Proxy:
    """Hands bytes on between whoever asks and wherever it asks to be led, in threads.

    ``asked`` are the places, one a request. With a ``login`` (``user:password``) requests without
    it are refused with 407; ``answer`` takes the place of every other answer.
    """

    def __init__(self, *, login: str = "", answer: bytes = b"") -> None:
        self.asked: list[str] = []
        self.refused = 0
        self._granted = f"Basic {b64encode(login.encode()).decode()}" if login else ""
        self._answer = answer
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listen(0)

    @property
    def url(self) -> str:
        """As a target's entry names it."""
        return "http://{}:{}".format(*self.address)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.die()

    def die(self) -> None:
        """Listen no more and cut what is open, as a proxy that is killed does."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """At the same address."""
        self._listen(self.address[1])

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address = ("127.0.0.1", int(self._listener.getsockname()[1]))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            place = self._ask(near)
            if not place:
                return
            host, _, port = place.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port))) as far:
                with self._lock:
                    self._open |= {near, far}
                near.sendall(ESTABLISHED)
                back = threading.Thread(target=_copy, args=(far, near), daemon=True)
                back.start()
                _copy(near, far)
                back.join(10)
                with self._lock:
                    self._open -= {near, far}

    def _ask(self, near: socket.socket) -> str:
        """Where the client wants to be led; empty when it was refused."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = near.recv(1)
            if not byte:
                return ""
            head += byte
        first, *lines = head.decode("latin-1").split("\r\n")
        method, place, _ = first.split(" ")
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        given = {name.lower(): value for name, value in fields.items()}.get(
            "proxy-authorization", ""
        )
        self.asked.append(place)
        if self._granted and given != self._granted:
            self.refused += 1
            near.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b'Proxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'
            )
            return ""
        if self._answer or method != "CONNECT":
            self.refused += 1
            near.sendall(self._answer or b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            return ""
        return place


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
