"""Several machines: folders that share no file, a master in the one that has the files."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from locusts import ROOT
from processes import start_harness

from harness.supervise.children import free_port


class Machines:
    """A master in a folder with the files, and workers in empty ones."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder, self.target, self.port = folder, target, free_port()
        self.processes: list[Any] = []
        (folder / "m").mkdir()

    def master(self, file: Path, *more: str, workers: int = 2, target: str = "") -> Any:
        return self._start(
            "m", "run", str(file), "--target", target or self.target, "--master",
            "--expect-workers", str(workers), "--master-port", self.port, *more,
        )  # fmt: skip

    def capacity(self, file: Path, *more: str, workers: int = 2) -> Any:
        return self._start(
            "m", "capacity", str(file), "--target", self.target, "--master",
            "--expect-workers", str(workers), "--master-port", self.port, *more,
        )  # fmt: skip

    def worker(self, name: str, *more: str, **env: str) -> Any:
        (self.folder / name).mkdir()
        return self._start(name, "worker", f"127.0.0.1:{self.port}", *more, **env)

    def _start(self, home: str, *words: str, **env: str) -> Any:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("HARNESS_")}
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        process = start_harness(
            *words,
            cwd=self.folder / home,
            env={**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), **env},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def end(self, process: Any, within_s: float = 90) -> tuple[int, str]:
        output, _ = process.communicate(timeout=within_s)
        return process.returncode, output

    @property
    def left_behind(self) -> list[str]:
        return [path.name for path in (self.folder / "tmp").glob("harness-worker-*")]

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def sessions(simulator: Any) -> tuple[int, set[str]]:
    """How many the service has opened, and which are open, as it says itself."""
    truth = simulator.truth()
    return int(truth["sessions"]["opened"]), set(truth["open_tokens"])
