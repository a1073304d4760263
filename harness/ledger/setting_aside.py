"""Makes a damaged ledger file usable again, without destroying it."""

from pathlib import Path

from harness.clock import wall_ns
from harness.ledger.reader import read_contents, salvage
from harness.ledger.store import Store


def set_aside(path: Path) -> Path | None:
    """Put what can be read of a damaged file in its place; the file itself is kept beside it.

    Returns where it is kept; None if the file is not damaged. What could not be read is remembered:
    the new file says that it came from a damaged one. Raises LedgerError or OSError.
    """
    contents = read_contents(path)
    if not contents.damage or contents.process.damaged:
        return None
    meta, rows = salvage(path)
    stamp = wall_ns()
    fresh = path.with_name(f".salvaged-{stamp}.sqlite")
    store = Store(
        fresh,
        {
            "worker": contents.process.worker,
            **meta,
            "ended_ns": meta.get("ended_ns") or str(stamp),
            "damaged": contents.damage,
        },
    )
    store.write(
        [(row[0], row[1], row[2], row[4], row[5]) for row in rows],
        [(row[2], row[3], row[6], row[5], row[0]) for row in rows],
        {},
    )
    store.close()
    kept = path.with_name(f"damaged-{stamp}-{path.name}")
    path.rename(kept)
    for tail in ("-wal", "-shm"):
        log = path.with_name(path.name + tail)
        if log.exists():
            log.rename(kept.with_name(kept.name + tail))
    fresh.rename(path)
    return kept
