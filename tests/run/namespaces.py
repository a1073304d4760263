"""Two machines and a switch between them, made of network namespaces; only root can make them.

The addresses exist only inside the namespaces. The cut is in the middle: neither end is told, what
is sent just does not arrive.
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from processes import start_simulator

NEAR, FAR = "198.18.77.1", "198.18.77.2"  # RFC 2544: reserved for benchmarks, routed nowhere
TARGETS = """\
[targets.beyond]
url = "{url}"
config_url = "{config_url}"
ca_file = "{ca_file}"
time_zone = "UTC"
window = "{opens:%H:%M}-{ends:%H:%M}"
approval = "a network of our own that nobody else is in"
max_sessions = 5000
"""


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


class Twin:
    """The simulator at the near end; it is asked from there."""

    def __init__(self, network: Network) -> None:
        self._network = network
        words = ("--host", "0.0.0.0", "--tls", "--tls-name", NEAR, "--bot-delay", "5ms")
        inside = network.near()
        self.process, self.ready = start_simulator(*words, "--limits", "off", inside=inside)
        self.port = self.ready["url"].rpartition(":")[2].removesuffix("/v1")

    def open_tokens(self) -> set[str]:
        ask = (
            "import ssl, sys, urllib.request\n"
            "context = ssl.create_default_context(cafile=sys.argv[2])\n"
            "print(urllib.request.urlopen(sys.argv[1], context=context).read().decode())\n"
        )
        url = f"https://127.0.0.1:{self.port}/sim/truth"
        done = subprocess.run(
            self._network.near(sys.executable, "-c", ask, url, self.ready["ca_file"]),
            capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
        return set(json.loads(done.stdout)["open_tokens"])

    def targets(self, file: Path) -> Path:
        deployment = self.ready["deployment_id"]
        now = datetime.now(UTC)
        file.write_text(
            TARGETS.format(
                url=f"wss://{NEAR}:{self.port}/v1?deploymentId={deployment}",
                config_url=f"https://{NEAR}:{self.port}"
                f"/webdeployments/v1/deployments/{deployment}/config.json",
                ca_file=self.ready["ca_file"],
                opens=now - timedelta(hours=2),
                ends=now + timedelta(hours=2),
            )
        )
        return file

    def stop(self) -> None:
        self.process.end()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, text=True, check=True, timeout=20)
