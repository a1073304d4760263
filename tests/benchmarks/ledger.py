"""What the ledger costs: lag added to the event loop at 1,000 session events a second, and bytes.

``python tests/benchmarks/ledger.py``, on a quiet machine, measures the same loop in turn without
and with a ledger that takes 1,000 changes a second (each session: intended, configured, joined, its
message's id, clearing, cleared), checkpoints and durable intents included; then it writes a million
sessions. Whatever else the machine does only adds to a round, so the least of the rounds counts.
"""

import argparse
import tempfile
import time
from pathlib import Path

import gevent

from harness.ledger.ledger import Ledger, Stage, Store, derive
from harness.load.health import LoopLag
from harness.measure.histogram import Histogram

STEPS = (Stage.CONFIGURED, Stage.JOINED, Stage.JOINED, Stage.CLEARING, Stage.CLEARED)
SHOWN = (50, 99, 99.9, 100)
EVENTS_PER_SESSION = 1 + len(STEPS)


def guest(ledger: Ledger, token: str, waits: Histogram) -> None:
    """One session's way through the ledger, over a second."""
    entry = ledger.record_intent(token)
    began = time.monotonic_ns()
    ledger.flush()
    waits.record_many_ns([time.monotonic_ns() - began])
    for number, stage in enumerate(STEPS):
        gevent.sleep(0.2)
        ledger.mark(entry, stage, message_id="0123456789abcdef" * 2 if number == 2 else "")


def lag(seconds: float, events_per_s: float, folder: Path | None) -> tuple[Histogram, Histogram]:
    """The loop's lateness while a ledger in ``folder`` (if any) works; the waits for intents."""
    late, waits = Histogram(), Histogram()
    watch = LoopLag(lambda late_ns: late.record_many_ns([late_ns]))
    ledger = None if folder is None else Ledger(Store(folder / "ledger-b.sqlite", {}))
    watch.start()
    due, number, end = time.monotonic(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        due += EVENTS_PER_SESSION / events_per_s
        gevent.sleep(max(0.0, due - time.monotonic()))
        number += 1
        if ledger is not None:
            gevent.spawn(guest, ledger, derive(b"b" * 32, 0, number), waits)
    gevent.sleep(1.2)
    watch.stop()
    if ledger is not None:
        ledger.close()
    return late, waits


def bytes_per_session(sessions: int, folder: Path) -> float:
    """The size of a closed ledger of so many cleared sessions, each with its message's id."""
    store = Store(folder / "ledger-s.sqlite", {})
    for start in range(1, sessions + 1, 10_000):
        numbers = range(start, min(start + 10_000, sessions + 1))
        now = time.time_ns()
        store.write(
            [(n, derive(b"s" * 32, 0, n), Stage.INTENDED, now, now) for n in numbers], [], {}
        )
        store.write([], [(Stage.CLEARED, "", f"{n:032x}", now, n) for n in numbers], {})
    store.close()
    return store.path.stat().st_size / sessions


def _text(values: list[float]) -> str:
    return ", ".join(f"p{p:g} {value:.2f}" for p, value in zip(SHOWN, values, strict=True))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="for each half of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=float, default=1000, help="a second")
    parser.add_argument("--sessions", type=int, default=1_000_000)
    args = parser.parse_args()
    best: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for name in ("without", "with"):  # the first is what the machine does by itself
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder) if name == "with" else None
                late, waits = lag(args.seconds, args.events, place)
            found = {f"loop lag {name} ledger": late}
            if place is not None:
                found["waiting for an intent to be durable"] = waits
            for words, histogram in found.items():
                values = [histogram.percentile_ms(p) or 0.0 for p in SHOWN]
                print(f"{words}, ms: {_text(values)}", flush=True)
                best[words] = [
                    min(pair) for pair in zip(values, best.get(words, values), strict=True)
                ]
    for words, values in best.items():
        print(f"least of {args.rounds} rounds: {words}, ms: {_text(values)}")
    with tempfile.TemporaryDirectory() as folder:
        each = bytes_per_session(args.sessions, Path(folder))
    print(f"{each:.0f} bytes a session: {each * args.sessions / 1e6:.0f} MB for {args.sessions:,}")


if __name__ == "__main__":
    main()
