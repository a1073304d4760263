"""A run where the calls that only Linux knows are missing, and where the harness can't work."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from locusts import ROOT
from processes import harness

pytestmark = pytest.mark.process

WITHOUT_LINUX = """
import asyncio, ctypes, multiprocessing, os, pathlib, select, socket, subprocess, sys, sysconfig
sysconfig.get_config_vars()
import aiohttp, gevent, psutil, uvloop, zmq  # these choose by platform what they are made of

sys.platform = "darwin"
del os.sched_getaffinity
set_option = socket.socket.setsockopt

def setsockopt(self, level, name, *rest):
    if (level, name) in ((socket.SOL_SOCKET, 35), (socket.IPPROTO_IP, 24)):
        raise OSError(42, "Protocol not available")
    return set_option(self, level, name, *rest)

socket.socket.setsockopt = setsockopt
import gevent._socket3
gevent._socket3.socket.setsockopt = setsockopt

def hidden(real):
    def look(self, *rest, **more):
        if str(self).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return real(self, *rest, **more)
    return look

pathlib.Path.read_text = hidden(pathlib.Path.read_text)
pathlib.Path.readlink = hidden(pathlib.Path.readlink)
exists = pathlib.Path.exists
pathlib.Path.exists = lambda self: not str(self).startswith("/proc") and exists(self)

class NoLibrary:
    def __init__(self, *rest, **more):
        raise OSError("no such library call")

ctypes.CDLL = NoLibrary
"""


@pytest.mark.parametrize("system", ["darwin", pytest.param("linux", marks=pytest.mark.long)])
def test_a_run_needs_nothing_that_only_linux_has(system: str, tmp_path: Path) -> None:
    """``linux``: a sandbox that refuses the options of sockets."""
    text = WITHOUT_LINUX.replace('sys.platform = "darwin"', f'sys.platform = "{system}"')
    if system == "linux":  # which shows its processes
        text = text.replace('startswith("/proc")', 'startswith("/proc/sys")')
    (tmp_path / "sitecustomize.py").write_text(text)
    words = ["run", str(ROOT / "locustfiles/smoke.py"), "-u", "3", "-t", "6s"]
    done = harness(
        *words, within_s=120, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = orjson.loads((tmp_path / "reports/latest/run.json").read_bytes())
    assert record["generator"]["arrival_stamps"] == "userspace"
    assert record["sessions"]["leftover"] == 0 < record["sessions"]["cleared"]


def test_windows_is_told_what_to_use() -> None:
    words = "import sys; sys.platform = 'win32'; import harness"
    done = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: the harness needs Linux or macOS. On Windows, use it in WSL.\n"
