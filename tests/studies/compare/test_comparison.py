"""Equal runs show no difference at the stated rate, planted changes are found, doubts are told."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from synthetic import START_S

from harness.errors import ExitCode
from harness.judge.reading import read_record
from harness.judge.record import operations_of
from harness.measure.histogram import Histogram
from harness.measure.model import Outcome
from harness.measure.recorder import Collected
from harness.measure.snapshot import IntervalWriter, read_measurements
from harness.studies.compare.comparison import _errors, compare, grouped, read_error_blocks
from harness.studies.compare.statistics import Rules, Word

INTERVALS = 30
TYPICAL_MS = {"delivered": 110.0, "reply": 900.0}


def plain_run(
    directory: Path,
    seed: int,
    *,
    slower: float = 1.0,
    values: int = 60,
    counted: bool = False,
    **record: Any,
) -> Path:
    """A run of steady traffic with lognormal times, written through the real writer."""
    directory.mkdir()
    dice = random.Random(seed)
    writer = IntervalWriter(directory, "w0", started_ns=START_S * 10**9)
    for second in range(INTERVALS):
        collected = Collected()
        for operation, typical in TYPICAL_MS.items():
            histogram = collected.histograms[f"{operation}.service"] = Histogram()
            if counted:
                collected.outcomes[operation] = Counter({Outcome.OK: values})
            for _ in range(values):
                took_ms = typical * slower * dice.lognormvariate(0, 0.25)
                histogram.record_many_ns([int(took_ms * 1e6)])
        writer.write(
            collected,
            ended_ns=(START_S + second + 1) * 10**9,
            length_s=1.0,
            state={"sessions": {}, "arrivals": {}, "process": {}},
        )
    writer.close()
    whole = {"schema": 1, "run_id": directory.name, "verdict": "PASS", "complete": True}
    whole["operations"] = {name: {"outcomes": {"ok": 1000}} for name in TYPICAL_MS}
    whole["sessions"] = {"leftover": 0}
    whole["arrivals"] = {"due": 500, "dropped": 0}
    (directory / "run.json").write_bytes(orjson.dumps(whole | record))
    return directory


@pytest.mark.long
def test_runs_that_differ_by_seed_only_show_no_difference_at_the_stated_rate(
    tmp_path: Path,
) -> None:
    pairs, wrong = 40, 0
    for pair in range(pairs):
        base = plain_run(tmp_path / f"a{pair}", 2 * pair)
        new = plain_run(tmp_path / f"b{pair}", 2 * pair + 1)
        comparison = compare(base, new)
        wrong += bool(comparison.worse or comparison.better)
    # 5 % of 40 is 2; more than 6 would come by chance once in 500 times.
    assert wrong <= 6


@pytest.mark.rates
def test_a_planted_slowdown_of_five_percent_is_found_and_a_speed_up_too(tmp_path: Path) -> None:
    for pair in range(5):
        base = plain_run(tmp_path / f"base{pair}", pair, values=200)
        slow = plain_run(tmp_path / f"slow{pair}", 100 + pair, values=200, slower=1.05)
        comparison = compare(base, slow)
        assert {"delivered p50", "reply p50"} <= set(comparison.worse)
        assert comparison.exit_code is ExitCode.OBJECTIVES
        back = compare(slow, base)
        assert {"delivered p50", "reply p50"} <= set(back.better)
        assert back.exit_code is ExitCode.PASS


@pytest.mark.slow
def test_a_gate_does_not_pass_what_may_be_worse_by_as_much_as_matters(tmp_path: Path) -> None:
    base, new = plain_run(tmp_path / "a", 1, values=200), plain_run(tmp_path / "b", 2, values=200)
    comparison = compare(base, new)
    assert comparison.named == [
        "reply p95", "delivered p95", "errors of reply", "errors of delivered", "leftovers"
    ]  # fmt: skip
    assert comparison.exit_code is ExitCode.PASS
    assert "Nothing got worse by as much as matters" in comparison.summary
    strict = compare(base, new, rules=Rules(matters=0.012))
    assert strict.worse == []
    assert strict.exit_code is ExitCode.NO_DATA
    assert "may be, by as much as matters" in strict.summary


@pytest.mark.slow
def test_several_base_runs_are_taken_together(tmp_path: Path) -> None:
    bases = [plain_run(tmp_path / f"a{number}", number) for number in range(3)]
    comparison = compare(bases, plain_run(tmp_path / "b", 9))
    assert comparison.bases == 3
    assert comparison.assumption == "How much runs differ anyway was taken from the 3 base runs."
    void = plain_run(tmp_path / "void", 7, verdict="INVALID")
    assert compare([bases[0], void], bases[1]).exit_code is ExitCode.INVALID


def test_a_slowdown_that_was_called_negligible_is_no_regression(tmp_path: Path) -> None:
    base = plain_run(tmp_path / "a", 1, values=200)
    slow = plain_run(tmp_path / "b", 2, values=200, slower=1.05)
    assert compare(base, slow, rules=Rules(negligible=0.2, matters=0.3)).worse == []


def test_too_few_values_can_not_pass(tmp_path: Path) -> None:
    base = plain_run(tmp_path / "a", 1, values=1)
    (tmp_path / "empty").mkdir()
    empty = {"schema": 1, "run_id": "empty", "verdict": "PASS", "complete": True}
    (tmp_path / "empty" / "run.json").write_bytes(orjson.dumps(empty))
    comparison = compare(base, tmp_path / "empty")
    assert {change.word for change in comparison.times} == {Word.UNKNOWN}
    assert comparison.exit_code is ExitCode.NO_DATA
    assert "Nothing can be told" in comparison.summary


@pytest.mark.slow
@pytest.mark.parametrize(
    ("record", "worse"),
    [
        ({"sessions": {"leftover": 1}}, ["more leftovers"]),
        (
            {"sessions": {"leftover": 0, "settled": 1}, "sessions_at_end": {"leftover": 1}},
            ["more leftovers"],
        ),
        ({"arrivals": {"due": 500, "dropped": 40}}, ["more arrivals dropped"]),
        (
            {"operations": {"reply": {"outcomes": {"ok": 900, "lost": 100}}}},
            ["more errors of reply"],
        ),
    ],
)
def test_more_errors_drops_or_leftovers_are_worse(
    tmp_path: Path, record: dict[str, Any], worse: list[str]
) -> None:
    base, new = plain_run(tmp_path / "a", 1), plain_run(tmp_path / "b", 2, **record)
    comparison = compare(base, new)
    assert [item for item in comparison.worse if item.startswith("more")] == worse
    assert comparison.exit_code is ExitCode.OBJECTIVES
    assert [item for item in compare(new, base).better if item.startswith("fewer")] == [
        item.replace("more", "fewer") for item in worse
    ]


def cut_run(directory: Path, *, early: int, late: int, refused: int = 3) -> Path:
    """Every fifth second ``refused`` of ten answers are refused; the end cuts some more short."""
    seconds = [Counter({Outcome.OK: 10}) for _ in range(INTERVALS)]
    for second in seconds[::5]:
        second += Counter({Outcome.RATE_LIMITED: refused, Outcome.OK: -refused})
    whole = sum(seconds, Counter({Outcome.CUT_SHORT: early + late}))
    reply = {"outcomes": {str(end): many for end, many in whole.items()}, "cut_early": early}
    plain_run(directory, 1, operations={"reply": reply})
    writer = IntervalWriter(directory, "w1", started_ns=START_S * 10**9)
    for number, second in enumerate([*seconds, Counter({Outcome.CUT_SHORT: early + late})], 1):
        collected = Collected()
        collected.outcomes["reply"] = second
        writer.write(
            collected,
            ended_ns=(START_S + number) * 10**9,
            length_s=1.0,
            state={"sessions": {}, "arrivals": {}, "process": {}},
        )
    writer.close()
    return directory


@pytest.mark.slow
def test_what_the_end_cut_short_is_an_error_only_if_it_was_late(tmp_path: Path) -> None:
    base = cut_run(tmp_path / "a", early=0, late=0)
    shares = {}
    for name, early, late in (("b", 60, 0), ("c", 0, 60)):
        new = cut_run(tmp_path / name, early=early, late=late)
        (shares[name],) = [
            item for item in compare(base, new).counts if item.name == "errors of reply"
        ]
    assert (shares["b"].base, shares["b"].new) == ("18 (6.0 %)", "18 (6.0 %)")
    assert shares["b"].word != "more"
    assert shares["c"].new == "78 (21.7 %)"


def test_errors_are_told_by_blocks_of_time_whatever_the_end_cut_short(tmp_path: Path) -> None:
    assert all(
        len(_errors(read_record(run), "reply", read_error_blocks(run)["reply"])) > 1
        for run in (
            cut_run(tmp_path / "a", early=4, late=0),
            cut_run(tmp_path / "b", early=4, late=3),
        )
    )


def test_what_is_not_recorded_is_not_taken_for_none(tmp_path: Path) -> None:
    base = plain_run(tmp_path / "a", 1, sessions={}, arrivals={})
    counts = {item.name: item for item in compare(base, plain_run(tmp_path / "b", 2)).counts}
    assert counts["leftovers"].word == Word.UNKNOWN
    assert counts["arrivals dropped"].base == "not recorded"


def test_a_run_whose_files_are_damaged_or_gone_is_not_compared(tmp_path: Path) -> None:
    names = enumerate(("base", "new"))
    base, new = (plain_run(tmp_path / name, seed, counted=True) for seed, name in names)
    for directory in (base, new):
        record = orjson.loads((directory / "run.json").read_bytes())
        record["operations"] = operations_of(read_measurements(directory))
        (directory / "run.json").write_bytes(orjson.dumps(record))
    assert compare(base, new).doubts == []
    intervals, histograms = new / "intervals-w0.jsonl", new / "histograms-w0.hlog"
    whole = intervals.read_bytes()
    intervals.write_bytes(b'{"t":1e308}\n' + whole)
    for directories in ((base, new), (new, base)):
        comparison = compare(*directories)
        assert comparison.exit_code is ExitCode.INVALID
        (doubt,) = comparison.doubts
        assert "intervals-w0.jsonl: 1 damaged line left out (the first: 1: " in doubt
    intervals.write_bytes(whole)
    histograms.unlink()
    (doubt,) = compare(base, new).doubts
    assert "changed or lost after the run: they no longer give its figures for delivered" in doubt


@pytest.mark.parametrize("flaw", [{"verdict": "INVALID"}, {"complete": False}])
def test_a_run_that_is_no_good_can_not_be_compared(tmp_path: Path, flaw: dict[str, Any]) -> None:
    good, bad = plain_run(tmp_path / "a", 1), plain_run(tmp_path / "b", 2, **flaw)
    for pair in ((good, bad), (bad, good)):
        comparison = compare(*pair)
        assert comparison.exit_code is ExitCode.INVALID
        assert "(b)" in comparison.summary


def test_differences_in_how_they_were_run_are_told_without_secrets(tmp_path: Path) -> None:
    base = plain_run(tmp_path / "a", 1, how={"seed": 1, "options": {"--users": 5, "--token": "x"}})
    new = plain_run(tmp_path / "b", 2, how={"seed": 2, "options": {"--token": "y"}})
    differences = {item.name: (item.base, item.new) for item in compare(base, new).differences}
    assert differences == {"Seed": ("1", "2"), "Option --users": ("5", "not set")}


@pytest.mark.slow
def test_what_is_new_in_each_run_is_no_difference_in_how_they_were_run(tmp_path: Path) -> None:
    def how(port: int, name: str) -> dict[str, Any]:
        target = f"ws://127.0.0.1:{port}/v1?deploymentId={port}"
        return {
            "target": target,
            "deployment_id": str(port),
            "target_name": name,
            "note": str(port),
        }

    sides = [plain_run(tmp_path / str(n), n, how=how(n, "simulator")) for n in (1, 2)]
    assert compare(*sides).differences == []
    sides = [plain_run(tmp_path / f"own {n}", n, how=how(n, "own")) for n in (3, 4)]
    assert [item.name for item in compare(*sides).differences] == ["Target", "Deployment"]


@pytest.mark.parametrize(
    ("items", "text"),
    [
        (["reply p50"], "reply p50"),
        (["reply p50", "reply p95", "reply p99"], "reply p50, p95 and p99"),
        (["join p50", "join p90", "more leftovers"], "join p50 and p90; more leftovers"),
    ],
)
def test_percentiles_of_one_operation_are_named_together(items: list[str], text: str) -> None:
    assert grouped(items) == text
