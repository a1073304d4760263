"""The gate: right verdicts with figure and margin, and never a pass without data."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.gate import Judgement, Percentile, Time, Verdict, judge, judge_one
from harness.judge.objective import Kind, parse_objective

TIMES = {"p50": 800.0, "p90": 2000.0, "p95": 3000.0, "p99": 4000.0, "p99_9": 4500.0, "max": 6000.0}


def run_figures() -> dict[str, Any]:
    return {
        "sessions": {"opened": 1000, "cleared": 998, "leftover": 2},
        "operations": {
            "reply": {
                "count": 2000,
                "outcomes": {"ok": 1980, "timeout": 20},
                "service_ms": dict(TIMES),
                "corrected_ms": {key: 2 * value for key, value in TIMES.items()},
            },
            "clear": {"count": 0, "outcomes": {"ok": 0}, "service_ms": {"p95": 0.0}},
        },
        "generator": {"lag_loop_ms": {"p50": 0.1, "p99": 3.0, "max": 9.0}, "workers_lost": 0},
        "forensics": {"cross_talk": 0},
        "arrivals": {"dropped": 0},
    }


def nothing_more(operation: str, kind: Kind, percent: float) -> Time:
    del operation, kind, percent
    return None, False, False


def verdict(text: str, figures: dict[str, Any] | None = None) -> tuple[Verdict, float | None]:
    judgement = judge_one(
        parse_objective(text),
        run_figures() if figures is None else figures,
        percentile=nothing_more,
    )
    return judgement.verdict, judgement.figure


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reply p95 < 5s", (Verdict.PASS, 3000)),
        ("reply p95 < 3s", (Verdict.FAIL, 3000)),
        ("reply p95 <= 3s", (Verdict.PASS, 3000)),
        ("reply corrected p95 < 5s", (Verdict.FAIL, 6000)),
        ("reply p99.9 < 5s", (Verdict.PASS, 4500)),
        ("reply max < 5s", (Verdict.FAIL, 6000)),
        ("reply errors < 1%", (Verdict.FAIL, 0.01)),
        ("reply errors <= 1%", (Verdict.PASS, 0.01)),
        ("reply errors <= 20", (Verdict.PASS, 20)),
        ("reply timeout == 0", (Verdict.FAIL, 20)),
        ("reply count > 100", (Verdict.PASS, 2000)),
        ("reply count > 2000", (Verdict.FAIL, 2000)),
        ("leftovers == 0", (Verdict.FAIL, 2)),
        ("leftovers <= 0.2%", (Verdict.PASS, 0.002)),
        ("cross_talk == 0", (Verdict.PASS, 0)),
        ("dropped == 0", (Verdict.PASS, 0)),
        ("workers_lost == 0", (Verdict.PASS, 0)),
        ("generator_lag p99 < 2ms", (Verdict.FAIL, 3)),
        ("generator_lag max < 10ms", (Verdict.PASS, 9)),
        ("clear p95 < 5s", (Verdict.NO_DATA, None)),
        ("clear count < 5", (Verdict.NO_DATA, 0)),
        ("clear count > 5", (Verdict.FAIL, 0)),
        ("delivered p95 < 5s", (Verdict.NO_DATA, None)),
        ("delivered errors == 0", (Verdict.NO_DATA, None)),
    ],
)
def test_each_kind_of_objective(text: str, expected: tuple[Verdict, float | None]) -> None:
    assert verdict(text) == (
        expected[0],
        pytest.approx(expected[1]) if expected[1] else expected[1],
    )


def test_other_percentiles_are_asked_of_the_caller() -> None:
    asked = []

    def percentile(operation: str, kind: Kind, percent: float) -> Time:
        asked.append((operation, kind, percent))
        return 1234.5, False, False

    objective = parse_objective("reply corrected p97.5 < 2s")
    judgement = judge_one(objective, run_figures(), percentile=percentile)
    assert asked[0] == ("reply", Kind.CORRECTED, 97.5)
    assert (judgement.verdict, judgement.figure, judgement.margin) == (Verdict.PASS, 1234.5, 765.5)


def test_margins_tell_how_much_is_left() -> None:
    texts = ("reply p95 < 5s", "reply p95 < 2s", "reply count > 100", "leftovers == 0")
    judgements = [
        judge_one(parse_objective(text), run_figures(), percentile=nothing_more) for text in texts
    ]
    assert [item.margin for item in judgements] == [2000, -1000, 1900, -2]
    assert [item.margin_share for item in judgements] == [0.4, -0.5, 19, None]
    assert [item.text() for item in judgements] == [
        "PASS  reply p95 < 5s  was 3s, 2s left",
        "FAIL  reply p95 < 2s  was 3s, 1s over",
        "PASS  reply count > 100  was 2,000, 1,900 left",
        "FAIL  leftovers == 0  was 2",
    ]


def test_a_percentile_of_few_samples_says_so() -> None:
    figures = run_figures()
    figures["operations"]["reply"]["count"] = 12
    figures["operations"]["reply"]["outcomes"] = {"ok": 12}
    judgement = judge_one(parse_objective("reply p95 < 5s"), figures, percentile=nothing_more)
    assert judgement.verdict is Verdict.NO_DATA
    assert judgement.note == "12 samples, 8 more are needed"
    figures["operations"]["reply"]["count"] = 20
    judgement = judge_one(parse_objective("reply p95 < 5s"), figures, percentile=nothing_more)
    assert judgement.note == ""


def test_when_everything_failed_the_errors_are_told_and_the_times_have_no_data() -> None:
    figures = run_figures()
    figures["operations"]["reply"] = {"count": 0, "outcomes": {"timeout": 5}}
    assert verdict("reply errors < 1%", figures) == (Verdict.FAIL, 1.0)
    assert verdict("reply p95 < 5s", figures) == (Verdict.NO_DATA, None)
    figures["operations"]["reply"]["service_ms"] = {"p95": 0.0}  # an empty histogram's zero
    assert verdict("reply p95 < 5s", figures) == (Verdict.NO_DATA, None)


@pytest.mark.parametrize(
    ("texts", "invalid", "expected"),
    [
        (("reply p95 < 5s", "cross_talk == 0"), (), Verdict.PASS),
        (("reply p95 < 5s", "clear p95 < 5s"), (), Verdict.NO_DATA),
        (("reply p95 < 1s", "clear p95 < 5s"), (), Verdict.FAIL),
        (("reply p95 < 1s",), ("a worker was lost",), Verdict.INVALID),
        (("reply p95 < 5s",), ("a worker was lost",), Verdict.INVALID),
        ((), (), Verdict.PASS),
    ],
)
def test_the_worst_decides(
    texts: tuple[str, ...], invalid: tuple[str, ...], expected: Verdict
) -> None:
    objectives = [parse_objective(text) for text in texts]
    result = judge(objectives, run_figures(), percentile=nothing_more, invalid=invalid)
    assert result.verdict is expected
    assert result.reasons == invalid
    assert json.dumps([one.as_dict() for one in result.judgements], allow_nan=False)


def test_a_run_without_objectives_and_without_data_is_no_data() -> None:
    empty: list[dict[str, Any]] = [
        {},
        {"operations": {}},
        {"operations": {"reply": {"count": 0}}},
        {"operations": {"reply": None}},
    ]
    for figures in empty:
        assert judge([], figures, percentile=nothing_more).verdict is Verdict.NO_DATA


ALL_OBJECTIVES = [
    "reply p95 < 5s",
    "reply p95 > 1ms",
    "reply corrected max <= 5s",
    "reply p97 < 5s",
    "reply errors < 1%",
    "reply errors == 0",
    "reply timeout <= 9",
    "reply count < 5",
    "leftovers == 0",
    "leftovers < 1%",
    "cross_talk == 0",
    "generator_lag p99 < 1s",
]
junk = st.none() | st.booleans() | st.text(max_size=3) | st.just(float("nan")) | st.just({})
empty_value = junk | st.just(-1) | st.just([]) | st.just(float("inf"))
empty_section = st.dictionaries(
    st.sampled_from(["opened", "leftover", "cross_talk", "count", "outcomes", "service_ms", "p95"]),
    empty_value | st.dictionaries(st.sampled_from(["p95", "p99", "max", "ok"]), empty_value),
)


@given(
    st.sampled_from(ALL_OBJECTIVES),
    st.dictionaries(
        st.sampled_from(["sessions", "operations", "generator", "forensics"]),
        junk | empty_section | st.fixed_dictionaries({"reply": junk | empty_section}),
    ),
    st.sampled_from([None, float("nan")]),
)
def test_no_data_never_passes(text: str, figures: dict[str, Any], answer: float | None) -> None:
    objective = parse_objective(text)
    judgement = judge_one(objective, figures, percentile=lambda *_: answer)
    assert judgement.verdict is Verdict.NO_DATA
    assert judgement.note
    result = judge([objective], figures, percentile=lambda *_: answer)
    assert result.verdict is Verdict.NO_DATA


@given(st.sampled_from(ALL_OBJECTIVES))
def test_a_run_that_opened_nothing_never_passes(text: str) -> None:
    figures = run_figures()
    figures["sessions"] = {"opened": 0, "cleared": 0, "leftover": 0}
    figures["operations"] = {"reply": {"count": 0, "outcomes": {"ok": 0}, "service_ms": {"p95": 0}}}
    judgement = judge_one(parse_objective(text), figures, percentile=lambda *_: 0.0)
    assert judgement.verdict is Verdict.NO_DATA or text.startswith("generator_lag")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("opened >= 1000000", Verdict.NO_DATA),
        ("opened > 1000000", Verdict.NO_DATA),
        ("opened == 1000000", Verdict.NO_DATA),
        ("opened >= 1", Verdict.PASS),
        ("opened <= 1", Verdict.FAIL),
        ("opened == 1", Verdict.FAIL),
        ("reply errors >= 99%", Verdict.FAIL),
    ],
)
def test_of_a_run_that_goes_on_a_count_may_not_be_known_yet(text: str, verdict: Verdict) -> None:
    objective = parse_objective(text)
    figures = run_figures()
    judgement = judge_one(objective, figures, percentile=lambda *_: 1.0, unfinished=True)
    assert judgement.verdict is verdict
    assert (judgement.note == "not known before the end") is (verdict is Verdict.NO_DATA)
    over = judge_one(objective, figures, percentile=lambda *_: 1.0)
    assert over.verdict is (Verdict.FAIL if verdict is Verdict.NO_DATA else verdict)


def test_a_percentile_among_what_never_came_is_missed_however_high_the_limit() -> None:
    figures = run_figures()
    figures["operations"]["reply"] = {
        "count": 100,
        "outcomes": {"ok": 90, "timeout": 10},
        "service_ms": {"p50": 500.0, "p95": 2000.0, "lower_bounds": ["p95"]},
    }
    assert verdict("reply p95 < 30s", figures) == (Verdict.FAIL, 2000.0)
    assert verdict("reply p50 < 1s", figures) == (Verdict.PASS, 500.0)
    judgement = judge_one(parse_objective("reply p95 < 30s"), figures, percentile=nothing_more)
    assert judgement.text() == (
        "FAIL  reply p95 < 30s  was > 2s (10 of 100 (10.0%) never came: timeout 10)"
    )
    assert judgement.margin is None


def test_what_the_end_cut_short_early_dilutes_no_share_of_errors() -> None:
    figures = run_figures()
    cut = {"count": 200, "outcomes": {"ok": 92, "timeout": 8, "cut_short": 100}, "cut_early": 98}
    figures["operations"]["reply"] = cut
    assert verdict("reply errors < 6%", figures) == (Verdict.FAIL, 10 / 102)
    assert verdict("reply timeout < 5%", figures) == (Verdict.FAIL, 8 / 102)
    assert verdict("reply cut_short < 60%", figures) == (Verdict.PASS, 0.5)
    late = {**cut, "service_ms": {"p95": 2000.0, "lower_bounds": ["p95"]}}
    figures["operations"]["reply"] = late
    told = judge_one(parse_objective("reply p95 < 1s"), figures, percentile=nothing_more)
    assert told.note == "10 of 102 (9.8%) never came: timeout 8, cut_short 2"
    figures["operations"]["reply"] = {**cut, "outcomes": {"cut_short": 98}}
    assert verdict("reply errors < 6%", figures) == (Verdict.NO_DATA, None)
    assert verdict("reply errors == 0", figures) == (Verdict.NO_DATA, None)


def test_answers_of_which_too_many_are_ambiguous_can_not_be_judged() -> None:
    figures = run_figures()
    entry = {"count": 100, "outcomes": {"ok": 100}, "service_ms": {"p95": 50.0}}
    figures["operations"]["reply"] = {**entry, "ambiguous": 5}
    assert verdict("reply p95 < 1s", figures)[0] is Verdict.PASS
    figures["operations"]["reply"] = {**entry, "ambiguous": 6}
    assert verdict("reply p95 < 1s", figures)[0] is Verdict.NO_DATA
    figures["operations"]["reply"] = {**entry, "outcomes": {"ok": 50, "lost": 50}, "ambiguous": 6}
    assert verdict("reply errors < 1%", figures)[0] is Verdict.FAIL
    figures["operations"]["reply"] = {**entry, "outcomes": {"ok": 50, "lost": 50}, "ambiguous": 3}
    judgement = judge_one(parse_objective("reply p95 < 1s"), figures, percentile=nothing_more)
    assert judgement.verdict is Verdict.NO_DATA  # what never came can't have been ambiguous
    assert "3 of 50 answers are ambiguous" in judgement.text()


def test_turns_are_no_surer_than_the_replies_that_begin_them() -> None:
    figures = run_figures()
    entry = {"count": 100, "outcomes": {"ok": 100}, "service_ms": {"p95": 50.0}}
    figures["operations"]["turn"] = entry
    assert verdict("turn p95 < 1s", figures)[0] is Verdict.PASS
    figures["questions"] = {"doubtful_because": "somebody heard more"}
    assert verdict("turn p95 < 1s", figures)[0] is Verdict.NO_DATA


def test_guests_and_stories_are_judged_by_those_that_came_to_an_end() -> None:
    figures = run_figures()
    figures["guests"] = {"arrived": 20, "served": 9, "failed": 1, "cut": 10}
    figures["stories"] = {"begun": 3, "finished": 0, "broken_off": 0, "cut": 3}
    assert verdict("guests failed < 5%", figures) == (Verdict.FAIL, 0.1)
    assert verdict("guests cut == 10", figures) == (Verdict.PASS, 10)
    assert verdict("stories broken_off < 1%", figures) == (Verdict.NO_DATA, None)


def test_questions_that_the_end_cut_short_dilute_no_share_of_what_went_wrong() -> None:
    figures = run_figures()
    figures["questions"] = {"asked": 200, "answered": 92, "timed_out": 8, "cut_short": 100}
    assert verdict("questions timed_out < 5%", figures) == (Verdict.FAIL, 0.08)
    assert verdict("questions cut_short < 60%", figures) == (Verdict.PASS, 0.5)
    assert verdict("questions answered > 90%", figures) == (Verdict.FAIL, 0.46)
    figures["questions"] = {"asked": 9, "answered": 0, "timed_out": 0, "cut_short": 9}
    told = judge_one(parse_objective("questions timed_out < 5%"), figures, percentile=nothing_more)
    assert (told.verdict, told.note) == (
        Verdict.NO_DATA,
        "no question had ended by itself; 9 more were cut short by the end of the run",
    )


def test_guests_who_were_lost_with_their_process_may_have_ended_in_any_way() -> None:
    figures = run_figures()
    figures["guests"] = {"arrived": 120, "served": 100, "failed": 0, "cut": 0}
    figures["questions"] = {"asked": 240, "answered": 200, "timed_out": 0, "open": 40}
    judgement = verdict("guests failed < 1%", figures)
    assert judgement == (Verdict.NO_DATA, 0.0)
    assert verdict("guests failed < 50%", figures)[0] is Verdict.PASS  # though all of them had
    assert verdict("guests served > 99%", figures)[0] is Verdict.NO_DATA
    assert verdict("guests served >= 100", figures)[0] is Verdict.PASS
    assert verdict("guests failed == 0", figures)[0] is Verdict.NO_DATA
    assert verdict("guests arrived >= 120", figures)[0] is Verdict.PASS
    of_questions = parse_objective("questions timed_out < 1%")
    of_the_questions = judge_one(of_questions, figures, percentile=measured([]))
    assert of_the_questions.verdict is Verdict.NO_DATA
    objective = parse_objective("guests failed < 1%")
    told = judge_one(objective, figures, percentile=measured([]))
    assert told.text().endswith("(the end of 20 more is unknown)")
    going_on = judge_one(objective, figures, percentile=measured([]), unfinished=True)
    assert going_on.verdict is Verdict.PASS  # they are in session


def measured(values: Sequence[float]) -> Percentile:
    """Percentiles of these times, the rank taken as everywhere: rounded up."""
    ordered = sorted(values)

    def percentile(operation: str, kind: Kind, percent: float) -> Time:
        del operation, kind
        rank = max(1, ceil(round(percent / 100 * len(ordered), 9)))
        return ordered[rank - 1], False, False

    return percentile


def judged(text: str, values: Sequence[float], **more: Any) -> Judgement:
    figures = run_figures()
    figures["operations"]["reply"] = {"count": len(values), "outcomes": {"ok": len(values)}}
    return judge_one(parse_objective(text), figures, percentile=measured(values), **more)


@pytest.mark.parametrize(
    ("text", "samples", "missing"),
    [("reply p99.9 < 1s", 4, 996), ("reply p95 < 1s", 19, 1), ("reply p99 < 1s", 60, 40)],
)
def test_a_rank_beyond_the_samples_is_no_data_and_says_how_many_are_missing(
    text: str, samples: int, missing: int
) -> None:
    judgement = judged(text, [100.0] * samples)
    assert judgement.verdict is Verdict.NO_DATA
    assert (
        judgement.note
        == f"{samples} samples, {missing} more {'is' if missing == 1 else 'are'} needed"
    )
    assert judged(text, [100.0] * (samples + missing)).verdict is Verdict.PASS


def test_few_samples_that_all_miss_are_enough_to_miss() -> None:
    assert judged("reply p95 < 1s", [5000.0] * 6).verdict is Verdict.FAIL
    assert judged("reply p95 < 1s", [100.0] * 5 + [5000.0]).verdict is Verdict.NO_DATA


def with_errors(errors: int, whole: int, text: str = "reply errors < 1%", **more: Any) -> Judgement:
    figures = run_figures()
    outcomes = {"ok": whole - errors, "timeout": errors}
    figures["operations"]["reply"] = {"count": whole, "outcomes": outcomes}
    objective = replace(parse_objective(text), **more.pop("change", {}))
    return judge_one(objective, figures, percentile=nothing_more, **more)


def test_a_share_of_under_ten_is_no_data_unless_it_is_missed_for_sure() -> None:
    judgement = with_errors(0, 4)
    assert (judgement.verdict, judgement.note) == (Verdict.NO_DATA, "4 samples, 6 more are needed")
    assert with_errors(3, 4).verdict is Verdict.FAIL
    by_default = with_errors(0, 4, change={"by_default": True})
    assert (by_default.verdict, by_default.note) == (Verdict.PASS, "4 samples, 6 more are needed")


def test_the_interval_stands_beside_the_figure() -> None:
    judgement = with_errors(0, 100, "reply errors < 5%")
    assert (judgement.low, judgement.within_chance) == (0.0, False)
    assert judgement.text() == "PASS  reply errors < 5%  was 0% (up to 2.951%), 5% left"
    judgement = judged("reply p95 < 2s", [float(value) for value in range(1, 1001)])
    assert judgement.low is not None
    assert judgement.high is not None
    assert 930 < judgement.low < 950 < judgement.high < 970


def test_what_is_met_within_chance_is_said_and_is_no_data_for_the_confident() -> None:
    judgement = with_errors(0, 100)
    assert (judgement.verdict, judgement.within_chance, judgement.more_samples) == (
        Verdict.PASS,
        True,
        199,
    )
    judgement = with_errors(0, 100, confident=True)
    assert (judgement.verdict, judgement.note) == (
        Verdict.NO_DATA,
        "met, but within chance: about 199 more samples would decide",
    )
    assert with_errors(0, 299, confident=True).verdict is Verdict.PASS
    slow = [100.0] * 96 + [3000.0] * 4
    judgement = judged("reply p95 < 1s", slow)
    assert (judgement.verdict, judgement.within_chance) == (Verdict.PASS, True)
    assert judgement.more_samples is not None
    more = slow * (1 + ceil(judgement.more_samples / 100))
    assert not judged("reply p95 < 1s", more).within_chance
    assert judged("reply p95 < 1s", slow, confident=True).verdict is Verdict.NO_DATA


def test_nothing_is_corrected_where_there_is_no_schedule() -> None:
    figures = run_figures() | {"workload": "closed"}
    objective = parse_objective("reply corrected p95 < 1m")
    judgement = judge_one(objective, figures, percentile=nothing_more)
    assert (judgement.verdict, judgement.figure) == (Verdict.NO_DATA, None)
    assert "a closed workload has no schedule" in judgement.note


def test_what_never_came_decides_only_where_the_ambiguous_could_not_have_been_fast_enough() -> None:
    figures = run_figures()
    times = {"p95": 50.0, "lower_bounds": ["p95"]}
    entry = {"count": 100, "outcomes": {"ok": 99, "unanswered": 1}, "ambiguous": 90}
    figures["operations"]["reply"] = {**entry, "service_ms": times | {"unsure": ["p95"]}}
    assert verdict("reply p95 < 1s", figures)[0] is Verdict.NO_DATA
    figures["operations"]["reply"] = {**entry, "service_ms": times}
    assert verdict("reply p95 < 1s", figures)[0] is Verdict.FAIL


def test_a_wait_that_the_end_cut_short_misses_only_what_it_was_longer_than() -> None:
    figures = run_figures()
    times = {"p95": 2000.0, "lower_bounds": ["p95"], "unsure": ["p95"]}
    outcomes = {"ok": 90, "cut_short": 10}
    figures["operations"]["reply"] = {"count": 100, "outcomes": outcomes, "service_ms": times}
    assert verdict("reply p95 < 1s", figures)[0] is Verdict.FAIL
    objective = parse_objective("reply p95 < 10s")
    told = judge_one(objective, figures, percentile=nothing_more)
    assert (told.verdict, told.note) == (
        Verdict.NO_DATA,
        "10 were still waited for when the run ended",
    )
    assert verdict("reply p95 > 1s", figures)[0] is Verdict.PASS
