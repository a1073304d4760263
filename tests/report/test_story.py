"""The sentences say what the record says, and say so when it does not know."""

import pytest

from harness.report import story, wording
from harness.report.html.run_page import kinds_line, name_of_test, target_name, tiles
from harness.report.terminal import account_line
from harness.report.wording import UNKNOWN
from harness.rundir.schema import RunRecord


def record(**parts: object) -> RunRecord:
    return RunRecord.model_validate({"schema": 1, "run_id": "r"} | parts)


@pytest.mark.parametrize(
    ("sessions", "sentence"),
    [
        ({}, "What became of its sessions is not recorded."),
        ({"intended": 5}, "What became of its sessions is not recorded."),
        ({"intended": 0, "leftover": 0}, "No session was opened."),
        ({"intended": 1, "cleared": 1, "leftover": 0}, "The one session was cleared, with proof."),
        (
            {"intended": 1200, "cleared": 1200, "leftover": 0},
            "All 1,200 sessions were cleared, with proof.",
        ),
        ({"intended": 5, "cleared": 4, "settled": 1, "leftover": 0}, "Nothing is left behind: all"),
        ({"intended": 1200, "cleared": 1199, "leftover": 1}, "Of 1,200 sessions, 1 has no proof"),
        ({"intended": 9, "cleared": 2, "leftover": 7}, "Of 9 sessions, 7 have no proof of an end."),
    ],
)
def test_the_account_in_a_sentence(sessions: dict, sentence: str) -> None:
    assert story.account(record(sessions=sessions)).startswith(sentence)


@pytest.mark.parametrize(
    ("sessions", "listed"),
    [
        ({"intended": 0}, "The ledger lists no session."),
        ({"intended": 5, "cleared": 5}, "All 5 sessions were cleared, with proof."),
        ({"intended": 5, "settled": 1}, "All 5 sessions that the ledger lists are accounted for."),
    ],
)
def test_what_no_ledger_may_list_is_never_said_to_be_nothing(sessions: dict, listed: str) -> None:
    sessions = {"opened": 5, "cleared": 0, "leftover": 0, **sessions, "may_lack": True}
    unsure = record(sessions=sessions)
    more = "There may be more sessions, which no ledger here lists."
    assert story.account(unsure) == f"{listed} {more}"
    [left] = [tile for tile in tiles(unsure) if "left behind" in tile.name]
    assert (left.figure, left.bad) == ("0 or more", True)
    assert "left over 0 or more" in str(account_line({"sessions": sessions}))


def test_after_a_sweep_the_sentence_does_not_contradict_the_verdict() -> None:
    before = {"intended": 9, "cleared": 7, "leftover": 2}
    for now, sentence in (
        (0, "Of 9 sessions, 2 were left behind at the end of the run. Since then all were ended."),
        (
            1,
            "Of 9 sessions, 2 were left behind at the end of the run. "
            "Since then some were ended; 1 is still open.",
        ),
    ):
        sessions = {**before, "leftover": now, "settled": 2 - now}
        swept = record(verdict="FAIL", sessions=sessions, sessions_at_end=before)
        assert story.account(swept) == sentence
        [left] = [tile for tile in tiles(swept) if "left behind" in tile.name]
        assert (left.figure, left.bad) == ("2", True)
        assert left.note == f"{now} remain after a sweep"


def test_the_tiles_tell_what_a_manager_asks() -> None:
    found = record(
        workload="open",
        guests={"arrived": 90, "served": 81, "failed": 9},
        stories={"begun": 90, "broken_off": 4},
        arrivals={"due": 100, "started": 90, "dropped": 10, "late": 3},
        sessions={"intended": 90, "opened": 90, "leftover": 0},
        operations={
            "reply": {"count": 300, "service_ms": {"p95": 2000.0, "lower_bounds": ["p95"]}}
        },
    )
    told = {tile.name: (tile.figure, tile.note, tile.bad) for tile in tiles(found)}
    assert told == {
        "customers served": ("81", "of 90 who came: 90.0 %", True),
        "reply time, in 95 of 100 cases": ("> 2.00 s", "of 300 questions", False),
        "stories broken off": ("4", "of 90 begun", True),
        "turned away by the generator": ("10", "of 100 due", True),
        "of the planned load carried out": ("90.0 %", "3 started late", True),
        "sessions left behind": ("0", "of 90 sessions", False),
    }


def test_that_most_guests_asked_nothing_is_told() -> None:
    def told(silent: int, served: int) -> list[str]:
        return story.accounts(record(guests={"served": served, "asked_nothing": silent}))

    assert told(22, 24) == ["22 of 24 guests who were served never asked anything"]
    assert told(12, 24) == told(0, 0) == []


def test_the_test_its_target_and_its_customers_have_names() -> None:
    how = {"locustfile": "tests/spring_launch.py", "target": "wss://host/v1?deploymentId=x"}
    mix = {"Shopper": {"came": 1050, "share_asked_for": 1.0}, "Caller": {"came": 3}}
    found = record(how=how, mix=mix)
    assert name_of_test(found) == "spring_launch"
    assert target_name(found) == "wss://host/v1"
    assert kinds_line(found) == "customers: Shopper 1,050, Caller 3"
    named = record(how={**how, "name": "Spring launch", "target_name": "staging"})
    assert (name_of_test(named), target_name(named)) == ("Spring launch", "staging")
    assert (name_of_test(record()), kinds_line(record())) == ("", "")


def test_how_a_run_was_made_reads_as_people_write_it() -> None:
    how = {
        "name": "menu", "mix": {"Shopper": 0.75, "Caller": 0.25}, "confident": False,
        "warm_up_s": 90.0, "proxy_login_env": "", "sources": ["10.0.0.1", "10.0.0.2"],
        "schedule": {"count": 2, "duration_s": 4.0, "parts": []},
    }  # fmt: skip
    rows = {row.label: row.figure for row in story.how_rows(record(how=how))}
    assert rows["Mix"] == "Shopper 75.0 %, Caller 25.0 %"
    assert (rows["Confident"], rows["Warm up"]) == ("no", "1m30s")
    assert rows["Sources"] == "10.0.0.1, 10.0.0.2"
    assert not {"Name", "Schedule", "Proxy login env"} & rows.keys()


def test_reasons_become_sentences() -> None:
    assert story.why(record(reasons=["reply p95 was 6 s", "x."])) == "Reply p95 was 6 s. X."
    assert "no verdict" in story.why(record())


def test_missed_objectives_are_named_once_with_their_figures() -> None:
    objectives = [
        {"text": "leftovers == 0", "verdict": "FAIL", "figure": 11, "unit": "count"},
        {"text": "reply p95 < 2s", "verdict": "NO_DATA"},
        {"text": "dropped == 0", "verdict": "PASS", "figure": 0},
    ]
    reasons = ["a worker was lost", "FAIL  leftovers == 0  was 11", "NO_DATA  reply p95 < 2s"]
    found = story.why(record(verdict="INVALID", reasons=reasons, objectives=objectives))
    assert found == (
        "A worker was lost. Missed: no sessions left behind (there were 11). "
        "Without data: 95 of 100 replies in under 2s."
    )


def test_many_missed_objectives_are_cut_short() -> None:
    many = [{"text": f"x{n} == 0", "verdict": "FAIL", "figure": n} for n in range(1, 7)]
    assert story.why(record(objectives=many)) == (
        "Missed: x1 == 0 (was 1); x2 == 0 (was 2); x3 == 0 (was 3) and 3 more."
    )


def test_an_empty_record_shows_no_zero() -> None:
    empty = record()
    rows = story.account_rows(empty) + story.funnel_rows(empty) + story.generator_rows(empty)
    assert {row.figure for row in rows} == {UNKNOWN}
    assert {(tile.figure, tile.note, tile.bad) for tile in tiles(empty)} == {(UNKNOWN, "", False)}


def test_an_account_that_does_not_add_up_is_told() -> None:
    classes = {"cleared": 3, "ended_by_service": 1, "never_configured": 0, "settled": 0}
    wrong = record(complete=True, sessions=classes | {"intended": 9, "leftover": 1})
    assert story.notices(wrong) == [
        "The account does not add up: 9 sessions were intended, the classes hold 5."
    ]
    right = record(complete=True, sessions=classes | {"intended": 5, "leftover": 1})
    assert story.notices(right) == []


def test_what_was_said_before_the_run_and_overridden_is_told() -> None:
    how = {
        "foreseen": ["may break a limit: G: too fast"],
        "overridden": [{"rule": "window", "said": "the window is closed", "reason": "agreed"}],
    }
    found = record(complete=True, how=how)
    assert story.notices(found) == [
        "The rule “window” was overridden (agreed). It said: the window is closed.",
        "Warned before the run: may break a limit: G: too fast.",
    ]
    assert not {"foreseen", "overridden"} & {row.label.lower() for row in story.how_rows(found)}


def test_what_weakens_the_figures_is_told() -> None:
    found = story.notices(
        record(
            complete=False,
            generator={"workers": 4, "workers_lost": 1, "arrival_stamps": "userspace"},
        )
    )
    assert [text.split()[0] for text in found] == ["This", "1", "Arrivals"]


def test_secrets_are_hidden_wherever_they_stand() -> None:
    how = {
        "target": "wss://user:hunter2@example.org/v1",
        "options": {"--client-secret": "hunter2", "--api_key": "hunter2", "--users": 5},
    }
    text = " ".join(row.figure for row in story.how_rows(record(how=how)))
    assert "hunter2" not in text
    assert "example.org" in text
    flat = [
        *story.details({"platform": {"token": "hunter2", "open": 0, "found": [1, 2]}, "by": None})
    ]
    assert flat == [
        ("platform · token", story.HIDDEN),
        ("platform · open", "0"),
        ("platform · found", "2 listed in the record"),
        ("by", UNKNOWN),
    ]


def test_the_funnel_says_where_sessions_were_lost() -> None:
    rows = story.funnel_rows(record(funnel={"intended": 10, "connected": 10, "configured": 7}))
    assert [row.note for row in rows[:3]] == ["", "", "3 fewer than the step before"]
    assert rows[2].share == pytest.approx(0.7)
    assert rows[3].figure == UNKNOWN


def test_failures_are_all_outcomes_but_ok() -> None:
    found = record(operations={"reply": {"outcomes": {"ok": 6, "lost": 2}}, "join": {}})
    assert story.failures(found, "reply") == (2, 0.25)
    assert story.failures(found, "join") == (None, None)


def test_objectives_say_how_far_from_the_limit() -> None:
    [met, missed, unknown] = record(
        objectives=[
            {"text": "a", "verdict": "PASS", "figure": 1500, "unit": "ms", "margin": 0.25},
            {"text": "b", "verdict": "FAIL", "figure": 0.03, "unit": "share", "margin": -0.5},
            {"text": "c", "verdict": "NO_DATA"},
        ]
    ).objectives
    assert (wording.objective_figure(met), wording.objective_margin(met)) == (
        "1.50 s",
        "25.0 % to spare",
    )
    assert wording.objective_margin(missed) == "50.0 % beyond the limit"
    for share, text in ((-99, "100 times the limit"), (-1.5, "2.5 times the limit")):
        assert wording.objective_margin(missed.model_copy(update={"margin": share})) == text
    for share, text in ((1, "100 %"), (0.9999, "99.99 %"), (0.99999, "> 99.99 %")):
        assert wording.objective_margin(met.model_copy(update={"margin": share})) == (
            f"{text} to spare"
        )
    assert wording.objective_figure(unknown) == wording.objective_margin(unknown) == UNKNOWN


def test_a_percentile_with_nothing_above_it_says_too_few() -> None:
    times = {"p50": 10.0, "p99": 20.0, "p99_9": 20.0, "max": 20.0}
    [found] = record(
        operations={"reply": {"count": 150, "outcomes": {"ok": 150}, "service_ms": times}}
    ).operations.values()
    assert story.time_text(found, "service", "p99") == "20.0 ms"
    assert story.time_text(found, "service", "p99_9") == story.TOO_FEW
    assert story.time_text(found, "service", "max") == "20.0 ms"
    assert story.time_text(found, "corrected", "p99") == UNKNOWN


def test_session_lengths_and_little_are_told_where_recorded() -> None:
    assert story.length_rows(record()) == []
    little = {"occupancy": 10.2, "expected_occupancy": 10.0, "off": 0.02}
    rows = story.length_rows(record(session_length_ms={"p50": 7400.0}, little=little))
    assert [row.figure for row in rows] == [
        "p50 7.40 s",
        "10.2 on average; arrival rate times session length gives 10.0",
    ]


def test_a_run_that_goes_on_is_told_as_such() -> None:
    sessions = {"intended": 9, "cleared": 6, "in_session": 3, "leftover": 0}
    live = record(live=True, verdict="PASS", sessions=sessions, ended="2026-11-24T09:00:00Z")
    assert story.verdict_word(live) == "So far: passed"
    assert story.why(live).startswith("The run is still going on")
    assert story.account(live) == (
        "Of 9 sessions so far, 3 are in session now; none is left behind."
    )
    (notice,) = [text for text in story.notices(live) if "going on" in text]
    assert "2026-11-24" in notice
    assert not any("add up" in text for text in story.notices(live))
    assert [row.figure for row in story.account_rows(live) if row.key == "in_session"] == ["3"]
    assert not any(row.key == "in_session" for row in story.account_rows(record()))


def test_the_accounts_add_up_though_a_process_was_lost() -> None:
    parts = {
        "guests": {"arrived": 25, "served": 23, "failed": 0, "cut": 0},
        "stories": {"begun": 25, "finished": 23, "broken_off": 0, "cut": 0},
        "questions": {"asked": 72, "answered": 70},
    }
    assert story.accounts(record(**parts)) == [
        "guests 25: served 23 · not served 0 · no known end 2",
        "stories 25: finished 23 · broken off 0 · no known end 2",
        "questions asked 72 = answered 70 + no known end 2",
    ]
    assert "no known" not in " ".join(story.accounts(record(live=True, **parts)))


def test_a_figure_of_a_part_that_lies_among_what_never_came_is_a_lower_bound() -> None:
    times = {"p50_ms": 100.0, "p95_ms": 1000.0}
    parts = [
        {
            "name": f"{errors} errors",
            "from_s": 0.0,
            "to_s": 9.0,
            "guests": 40,
            "operations": {"reply": {"count": 40, "errors": errors, **times}},
        }
        for errors in (0, 2, 3, 30)
    ]
    shown = [row[-2:] for row in story.part_rows(record(parts=parts))]
    assert shown == [
        ("100 ms", "1.00 s"),
        ("100 ms", "1.00 s"),
        ("100 ms", "> 1.00 s"),
        ("> 100 ms", "> 1.00 s"),
    ]
