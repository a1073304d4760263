"""How often the studies are right, measured on services whose truth is planted: EVIDENCE.md.

Coverage of the intervals of a capacity search, false alarms and power of drift and of compare, and
the figures of plans. It needs no network; on two free cores it takes half an hour or so. ``make
evidence`` runs all of it::

    python tests/benchmarks/evidence.py --write harness/studies/EVIDENCE.md
    python tests/benchmarks/evidence.py --only drift --many 40

What a part has measured is kept beside the page's text, so ``--only`` renews one part of it.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from harness.judge.series import Series
from harness.measure.histogram import Counted, Histogram, decoded
from harness.measure.recorder import SESSION_CUT, SESSION_LENGTH
from harness.measure.statistics import Buckets
from harness.studies.compare.statistics import Word, compare_runs, compare_shares
from harness.studies.drift.assess import Side, Watched, assess
from harness.studies.drift.figures import watched_of
from harness.studies.drift.trend import Drift
from tests.benchmarks.plans import plan_table
from tests.benchmarks.services import KINDS, make, mean_truth, search

Floats = NDArray[np.float64]
Run = Callable[..., Iterable[Any]]
"""``map``, over several processes"""
FIRST_SEED = 10_000
"""No seed from here on has been looked at while the studies were written."""
INTRODUCTION = """# How often the studies are right

Measured on services whose truth is planted, by the code that decides in a real study, without a
network. `make evidence` measures it anew; the date stands with each part. Seeds are fixed and are
not those by which the studies were written. Behind a share stands the interval in which the true
share lies (95 %, C. J. Clopper, E. S. Pearson, 1934).
"""
PARTS = ("capacity", "drift", "compare", "plan")


def of(part: int, whole: int) -> str:
    """``19 of 20 (75 to 100 %)``."""
    if not whole:
        return "none"
    low = float(beta.ppf(0.025, part, whole - part + 1)) if part else 0.0
    high = float(beta.ppf(0.975, part + 1, whole - part)) if part < whole else 1.0
    return f"{part} of {whole} ({low:.0%} to {high:.0%})".replace("%", " %").replace("  ", " ")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


@dataclass(frozen=True, slots=True)
class Search:
    """What came of one search."""

    claims: bool
    holds: bool
    width: float
    minutes: float


def one_search(job: tuple[str, int]) -> Search:
    """Search one service."""
    kind, seed = job
    service = make(kind, seed)
    searched = search(service)
    found = searched.answer
    truth = mean_truth(service, searched.took_s)
    return Search(
        claims=found.confidence is not None,
        holds=found.low <= truth <= found.high,
        width=found.high / found.low - 1 if found.low else 0.0,
        minutes=searched.took_s / 60,
    )


def capacity(run: Run, many: int) -> str:
    """Do the intervals that claim 95 % hold the truth?"""
    jobs = [(kind, FIRST_SEED + seed) for kind in KINDS for seed in range(many)]
    found = list(run(one_search, jobs))
    rows = []
    for place, kind in enumerate(KINDS):
        searches = found[place * many : (place + 1) * many]
        claims = [one for one in searches if one.claims]
        rows.append(
            (
                kind,
                of(len(claims), many),
                of(sum(one.holds for one in claims), len(claims)),
                f"{median(one.width for one in claims):.0%}" if claims else "",
                f"{median(one.minutes for one in searches):.0f}",
            )
        )
    return (
        "A queue with one worker (p95 below a limit that is drawn) or one that refuses what is too "
        "much; `--hold 60s --longest 960s --settle 180s --resolution 0.08`. The truth is the limit "
        "over the hours of the search; where the speed wanders, what holding for ever would "
        "show. A search that does not claim 95 % gives a range and says why. Machines are added "
        "at each level anew, or stay until the end.\n\n"
        + table(
            ("planted", "claims 95 %", "of these hold the truth", "width", "minutes of search"),
            rows,
        )
    )


AT_S = np.linspace(0, 8 * 3600.0, 480)
FIGURES = 12
NOISE = 0.03


def wander(rng: np.random.Generator, alike: float) -> Floats:
    """Noise of one sd whose neighbouring minutes are alike."""
    error = np.empty(AT_S.size)
    error[0] = rng.normal()
    for i in range(1, AT_S.size):
        error[i] = alike * error[i - 1] + (1 - alike**2) ** 0.5 * rng.normal()
    return error


def one_soak(job: tuple[float, int, str]) -> str:
    """The verdict on a report of twelve figures; or on the one of them that is planted."""
    alike, seed, planted = job
    rng = np.random.default_rng([seed, round(alike * 100), len(planted)])
    figures = []
    for number in range(FIGURES):
        values = 500 * np.exp(NOISE * wander(rng, alike))
        if number == 0 and planted == "slower by 10 %":
            values = values * (1 + 0.1 * AT_S / AT_S[-1])
        if number == 0 and planted == "ten times slower in the last 5 %":
            values[-24:] *= 10
        if number == 0 and planted == "faster by 10 %":
            values = values * (1 - 0.1 * AT_S / AT_S[-1])
        figures.append(
            Watched(
                name=f"figure {number}",
                side=Side.SERVICE,
                at_s=AT_S.tolist(),
                values=values.tolist(),
                less_is_better=planted.startswith("faster"),
            )
        )
    if planted == "errors from 0 to 50 % in the last 30 %":
        rate = np.where(0.7 * AT_S[-1] < AT_S, 0.5, 0.0)
        figures[0] = Watched(
            name="errors",
            side=Side.SERVICE,
            at_s=AT_S.tolist(),
            values=(rng.binomial(100, rate) / 100).tolist(),
            trials=[100.0] * AT_S.size,
            matters=0.005,
            relative=False,
        )
    report = assess(figures)
    return str(report.findings[0].trend.verdict if planted else report.verdict)


def soak_series(seed: int) -> Series:
    """Eight hours of ``soak.py`` at its defaults on a perfect service: who came, who was there."""
    rng = np.random.default_rng(seed)
    end_s = float(AT_S[-1])
    came = np.sort(rng.uniform(0, end_s, rng.poisson(10 * end_s / 60)))
    short = 90 + rng.lognormal(2, 0.9, came.size)
    long = 3 * 3600 + rng.uniform(0, 600, came.size)
    stay = np.where(rng.random(came.size) < 0.1, long, short)
    bins = int(end_s / 60)
    ends = np.arange(1, bins + 1) * 60
    present = [float(((came <= at) & (came + stay > at)).sum()) for at in ends]
    done = came + stay <= end_s
    return Series(
        width_s=60.0,
        starts_s=[minute * 60.0 for minute in range(bins)],
        rates={"started": list(np.histogram(came, bins=bins, range=(0, end_s))[0] / 60)},
        sessions={"occupancy": list(present)},
        totals={
            SESSION_LENGTH: _counted(stay[done]),
            SESSION_CUT: _counted((end_s - came)[~done]),
        },
        phases={"running": 0.0},
    )


def _counted(lengths_s: Floats) -> Counted:
    histogram = Histogram()
    for length_s in lengths_s:
        histogram.record_many_ns([int(length_s * 1e9)])
    return decoded([histogram.encode()])


def one_default_soak(seed: int) -> str:
    """The verdict on the guests of a soak against those that their arrivals imply."""
    found = [one for one in watched_of(soak_series(seed)) if one.name == "occupancy over expected"]
    return str(assess(found, confidence=1 - 0.05 / FIGURES).verdict)


PLANTED = (
    "slower by 10 %",
    "ten times slower in the last 5 %",
    "errors from 0 to 50 % in the last 30 %",
    "faster by 10 %",
)
ALIKE = (0.0, 0.6, 0.9, 0.95, 0.98)


def drift(run: Run, many: int) -> str:
    """How often a whole report drifts where nothing is planted, and where something is."""
    jobs = [(alike, FIRST_SEED + seed, "") for alike in ALIKE for seed in range(many)]
    some = max(many // 4, 5)
    powers = [(0.6, FIRST_SEED + seed, what) for what in PLANTED for seed in range(some)]
    found = list(run(one_soak, jobs + powers))
    soaks = list(run(one_default_soak, range(FIRST_SEED, FIRST_SEED + max(some, 20))))
    flat = [
        (f"{alike:g}", *_verdicts(found[place * many : (place + 1) * many]))
        for place, alike in enumerate(ALIKE)
    ]
    rest = found[len(jobs) :]
    grew = [
        (what, *_verdicts(rest[place * some : (place + 1) * some]))
        for place, what in enumerate(PLANTED)
    ]
    words = [str(one) for one in (Drift.DRIFTING, Drift.UNDECIDED, Drift.IMPROVING, Drift.FLAT)]
    return (
        f"Reports of {FIGURES} figures by the minute over eight hours, noise of {NOISE * 100:g} %. "
        "A report drifts when any of its figures does; 5 % is stated.\n\n"
        + table(("likeness of neighbouring minutes, nothing planted", *words), flat)
        + "\n`soak.py` at its defaults (stays of three hours) on a perfect service, guests in "
        "session against what their arrivals imply, as one of so many figures:\n\n"
        + table(("", *words), [("occupancy over expected", *_verdicts(soaks))])
        + "\nOne of the figures planted, likeness 0.6; the words for that figure:\n\n"
        + table(("planted", *words), grew)
    )


def _verdicts(found: Sequence[str]) -> Iterator[str]:
    first, *rest = (Drift.DRIFTING, Drift.UNDECIDED, Drift.IMPROVING, Drift.FLAT)
    yield of(found.count(str(first)), len(found))
    yield from (str(found.count(str(one))) for one in rest)


SECONDS = 300


def one_run(rng: np.random.Generator, factor: float) -> dict[str, list[Buckets]]:
    """Two operations over five minutes; the service has slow spells of some ten seconds."""
    level = np.zeros(SECONDS)
    for i in range(1, SECONDS):
        level[i] = 0.9 * level[i - 1] + 0.006 * rng.normal()
    run: dict[str, list[Buckets]] = {}
    for name, middle in (("delivered", 0.03), ("reply", 0.8)):
        run[name] = []
        for second in range(SECONDS):
            took = middle * factor * np.exp(level[second] + 0.4 * rng.normal(size=rng.poisson(40)))
            values, counts = np.unique(np.round(np.log(took), 2), return_counts=True)
            run[name].append(list(zip(np.exp(values).tolist(), counts.tolist(), strict=True)))
    return run


def bursts(rng: np.random.Generator, share: float) -> list[tuple[int, int]]:
    """An hour by the minute, in which errors come in bursts of half a minute's attempts."""
    return [(int(rng.binomial(100, 0.5)) if rng.random() < share else 0, 100) for _ in range(60)]


def one_pair(job: tuple[str, int]) -> bool:
    """Did the pair get a word?"""
    what, seed = job
    rng = np.random.default_rng([seed, *what.encode()])
    if what.startswith("errors"):
        share = 0.4 if what.endswith("eight times as many") else 0.05
        return compare_shares(bursts(rng, 0.05), bursts(rng, share)).word in ("more", "fewer")
    spread = 0.03 if "3 % from run to run" in what else 0.0
    many = 3 if "three" in what else 1
    slower = 1.1 if what.endswith("slower by 10 %") else 1.0

    def drawn() -> float:
        return float(np.exp(spread * rng.normal()))

    bases = [one_run(rng, drawn()) for _ in range(many)]
    changes = compare_runs(bases, one_run(rng, slower * drawn()), percentiles=[50.0, 95.0])
    return any(change.word in (Word.FASTER, Word.SLOWER) for change in changes)


PAIRS = (
    "equal",
    "equal, 3 % from run to run, one base",
    "equal, 3 % from run to run, three bases",
    "errors in bursts, equal",
    "slower by 10 %",
    "3 % from run to run, three bases, slower by 10 %",
    "errors in bursts, eight times as many",
)


def compare(run: Run, many: int) -> str:
    """How often a pair gets a word, whether or not something is planted."""
    jobs = [(what, FIRST_SEED + seed) for what in PAIRS for seed in range(many)]
    found = list(run(one_pair, jobs))
    rows = [
        (what, of(sum(found[place * many : (place + 1) * many]), many))
        for place, what in enumerate(PAIRS)
    ]
    return (
        "Runs of five minutes, p50 and p95 of two operations, or shares of errors over an hour. "
        'For equal pairs 5 % is stated: "slower", "faster", "more" or "fewer" would be false. '
        "With one base the spread from run to run can't be seen: the page then says so.\n\n"
        + table(("planted", "pairs that got a word"), rows)
    )


def plan(run: Run, many: int) -> str:
    """Ten launches, planned and simulated guest by guest."""
    del run  # a minute in one process
    return plan_table(guests=many * 15_000) + "\n"


MEASURED: dict[str, Callable[[Run, int], str]] = {
    "capacity": capacity,
    "drift": drift,
    "compare": compare,
    "plan": plan,
}
HEADINGS = {
    "capacity": "Capacity: do intervals of 95 % hold the truth?",
    "drift": "Drift: false alarms and power",
    "compare": "Compare: false words and power",
    "plan": "Plan: is a launch what it was planned to be?",
}
MANY = {"capacity": 100, "drift": 200, "compare": 100, "plan": 100}


def main() -> int:
    """Measure what is asked for; write the page, or print it."""
    parser = argparse.ArgumentParser(description="How often the studies are right.")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the page, in Markdown")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; repeatable")
    parser.add_argument(
        "--many", type=int, metavar="N", help="searches, reports, pairs of a row; guests / 15,000"
    )
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="processes")
    options = parser.parse_args()
    parts = _parts(options.write)
    with ProcessPoolExecutor(options.at_once) as pool:
        for name in options.only or PARTS:
            told = MEASURED[name](pool.map, options.many or MANY[name])
            date = datetime.now(UTC).strftime("%Y-%m-%d")
            parts[name] = f"## {HEADINGS[name]}\n\nMeasured {date}. {told}"
            print(parts[name], flush=True)
            if options.write:
                page = "\n".join([INTRODUCTION, *(parts[one] for one in PARTS if one in parts)])
                options.write.write_text(page)
    return 0


def _parts(page: Path | None) -> dict[str, str]:
    """What is on the page by now, by part."""
    if page is None or not page.is_file():
        return {}
    _, *found = page.read_text().split("\n## ")
    by_heading = {heading: name for name, heading in HEADINGS.items()}
    return {by_heading[text.partition("\n")[0]]: f"## {text.rstrip()}\n" for text in found}


if __name__ == "__main__":
    sys.exit(main())
