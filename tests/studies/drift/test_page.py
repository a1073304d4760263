"""The page of a soak: the answer first, in words; every figure drawn and in a table."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.report.html import page
from harness.studies.drift.assess import DriftReport, Side, Watched, assess
from harness.studies.drift.page import assumptions, drift_page, title_of
from harness.studies.drift.trend import Drift, Trend

AT = tuple(np.linspace(0, 8 * 3600.0, 240))


def watched(name: str, side: Side, drift: float, **how: object) -> Watched:
    course = 200 * (1 + drift * np.array(AT) / AT[-1])
    values = course * np.exp(np.random.default_rng(len(name)).normal(0, 0.01, len(AT)))
    return Watched(name=name, side=side, at_s=AT, values=tuple(values), **how)  # type: ignore[arg-type]


def soak(*, service: float = 0.0, harness: float = 0.0, leaks: int = 0) -> DriftReport:
    return assess(
        [
            watched("reply p50", Side.SERVICE, service, unit="ms", limit=500.0),
            watched("reply p95", Side.SERVICE, 0.0, unit="ms"),
            watched("memory", Side.HARNESS, harness, unit="MB", fills=True, limit=250.0),
        ],
        sessions=20_000,
        leftovers=leaks,
        duration_s=AT[-1],
    )


def render(run: str, report: DriftReport) -> str:
    return page.render(drift_page(run, report))


def headline(report: DriftReport) -> str:
    html = render("r", report)
    return html[html.index("<h1>") + 4 : html.index("</h1>")]


@pytest.mark.slow
def test_the_answer_comes_first_and_in_words() -> None:
    html = render("run-<1>", soak(service=0.2))
    assert headline(soak(service=0.2)) == "The service drifts"
    assert "Half of the replies take 2" in html
    assert "or longer now; " in html
    assert "At this pace the limit of 500 ms is reached in " in html
    assert "run-&lt;1&gt;" in html
    assert html.count('<div class="box">') == 3
    assert html.index("Replies: usual time") < html.index("Replies: slowest of twenty")
    for outside in ("http://", "https://", "run-<1>"):
        assert outside not in html


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "Nothing drifts"),
        ({"harness": 0.3}, "The harness itself drifts"),
        ({"service": 0.2, "harness": 0.3}, "The service and the harness itself both drift"),
        ({"leaks": 100}, "Sessions are left behind"),
        ({"service": 0.2, "leaks": 100}, "The service drifts, and sessions are left behind"),
    ],
)
def test_every_answer_has_its_headline(how: dict[str, float], words: str) -> None:
    assert headline(soak(**how)) == words  # type: ignore[arg-type]


def test_a_change_is_what_lies_between_the_two_figures_shown() -> None:
    slower = watched("reply p50", Side.SERVICE, 0.5, unit="ms")
    assert "(+50." in render("r", assess([slower]))  # 200 ms to 300 ms
    report = soak()
    slopes = {"change": -1.3, "low": -2.3, "high": -0.36, "slope_per_h": -1.3, "level": -0.25}
    below = Trend(verdict=Drift.FLAT, relative=False, span_s=3600.0, **slopes)
    lag = replace(report.findings[0].watched, values=(0.0,) * len(AT), limit=None)
    finding = replace(report.findings[0], watched=lag, trend=below)
    html = render("r", replace(report, findings=(finding,)))  # the line ends below what can be
    assert "1.05 ms" in html
    assert "-1.05 ms" in html
    assert "-1.30 ms" not in html


def test_the_sentence_counts_as_the_tiles_do() -> None:
    short = AT[:15]
    item = Watched(
        name="memory", side=Side.HARNESS, at_s=short, values=(5.0, 6.0) * 7 + (9.0,), unit="MB"
    )
    html = render("r", assess([item], sessions=50, leftovers=0, duration_s=short[-1]))
    assert "one figure and the share of sessions left behind can&#39;t be called flat yet" in html


def test_a_harness_that_drifts_puts_the_rest_in_doubt() -> None:
    html = render("r", soak(harness=0.3))
    assert "Memory of the harness rose from 2" in html
    assert "what it says of the service is in doubt" in html
    assert "The limit of 250 MB is exceeded already." in html


def test_sessions_left_behind_are_told_with_their_share() -> None:
    html = render("r", soak(leaks=100))
    assert "0.50 % of the sessions ended without proof of their end" in html
    assert "harness sweep" in html
    assert "12.5" in html  # an hour


def test_what_is_not_decided_says_what_would_decide() -> None:
    few = assess([], sessions=100, leftovers=0)
    html = render("r", few)
    assert "<h1>Not decided yet</h1>" in html
    assert f"{few.leak.more_sessions:,} sessions more" in html  # type: ignore[union-attr]
    assert '<div class="box">' not in html
    noisy = np.random.default_rng(3).normal(200, 40, len(AT))
    item = Watched(
        name="reply p95", side=Side.SERVICE, at_s=AT, values=tuple(noisy), unit="ms", matters=0.05
    )
    report = assess([item])
    assert report.findings[0].trend.longer_s is not None
    assert "more of the same would decide the rest" in render("r", report)


def test_names_in_words() -> None:
    assert title_of("session_open p95") == "Openings of a session: slowest of twenty"
    assert title_of("memory") == "Memory of the harness"
    assert title_of("something new") == "something new"


def test_a_page_is_written_whole_or_says_why_not(tmp_path: Path) -> None:
    drifts = drift_page("run", soak())
    written = page.write_page(tmp_path / "drift.html", drifts)
    assert "<h1>Nothing drifts</h1>" in written.read_text()
    assert os.listdir(tmp_path) == ["drift.html"]
    with pytest.raises(ConfigError, match="can't be written"):
        page.write_page(tmp_path / "gone" / "drift.html", drifts)


def test_a_sudden_change_is_told_with_its_moment() -> None:
    values = 200 * np.exp(np.random.default_rng(1).normal(0, 0.01, len(AT)))
    values[-12:] *= 10
    item = Watched(name="reply p50", side=Side.SERVICE, at_s=AT, values=tuple(values), unit="ms")
    html = render("r", assess([item], warmup_s=0))
    assert "Replies: usual time: from 200 ms to 1.99 s" in html
    assert "at once, 7h3" in html


def test_an_improvement_is_no_bad_news() -> None:
    item = watched("reply p50", Side.SERVICE, -0.2, unit="ms", less_is_better=True)
    report = assess([item])
    assert headline(report) == "Nothing drifts"
    html = render("r", report)
    assert "For the better: Half of the replies take 1" in html
    assert '<span class="pill pass">improving</span>' in html


def test_a_soak_of_less_than_a_day_says_that_it_can_not_tell_the_hour() -> None:
    assert any("shorter than a day" in one for one in assumptions(soak()))
    assert "shorter than a day" in render("r", soak())
    long = tuple(at * 4 for at in AT)
    item = Watched(name="reply p50", side=Side.SERVICE, at_s=long, values=(1.0, 2.0) * 120)
    assert not any("shorter than a day" in one for one in assumptions(assess([item])))


def test_what_a_sweep_has_ended_since_is_told_apart() -> None:
    report = assess([], sessions=20_000, leftovers=100, ended_later=60)
    assert "A sweep has ended 60 of them since." in report.sentence
    assert "60 sessions" in render("r", report)
