"""What a master costs: CPU, memory and bytes on the channel, with some numbers of workers.

    .venv/bin/python tests/benchmarks/master_cost.py [WORKERS ...]

Master and workers run on this machine, the workers from empty folders, some of them forked by one
command: to start so many anew would take the machine minutes. After the start, of which
nothing is measured, the figures are those of ``MEASURED_S`` seconds in the middle of a run. Bytes
are counted by the kernel, at the master's end of each connection (``ss``).
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from harness.supervise.children import free_port

NUMBERS = (2, 8, 32)
PER_WORKER_PER_S = 0.25
"""New guests a second of each worker."""
FORKED = 8
"""Workers of one command."""
SETTLES_S, MEASURED_S, SPARE_S = 8, 20, 6
COME_WITHIN_S = 500
BYTES = re.compile(r"bytes_(sent|received):(\d+)")


def main(numbers: list[int]) -> int:
    """Measure each; the exit code."""
    print("workers   of one core   memory MB   kB/s in   kB/s out   kB/s a worker", flush=True)
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(number, Path(folder))
        print(
            "{:>7} {:>11.2%} {:>11.1f} {:>9.1f} {:>10.1f} {:>15.2f}".format(number, *row),
            flush=True,
        )
    return 0


def measure(workers: int, folder: Path) -> tuple[float, float, float, float, float]:
    """(share of a core, MB, kB/s in, kB/s out, kB/s of a worker in both directions)."""
    port = free_port()
    over_s = SETTLES_S + MEASURED_S + SPARE_S
    reports = folder / "master"
    words = [
        "run", "locustfiles/load.py", "--master", "--expect-workers", str(workers),
        "--workers-within", f"{COME_WITHIN_S}s", "--master-port", port, "--over", f"{over_s}s",
        "--rate", f"{PER_WORKER_PER_S * workers:g}/s", "--reports", str(reports),
    ]  # fmt: skip
    processes: list[Any] = [_start(words)]
    try:
        for first in range(0, workers, FORKED):
            place = ["worker", f"127.0.0.1:{port}", "--reports", str(folder / f"worker-{first}")]
            forked = min(FORKED, workers - first)
            processes.append(_start([*place, "--processes", str(forked)]))
        _wait_for(reports, processes[0])
        time.sleep(SETTLES_S)
        master = _locust_of(processes[0].pid)
        before, began = (_cpu_s(master), *_bytes(port)), time.monotonic()
        time.sleep(MEASURED_S)
        took_s = time.monotonic() - began
        cpu_s, got, sent = (
            after - first
            for after, first in zip((_cpu_s(master), *_bytes(port)), before, strict=True)
        )
        memory_mb = master.memory_info().rss / 1e6
        in_s, out_s = got / took_s / 1000, sent / took_s / 1000
        for process in processes:
            process.wait(COME_WITHIN_S)
        return cpu_s / took_s, memory_mb, in_s, out_s, (in_s + out_s) / workers
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()


def _start(words: list[str]) -> Any:
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for(reports: Path, master: Any) -> None:
    deadline = time.monotonic() + COME_WITHIN_S
    while not list(reports.glob("2*/start.json")):
        if time.monotonic() > deadline or master.poll() is not None:
            raise TimeoutError("the run has not begun")
        time.sleep(0.2)


def _locust_of(pid: int) -> psutil.Process:
    (found,) = [one for one in psutil.Process(pid).children() if "harness.load" in one.cmdline()]
    return found


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _bytes(port: str) -> tuple[int, int]:
    """(received, sent) at the master's end of all connections so far."""
    command = ["ss", "-tinH", "state", "established", f"( sport = :{port} )"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    total = {"received": 0, "sent": 0}
    for way, number in BYTES.findall(text):
        total[way] += int(number)
    return total["received"], total["sent"]


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]] or list(NUMBERS)))
