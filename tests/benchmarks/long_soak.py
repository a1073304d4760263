"""A soak of a million short sessions: does the harness itself grow?

Guests open a session, say one thing, hear the answer and clear, as fast as one process can, against
a simulator on the other core. Memory and descriptors of every process and the sizes of the files
are sampled all the while. After a warm-up the resident memory of the generator and of its
supervisor must stay within five per cent: the first 100,000 sessions (half of fewer than 200,000),
in which what is bounded fills up: the ids of the last 65,536 messages, histograms, SQLite's cache.
Ctrl-C, or a limit on time, ends it in order; what was reached is told as such::

    python tests/benchmarks/long_soak.py                        (a million; half an hour or so)
    python tests/benchmarks/long_soak.py --sessions 50000 --within 10m
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.units import seconds

STORY = """
from locust import task
from harness.load import GuestUser

class Passer(GuestUser):
    think_time = "0s"

    @task
    def ask(self):
        with self.guest() as guest:
            guest.say("Are you open on Sunday?")
            guest.await_reply(within="20s")
"""
WARM_UP = 100_000
"""Sessions; half of all where that is fewer."""
MOST_GROWTH = 0.05
EVERY_S = 5.0
ROLES = {"locust": "generator", "simulate": "simulator", "run": "supervisor"}
JUDGED = ("generator", "supervisor")


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment: sessions ended by then, and per role megabytes resident and open descriptors."""

    at_s: float
    sessions: int
    rss_mb: dict[str, float]
    fds: dict[str, int]
    files_mb: dict[str, float]


def take(began_s: float, root: psutil.Process, directory: Path) -> Sample:
    """Look at all processes and files now."""
    rss: dict[str, float] = {}
    fds: dict[str, int] = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            words = process.cmdline()
            role = next((ROLES[word] for word in words if word in ROLES), "")
            if role:
                rss[role] = rss.get(role, 0.0) + process.memory_info().rss / 1e6
                fds[role] = fds.get(role, 0) + process.num_fds()
        except psutil.Error:
            continue
    sizes = {
        name: sum(path.stat().st_size for path in directory.glob(pattern)) / 1e6
        for name, pattern in (("ledger", "ledger-*"), ("measured", "*.[jh][sl]*"))
    }
    return Sample(time.monotonic() - began_s, ended(directory), rss, fds, sizes)


def ended(directory: Path) -> int:
    """Sessions that have ended, over all processes, by their last whole interval."""
    total = 0
    for path in directory.glob("intervals-*.jsonl"):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            lines = [line for line in file.read().split(b"\n")[1:-1] if line]
        if lines:
            total += json.loads(lines[-1])["sessions"]["cleared"]
    return total


def header() -> str:
    """Of the table."""
    return (
        f"{'sessions':>10} {'time':>7} {'a second':>9} | {'generator':>9} {'fds':>5} | "
        f"{'supervisor':>10} {'fds':>5} | {'simulator':>9} {'fds':>5} | "
        f"{'ledger':>8} {'measured':>8}"
    )


def line(sample: Sample, before: Sample | None) -> str:
    """One row: megabytes and descriptors by process, megabytes of files."""
    since = sample.at_s - (before.at_s if before else 0.0)
    done = sample.sessions - (before.sessions if before else 0)
    cells = " | ".join(
        f"{sample.rss_mb.get(role, 0):>{width}.1f} {sample.fds.get(role, 0):>5}"
        for role, width in (("generator", 9), ("supervisor", 10), ("simulator", 9))
    )
    rate = done / since if since else 0.0
    return (
        f"{sample.sessions:>10,} {sample.at_s:>6.0f}s {rate:>9.1f} | {cells} | "
        f"{sample.files_mb['ledger']:>8.1f} {sample.files_mb['measured']:>8.1f}"
    )


def judge(samples: list[Sample], wanted: int) -> bool:
    """Say what was reached and how memory went after the warm-up; whether that is good enough."""
    last = samples[-1].sessions
    warm = min(WARM_UP, wanted // 2)
    after = [sample for sample in samples if sample.sessions >= warm]
    print(f"\nreached {last:,} of {wanted:,} sessions in {samples[-1].at_s:.0f} s")
    print(f"warm-up: the first {warm:,} sessions; {len(after)} samples after it")
    if len(after) < 10:
        print(f"undecided: only {len(after)} samples after the warm-up of {warm:,}")
        return False
    good = last >= wanted
    part = max(3, len(after) // 10)
    for role in sorted({role for sample in after for role in sample.rss_mb}):
        values = [sample.rss_mb.get(role, 0.0) for sample in after]
        first = statistics.median(values[:part])
        end, most = statistics.median(values[-part:]), max(values)
        within = most <= first * (1 + MOST_GROWTH)
        judged = role in JUDGED
        good = good and (within or not judged)
        fds = [sample.fds.get(role, 0) for sample in after]
        print(
            f"{role:<10} {first:7.1f} MB after the warm-up, {end:7.1f} at the end "
            f"({end / first - 1:+.1%}), at most {most:7.1f} ({most / first - 1:+.1%}); descriptors "
            f"{min(fds)} to {max(fds)}" + ("" if within or not judged else "   GREW")
        )
    ledger = after[-1].files_mb["ledger"]
    print(f"ledger {ledger:.1f} MB: {ledger * 1e6 / last:.0f} bytes a session")
    return good


def main() -> int:
    """Run it; 0 when all sessions were reached, cleared, and nothing grew."""
    parser = argparse.ArgumentParser(description="Does the harness grow over a million sessions?")
    parser.add_argument("--sessions", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--guests", type=int, default=30, metavar="N", help="at once (%(default)s)")
    parser.add_argument("--within", default="3h", metavar="TIME", help="end it then at the latest")
    parser.add_argument("--processes", type=int, metavar="N", help="worker processes")
    parser.add_argument("--out", type=Path, help="reports folder (a temporary one)")
    options = parser.parse_args()
    within_s = seconds(options.within, "--within")
    out = options.out or Path(tempfile.mkdtemp(prefix="long-soak-"))
    out.mkdir(parents=True, exist_ok=True)
    story = out / "story.py"
    story.write_text(STORY)
    command = [
        sys.executable, "-m", "harness", "run", str(story), "-u", str(options.guests),
        "-t", f"{within_s + 600:.0f}s", "--sim-bot-delay", "1ms", "--reports", str(out),
    ]  # fmt: skip
    if options.processes:
        command += ["--processes", str(options.processes)]
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _: asked.append(got))
    began_s = time.monotonic()
    samples: list[Sample] = []
    with (out / "harness.log").open("wb") as log:
        run = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    root = psutil.Process(run.pid)
    print(f"in {out}\n{header()}", flush=True)
    shown: Sample | None = None
    while run.poll() is None:
        time.sleep(EVERY_S)
        directories = [path.parent for path in out.glob("2*/start.json")]
        if not directories or run.poll() is not None:
            continue
        sample = take(began_s, root, directories[0])
        samples.append(sample)
        if shown is None or sample.sessions - shown.sessions >= options.sessions / 20:
            print(line(sample, shown), flush=True)
            shown = sample
        if sample.sessions >= options.sessions or sample.at_s >= within_s or asked:
            run.terminate()
            break
    status = run.wait()
    print(f"\nthe run itself ended with exit code {status}:")
    told = (out / "harness.log").read_text(errors="replace").strip().splitlines()
    print("\n".join(text.rstrip() for text in told[-14:]))
    if not samples:
        return 1
    good = judge(samples, options.sessions)
    return 0 if good and status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
