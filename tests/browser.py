"""A real headless Chromium, driven over its own debugging protocol on loopback.

The websocket library that the project has anyway is all that this takes; there is no driver to
install and no browser to download. Tests ask for the ``browser`` fixture, which skips them where
there is no Chromium.
"""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
PATIENCE_S = 60.0


def find_chromium() -> str | None:
    """The Chromium to use: $CHROMIUM, or the first of the usual names on the path."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One Chromium process with one page at a time."""

    def __init__(self, program: str, profile: Path) -> None:
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = profile / "DevToolsActivePort"
        self._until(lambda: port_file.exists() and len(port_file.read_text().split()) == 2)
        port, path = port_file.read_text().split()
        self._open = contextlib.ExitStack()
        self._socket: ClientConnection = self._open.enter_context(
            connect(
                f"ws://127.0.0.1:{port}{path}",
                max_size=64 * 2**20,
                proxy=None,
                ping_interval=None,  # an idle browser leaves pings unanswered
            )
        )
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._target: str | None = None
        self.console: list[str] = []
        self.requests: list[str] = []
        self._sockets: dict[str, dict[str, Any]] = {}
        """websockets of the page by the browser's number, each an entry of a HAR"""

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._open.close()  # at once: a browser that lives waits ten seconds with its answer

    def open(
        self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False
    ) -> "Browser":
        """Show a page in a window of this size; waits until it is loaded."""
        if self._target is not None:
            self._ask("Target.closeTarget", targetId=self._target)
        self._session = None
        self._target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        self.console, self.requests, self._sockets = [], [], {}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._ask(f"{domain}.enable")
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return self

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression (promises are awaited)."""
        answer = self._ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait for a JavaScript expression to become true."""
        self._until(lambda: bool(self.run(expression)))

    def har(self) -> dict[str, Any]:
        """What the page did, in the form in which Chrome exports it with its sensitive data."""
        pages = [
            {
                "request": {"method": "GET", "url": url, "headers": [], "cookies": []},
                "response": {"status": 200, "content": {}},
            }
            for url in self.requests
        ]
        sockets = [
            {key: value for key, value in entry.items() if key != "_begins_s"}
            for entry in self._sockets.values()
        ]
        creator = {"name": "WebInspector", "version": "537.36"}
        return {"log": {"version": "1.2", "creator": creator, "entries": [*pages, *sockets]}}

    def press(self, key: str, *, times: int = 1) -> None:
        """Press a named key, such as Tab or Enter."""
        code = {"Tab": 9, "Enter": 13, "Space": 32}[key]
        text = {"Enter": "\r", "Space": " "}.get(key)
        key = key.replace("Space", " ")
        for _ in range(times):
            down: dict[str, Any] = {"type": "keyDown", "key": key, "windowsVirtualKeyCode": code}
            self._ask("Input.dispatchKeyEvent", **down, **({"text": text} if text else {}))
            self._ask("Input.dispatchKeyEvent", **(down | {"type": "keyUp"}))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at one point of the window and let go at another."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        steps = (
            ("mouseMoved", start, 0),
            ("mousePressed", start, 1),
            ("mouseMoved", middle, 1),
            ("mouseMoved", end, 1),
            ("mouseReleased", end, 1),
        )
        for kind, (x, y), buttons in steps:
            self._ask(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left" if kind != "mouseMoved" or buttons else "none",
                buttons=buttons,
                clickCount=1,
            )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of the window, or of the whole page."""
        answer = self._ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def lay_out_for_paper(self) -> None:
        """Show the page by the rules of print until another one is opened."""
        self._ask("Emulation.setEmulatedMedia", media="print")

    def pdf(self, path: Path) -> None:
        """Print to a PDF file."""
        answer = self._ask("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def accessible(self) -> list[dict[str, Any]]:
        """The page as a screen reader gets it: role and name of each node."""
        nodes = self._ask("Accessibility.getFullAXTree")["nodes"]
        return [
            {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
            for node in nodes
            if not node.get("ignored")
        ]

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None and not method.startswith("Target."):
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer: dict[str, Any] = json.loads(self._socket.recv(timeout=PATIENCE_S))
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.console.append(params["exceptionDetails"]["exception"].get("description", "?"))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.console.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case str(method) if method.startswith("Network.webSocket"):
                self._note_socket(method.removeprefix("Network.webSocket"), params)

    def _note_socket(self, what: str, params: dict[str, Any]) -> None:
        entry = self._sockets.setdefault(
            params["requestId"],
            {"_resourceType": "websocket", "_webSocketMessages": [], "_begins_s": 0.0},
        )
        match what:
            case "Created":
                entry["request"] = {"method": "GET", "url": params["url"], "httpVersion": "1.1"}
            case "WillSendHandshakeRequest":
                # Frames are stamped by a clock of their own; this is what ties it to the day's.
                entry["_begins_s"] = params["wallTime"] - params["timestamp"]
                entry["request"]["headers"] = _named(params["request"]["headers"])
            case "HandshakeResponseReceived":
                answer = params["response"]
                entry["response"] = {
                    "status": answer["status"], "headers": _named(answer["headers"])
                }  # fmt: skip
            case "FrameSent" | "FrameReceived":
                frame = params["response"]
                entry["_webSocketMessages"].append(
                    {
                        "type": "send" if what == "FrameSent" else "receive",
                        "time": params["timestamp"] + entry["_begins_s"],
                        "opcode": frame["opcode"],
                        "data": frame["payloadData"],
                    }
                )

    @staticmethod
    def _until(met: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not met():
            if time.monotonic() > end:
                raise AssertionError("waited in vain for the browser")
            time.sleep(0.05)


def _named(headers: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers.items()]
