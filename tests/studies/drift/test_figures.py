"""A planted drift is found in a run's files, a flat run is not called drifting."""

import random
from collections import Counter
from pathlib import Path

import pytest
from made_once import made_once

from harness.errors import ConfigError
from harness.judge.series import read_series
from harness.ledger.ledger import Stage, Store
from harness.measure.histogram import Histogram, decoded
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import SESSION_LENGTH, Recorder
from harness.measure.snapshot import IntervalWriter
from harness.rundir.layout import write_start
from harness.studies.drift.assess import Side, assess
from harness.studies.drift.figures import as_dict, assess_run, limits_of_objectives, watched_of
from harness.studies.drift.trend import Drift

MS = 1_000_000
MINUTES = 120


@made_once
def soak(
    directory: Path,
    *,
    drift: float = 0.0,
    leaks: int = 0,
    memory_mb: float = 0.0,
    cut: int = 0,
    silent: int = 0,
) -> None:
    """Two hours of replies around 200 ms, rising by ``drift`` (a share) over the run.

    Besides the sixty of each minute, ``silent`` more never come.
    """
    rng = random.Random(1)
    writer = IntervalWriter(directory, "w", started_ns=10**18)
    for minute in range(MINUTES):
        recorder = Recorder()
        middle = 200 * (1 + drift * minute / MINUTES)
        for _ in range(60):
            took = int(rng.gauss(middle, 10) * MS)
            recorder.add(Sample("reply", 0, 0, took, took + 1000))
        for _ in range(silent):
            recorder.add(Sample("reply", 0, 0, 2000 * MS, 2000 * MS, Outcome.TIMEOUT))
        for _ in range(cut if minute == MINUTES - 1 else 0):
            recorder.add(Sample("reply", 0, 0, 0, 0, Outcome.CUT_SHORT))
        if minute % 7 == 0 and not cut:
            recorder.add(Sample("reply", 0, 0, 0, 0, Outcome.LOST))
        writer.write(
            recorder.take(),
            ended_ns=10**18 + (minute + 1) * 60 * 10**9,
            length_s=60.0,
            state={
                "phase": "running",
                "sessions": {"opened": minute * 10, "occupancy": rng.randint(28, 32)},
                "arrivals": {"due": 10},
                "process": {
                    "rss_mb": 100 + rng.random() + memory_mb * minute / MINUTES,
                    "fds": 50.0,
                },
            },
        )
    writer.close()
    store = Store(directory / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"})
    count = 4000
    store.write([(n, f"t{n}", Stage.INTENDED, 1, 1) for n in range(1, count + 1)], [], {})
    store.write(
        [],
        [
            (Stage.LOST if n <= leaks else Stage.CLEARED, "cut" if n <= leaks else "", "", 2, n)
            for n in range(1, count + 1)
        ],
        {},
    )
    store.close()


@pytest.mark.slow
def test_a_flat_run_is_not_called_drifting(tmp_path: Path) -> None:
    report = assess_run(soak(tmp_path))
    assert report.verdict is not Drift.DRIFTING
    assert {finding.watched.name for finding in report.findings} >= {
        "reply p50",
        "reply p95",
        "memory",
    }


@pytest.mark.slow
def test_a_slower_service_is_told_from_a_growing_harness(tmp_path: Path) -> None:
    report = assess_run(soak(tmp_path, drift=0.15))
    assert report.verdict is Drift.DRIFTING
    drifting = {f.watched.name: f for f in report.findings if f.trend.verdict is Drift.DRIFTING}
    assert set(drifting) <= {"reply p50", "reply p95"}
    assert drifting["reply p50"].trend.change == pytest.approx(0.14, abs=0.04)
    assert report.sentence.startswith("The service drifts: reply p50")


def test_what_the_end_cut_short_is_no_error_of_the_service(tmp_path: Path) -> None:
    report = assess_run(soak(tmp_path, cut=50))
    assert "reply errors" not in {finding.watched.name for finding in report.findings}


def test_a_percentile_that_lies_among_what_never_came_is_not_called_flat(tmp_path: Path) -> None:
    report = assess_run(soak(tmp_path, silent=6))
    told = {finding.watched.name: finding.trend for finding in report.findings}
    assert told["reply p50"].verdict is Drift.FLAT
    assert told["reply p95"].verdict is Drift.UNDECIDED
    assert told["reply p95"].note.startswith(f"{MINUTES} of {MINUTES} points are lower bounds")


@pytest.mark.slow
def test_memory_of_the_harness_is_its_own_fault(tmp_path: Path) -> None:
    report = assess_run(soak(tmp_path, memory_mb=40))
    drifting = [f for f in report.findings if f.trend.verdict is Drift.DRIFTING]
    assert [(f.watched.name, f.watched.side) for f in drifting] == [("memory", Side.HARNESS)]
    assert "The harness itself drifts" in report.sentence


@pytest.mark.slow
def test_a_leak_of_half_a_percent_is_found(tmp_path: Path) -> None:
    report = assess_run(soak(tmp_path, leaks=20))
    assert report.leak is not None
    assert report.leak.verdict is Drift.DRIFTING
    facts = as_dict(report)
    assert facts["leak"]["share"] == pytest.approx(0.005)
    assert facts["verdict"] == "drifting"


def test_a_run_without_measurements_can_not_be_judged(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no measurements"):
        assess_run(tmp_path)


def test_resumes_and_guests_in_session_are_watched(tmp_path: Path) -> None:
    series = read_series(soak(tmp_path))
    assert series is not None
    lengths = Histogram()
    lengths.record_many_ns([10 * 10**9])
    series.totals[SESSION_LENGTH] = decoded([lengths.encode()])
    series.rates["started"] = [2.0] * len(series)
    series.sessions["occupancy"] = [20.0 + minute / 10 for minute in range(len(series))]
    series.counts["reconnects"] = [float(minute % 3) for minute in range(len(series))]
    watched = {one.name: one for one in watched_of(series)}
    stay = watched["occupancy over expected"]
    assert (stay.side, stay.fills) == (Side.SERVICE, True)
    assert stay.values[-1] > stay.values[0]
    assert watched["resumes a minute"].values[1] == pytest.approx(60 / series.width_s)
    # what never happened, or has no arrivals, is not watched
    series.counts["reconnects"] = [0.0] * len(series)
    series.rates["started"] = [0.0] * len(series)
    names = {one.name for one in watched_of(series)}
    assert names.isdisjoint({"resumes a minute", "occupancy over expected"})


@pytest.mark.slow
def test_resumes_that_begin_at_the_age_of_connections_are_no_drift(tmp_path: Path) -> None:
    series = read_series(soak(tmp_path))
    assert series is not None
    counts = Counter[Drift]()
    for seed in range(20):
        rng = random.Random(seed)
        series.counts["reconnects"] = [rng.gauss(90, 0.4) * (at > 30) for at in range(MINUTES)]
        (resumes,) = [one for one in watched_of(series) if one.name == "resumes a minute"]
        counts[assess([resumes]).verdict] += 1
    assert counts[Drift.FLAT] >= 15
    assert counts[Drift.DRIFTING] <= 3


@pytest.mark.slow
def test_limits_come_from_the_objectives_and_from_who_asks(tmp_path: Path) -> None:
    directory = soak(tmp_path, drift=0.15, memory_mb=40)
    texts = ["reply p95 < 250ms", "reply p95 < 1s", "reply corrected p50 < 1ms", "reply p50 > 1ms"]
    write_start(directory, objectives=[*texts, "leftovers == 0"])
    assert limits_of_objectives(directory) == {"reply p95": 250.0}
    report = assess_run(directory, limits={"memory": "200", "reply errors": "5%"})
    known = {one.watched.name: one.watched.limit for one in report.findings}
    assert known["reply p95"] == 250
    assert known["memory"] == 200
    assert known["reply errors"] == 0.05
    assert known["reply p50"] is None
    reached = {one["name"]: one["limit_in_s"] for one in as_dict(report)["findings"]}
    assert reached["reply p95"][0] == pytest.approx(1100, rel=0.5)
    assert reached["memory"][0] == pytest.approx(3 * 3600, rel=0.2)
    assert reached["reply p50"] is None
    assert "limit reached in" in report.sentence


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("replies", "5s", "'replies' is not watched; there are: reply p50, "),
        ("reply p50", "soon", "--limit: reply p50: expected a duration"),
        ("memory", "much", "--limit: memory: expected megabytes"),
        ("reply errors", "-1%", "--limit: reply errors: expected a share"),
        ("descriptors", "nan", "--limit: descriptors: expected a number"),
    ],
)
def test_a_limit_that_makes_no_sense(tmp_path: Path, name: str, value: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        assess_run(soak(tmp_path), limits={name: value})
