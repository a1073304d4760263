"""The progress shows the newest state of all processes, from whole lines only."""

import io
import os
import re
import time
from contextlib import closing, suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live

from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.measure.snapshot import IntervalWriter
from harness.rundir.layout import AT_THE_END
from harness.supervise.progress import Display, Progress, Tail

MS = 1_000_000


def write(
    directory: Path, worker: str, *, phase: str, occupancy: int, replies: bool = True
) -> None:
    writer = IntervalWriter(directory, worker, started_ns=10**18)
    recorder = Recorder()
    if replies:
        recorder.add(Sample("reply", 0, 0, 40 * MS, 40 * MS))
        recorder.add(Sample("reply", 0, 0, 0, 0, Outcome.LOST))
    writer.write(
        recorder.take(),
        ended_ns=10**18 + 10**9,
        length_s=1.0,
        state={
            "phase": phase,
            "sessions": {"opened": 7, "cleared": 5, "leftover": 1, "occupancy": occupancy},
            "arrivals": {"due": 9, "late": 2, "dropped": 1},
            "process": {},
        },
    )
    writer.close()


def test_processes_are_added_up(tmp_path: Path) -> None:
    write(tmp_path, "a", phase="running", occupancy=1)
    write(tmp_path, "b", phase="clearing", occupancy=2)
    progress = Progress(tmp_path, run_time_s=60)
    progress.refresh()
    assert progress.phase == "clearing"
    assert progress.total("sessions", "occupancy") == 3
    assert progress.arrivals == {"due": 18, "late": 4, "dropped": 2}
    line = progress.line()
    assert "opened 14  cleared 10  left over 2  errors 2" in line
    assert "reply p95 40 ms" in line
    assert "clearing what is still open: 10 of 14 cleared, 3 to go" in line
    console = Console(width=100)
    with console.capture() as captured:
        console.print(progress.view())
    assert "left over 2" in captured.get()
    assert "2 processes" in captured.get()
    assert "10 of 14 cleared, 3 to go" in captured.get()
    assert "reply" in captured.get()


def test_a_narrow_terminal_shows_it_whole(tmp_path: Path) -> None:
    write(tmp_path, "a", phase="clearing", occupancy=1)
    progress = Progress(tmp_path, run_time_s=60)
    progress.refresh()
    file = io.StringIO()
    console = Console(file=file, width=40, force_terminal=True, soft_wrap=True, color_system=None)
    with Live(progress.view(), console=console, auto_refresh=False):
        pass
    shown = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    assert max(map(len, shown.splitlines())) <= 40
    words = " ".join(shown.split())
    assert "clearing what is still open: 5 of 7 cleared, 1 to go" in words
    assert "left over 1" in words
    assert "dropped 1 errors 1" in words


def test_what_was_not_measured_yet_is_not_in_the_line(tmp_path: Path) -> None:
    write(tmp_path, "a", phase="running", occupancy=1, replies=False)
    progress = Progress(tmp_path, run_time_s=60)
    progress.refresh()
    console = Console(width=100)
    with console.capture() as captured:
        console.print(progress.view())
    for text in (progress.line(), captured.get()):
        assert "errors 0" in text
        assert " ms" not in text.replace("p50 ms", "").replace("p95 ms", "").replace("max ms", "")


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x-1"
    tail = Tail(tmp_path, "x-*")
    path.write_bytes(b"one\ntw")
    assert list(tail.lines()) == [("x-1", b"one")]
    path.write_bytes(b"one\ntwo\n")
    assert list(tail.lines()) == [("x-1", b"two")]


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=False)
    with closing(Display(Progress(tmp_path, run_time_s=1), console)) as display:
        # Nothing has happened yet, so nothing is said.
        write(tmp_path, "a", phase="running", occupancy=1)
        display.say("stopping")
    lines = file.getvalue().strip().splitlines()
    assert len(lines) == 2
    assert "running" in lines[1] or "running" in lines[0]
    assert "stopping" in lines


def test_what_the_end_of_the_run_waits_for_is_shown_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a", phase="ended", occupancy=0)
    stream = io.StringIO()
    progress = Progress(tmp_path, run_time_s=60)
    with (
        closing(Display(progress, Console(file=stream, width=200))),
        (tmp_path / "locust.log").open("w") as log,
    ):
        log.write(f"Locust's own\n{AT_THE_END}waiting 58s: 2 sessions\n")
        log.flush()
        deadline = time.monotonic() + 20
        while "waiting" not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
        lines = stream.getvalue().splitlines()
    assert lines[-1] == f"{AT_THE_END}waiting 58s: 2 sessions"
    assert "Locust's own" not in stream.getvalue()


def test_a_terminal_that_takes_nothing_holds_up_nobody(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    with os.fdopen(writer, "w") as full:
        display = Display(Progress(tmp_path, run_time_s=1), Console(file=full))
        for _ in range(100):
            display.say("stopping")
        display.close(within_s=0.1)  # comes back
        output = b""
        while output.count(b"stopping") < 100:  # once it is read again, it is all there
            output += os.read(reader, 65_536)
    os.close(reader)


def test_a_mistake_in_what_is_shown_ends_the_showing_and_not_what_is_said(tmp_path: Path) -> None:
    class Mistaken(Progress):
        def refresh(self) -> None:
            raise ZeroDivisionError("a mistake")

    file = io.StringIO()
    mistaken = Display(Mistaken(tmp_path, run_time_s=1), Console(file=file, width=200))
    with closing(mistaken) as display:
        display.say("stopping")
    assert "stopping" in file.getvalue()
    assert "can't be shown any more: ZeroDivisionError" in file.getvalue()


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a", phase="running", occupancy=1)
    path = tmp_path / "intervals-a.jsonl"
    bad = b'{"t": 1}\n7\n{"t": 1, "s": "x", "arrivals": [], "outcomes": 3, "sessions": {}}\n\xff\n'
    path.write_bytes(bad + path.read_bytes())
    progress = Progress(tmp_path, run_time_s=60)
    progress.refresh()
    assert progress.total("sessions", "occupancy") == 1
    assert progress.phase == "running"
