"""Two machines and a switch between them, made of network namespaces; only root can make them.

The addresses exist only inside the namespaces. The cut is in the middle: neither end is told, what
is sent just does not arrive.
"""

import os
import shutil
import subprocess
import uuid
from pathlib import Path

NEAR, FAR = "198.18.77.1", "198.18.77.2"  # RFC 2544: reserved for benchmarks, routed nowhere


class NotHere(Exception):
    """Why there can be no namespaces."""


class Network:
    """``near`` and ``far``; the far one also has a host name of its own."""

    def __init__(self) -> None:
        """Raises NotHere with the reason."""
        if os.geteuid() != 0:
            raise NotHere("only root can make network namespaces")
        if not shutil.which("ip") or not shutil.which("unshare"):
            raise NotHere("there is no 'ip' or no 'unshare' (Debian: apt-get install iproute2)")
        mark = uuid.uuid4().hex[:6]
        self._near, self._far, self._switch = (f"hn-{mark}-{n}" for n in ("near", "far", "mid"))
        try:
            for name in (self._near, self._far, self._switch):
                _ip("netns", "add", name)
            _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "bridge", "up")
            for name, port, address in (
                (self._near, "to-near", NEAR),
                (self._far, "to-far", FAR),
            ):
                wire = ["link", "add", port, "netns", self._switch, "type", "veth"]
                _ip(*wire, "peer", "name", "wire", "netns", name)
                _ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")
                _ip("-n", name, "addr", "add", f"{address}/30", "dev", "wire")
                for device in ("wire", "lo"):
                    _ip("-n", name, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            self.close()
            raise NotHere(f"no network namespaces: {error.stderr.strip()}") from None

    def near(self, *words: str) -> list[str]:
        """A command, as it is run at the near end."""
        return ["ip", "netns", "exec", self._near, *words]

    def far(self, disk: Path, place: Path, *words: str) -> list[str]:
        """A command, as it is run at the far end: a machine with a name and a disk of its own.

        What it finds and writes in the folder ``place`` is really in the folder ``disk``.
        """
        script = 'hostname far-away && mount --bind "$0" "$1" && shift && exec "$@"'
        return [
            *("ip", "netns", "exec", self._far),
            *("unshare", "--uts", "--mount", "sh", "-c", script, str(disk), str(place), *words),
        ]

    def cut(self) -> None:
        """From now on nothing arrives."""
        _ip("-n", self._switch, "link", "set", "to-far", "nomaster")

    def mend(self) -> None:
        """And now it does again, also what TCP sends once more."""
        _ip("-n", self._switch, "link", "set", "to-far", "master", "bridge")

    def close(self) -> None:
        """Take it all down."""
        for name in (self._near, self._far, self._switch):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, text=True, check=True, timeout=20)
