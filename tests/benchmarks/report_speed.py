"""How long the report of a long run takes, and how much memory: three sizes, one process each.

    .venv/bin/python tests/benchmarks/report_speed.py [HOURS ...]

Prints a table. Ends with 1 when the report of 24 h takes more than a minute of CPU or a gigabyte,
or when cost grows faster than the run; CPU time counts, because on a quiet machine it is the time
that passes. The run directories are made of real interval files of one minute,
repeated with the clock moved on; every second has all operations.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from harness.clock import utc_iso
from harness.measure.model import OPERATIONS, Sample
from harness.measure.recorder import LAG_LOOP, Recorder
from harness.measure.snapshot import IntervalWriter

START_S = 1_795_000_000
TEMPLATE_S = 60
SAMPLES = 12
"""Of each operation in each second: with 12 guests per second this is a million sessions a day."""
LIMIT_S = 60.0
LIMIT_MB = 1024.0
HOURS = (6.0, 12.0, 24.0)


def main(hours: list[float]) -> int:
    """Measure each size; the exit code."""
    print(" hours      lines  files MB  seconds   CPU s  peak MB  CPU s/h", flush=True)
    rates = []
    failed = False
    for length_h in hours:
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(folder) / "run"
            lines = make_run(run_dir, int(length_h * 3600))
            size_mb = sum(path.stat().st_size for path in run_dir.iterdir()) / 1e6
            took_s, cpu_s, peak_mb = measure(run_dir)
        rates.append(cpu_s / length_h)
        failed |= length_h <= 24 and (cpu_s > LIMIT_S or peak_mb > LIMIT_MB)
        print(
            f"{length_h:>6g} {lines:>10,} {size_mb:>9.1f} {took_s:>8.1f} {cpu_s:>7.1f} "
            f"{peak_mb:>8.0f} {rates[-1]:>8.2f}",
            flush=True,
        )
    if rates[-1] > 1.3 * rates[0]:
        print("cost grows faster than the run")
        failed = True
    return int(failed)


def measure(run_dir: Path) -> tuple[float, float, float]:
    """(seconds, CPU seconds, peak megabytes) of ``harness report`` in a process of its own."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "report", str(run_dir)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"harness report ended with {process.returncode}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return time.monotonic() - began, cpu_s, usage.ru_maxrss / 1024


def make_run(run_dir: Path, length_s: int) -> int:
    """Write a run of this length; returns how many histogram lines it has."""
    run_dir.mkdir()
    template = run_dir / "template"
    template.mkdir()
    _write_template(template)
    intervals = (template / "intervals-w.jsonl").read_bytes().splitlines(keepends=True)
    log = (template / "histograms-w.hlog").read_text().splitlines(keepends=True)
    head, body = log[:4], [_split(line) for line in log[4:]]
    lines = 0
    with (
        (run_dir / "intervals-w0.jsonl").open("wb") as rows,
        (run_dir / "histograms-w0.hlog").open("w") as histograms,
    ):
        histograms.writelines(head)
        for shift in range(0, length_s, TEMPLATE_S):
            for row in intervals:
                ended = float(row[5 : row.index(b",")])
                rows.write(b'{"t":%.3f%s' % (ended + shift, row[row.index(b",") :]))
            histograms.writelines(f"{tag},{start + shift:.3f},{rest}" for tag, start, rest in body)
            lines += len(body)
    for path in template.iterdir():
        path.unlink()
    template.rmdir()
    record = {
        "schema": 1,
        "run_id": "long",
        "verdict": "PASS",
        "complete": True,
        "started": utc_iso(START_S * 10**9),
        "duration_s": length_s,
    }
    (run_dir / "run.json").write_bytes(orjson.dumps(record))
    return lines


def _split(line: str) -> tuple[str, float, str]:
    tag, start, rest = line.split(",", 2)
    return tag, float(start), rest


def _write_template(folder: Path) -> None:
    dice = random.Random(1)
    writer = IntervalWriter(folder, "w", started_ns=START_S * 10**9)
    for second in range(TEMPLATE_S):
        recorder = Recorder()
        for operation in OPERATIONS:
            for _ in range(SAMPLES):
                took = int(dice.lognormvariate(0, 0.5) * 2e8)
                lag = int(dice.expovariate(1 / 2e5))
                recorder.add(Sample(operation, 0, 0, took, took + lag))
        for _ in range(50):
            recorder.add_duration(LAG_LOOP, int(dice.expovariate(1 / 1e5)))
        writer.write(
            recorder.take(),
            ended_ns=(START_S + second + 1) * 10**9,
            length_s=1.0,
            state={
                "phase": "running",
                "sessions": {
                    "intended": 9,
                    "opened": 9,
                    "cleared": 8,
                    "leftover": 0,
                    "occupancy": 1,
                },
                "arrivals": {"due": SAMPLES, "started": SAMPLES, "late": 0, "dropped": 0},
                "process": {"cpu": 0.3, "rss_mb": 90.0, "fds": 30},
            },
        )
    writer.close()


if __name__ == "__main__":
    sys.exit(main([float(text) for text in sys.argv[1:]] or list(HOURS)))
