"""Sweeping ends what is open, settles what was over, and a second sweep has nothing to do."""

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from fakes import FakeServer
from gevent.event import Event
from guests import ID
from late import LATE, Deaf, Late, in_order
from liar import event
from processes import Simulator
from sessions import leave_open

from harness.clock import wall_ns
from harness.config.target import parse_target
from harness.errors import ConfigError, LedgerError, ReplyTimeout
from harness.guest.connection import Connection
from harness.guest.outcomes import Ending
from harness.guest.rest import exchange_sign_in
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import OPEN_UNANSWERED, Stage, Store
from harness.ledger.reader import read_leftovers
from harness.measure.recorder import Recorder
from harness.reconcile import sweep as sweeping
from harness.reconcile.sweep import find_leftovers, refuse_while_running, sweep

pytestmark = pytest.mark.process


def settings_for(simulator: Any) -> GuestSettings:
    return GuestSettings(target=parse_target(simulator.url), clear_within_s=0.5, close_within_s=0.2)


def leave(simulator: Any, directory: Path, *, alive: int, over: int) -> set[str]:
    """Open sessions and walk away from them; some more only stand in the ledger."""
    store = Store(directory / "ledger-w.sqlite", {"worker": "w"})
    tokens = [str(uuid.uuid4()) for _ in range(alive + over)]
    for number, token in enumerate(tokens, start=1):
        if number <= alive:
            line = Connection(settings_for(simulator), token, Recorder())
            line.connect()
            line.configure()
            line.say("hello")
            gevent.sleep(0.02)
            line.drop()
        stage = Stage.JOINED if number <= alive else Stage.INTENDED
        store.write([(number, token, stage, 1, 1)], [], {})
    store.write((), (), {"ended_ns": "9"})
    store.close()
    return set(tokens[:alive])


def run_sweep(simulator: Any, directory: Path, **more: Any) -> Any:
    seen: list[None] = []
    found = find_leftovers(directory)
    options = {"per_second": 500.0, "deadline_s": 30.0, **more}
    result = sweep(found, settings_for(simulator), on_ending=lambda: seen.append(None), **options)
    assert sum(result.endings.values()) == len(seen)
    return result


def test_a_sweep_ends_all_and_a_second_has_nothing_to_do(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    left = leave(simulator, tmp_path, alive=5, over=3)
    assert left <= simulator.open_tokens()
    assert [leftover.state for leftover in find_leftovers(tmp_path)] == [
        *["joined"] * 5,
        *["intended"] * 3,
    ]
    result = run_sweep(simulator, tmp_path)
    assert result.endings == {Ending.CLEARED: 5, Ending.GONE: 3}
    assert (result.settled, result.left) == (8, 0)
    assert simulator.open_tokens() <= before
    assert list(read_leftovers(tmp_path)) == []


def test_what_will_not_end_stays_on_the_list(simulator: Any, tmp_path: Path) -> None:
    leave(simulator, tmp_path, alive=2, over=0)
    simulator.faults(ignore_clear=1)
    result = run_sweep(simulator, tmp_path)
    assert result.endings == {Ending.UNANSWERED: 2}
    assert (result.settled, result.left) == (0, 2)
    simulator.faults()
    assert run_sweep(simulator, tmp_path).left == 0


def test_the_deadline_leaves_the_rest_for_another_time(simulator: Any, tmp_path: Path) -> None:
    leave(simulator, tmp_path, alive=3, over=0)
    result = run_sweep(simulator, tmp_path, per_second=2.0, deadline_s=0.3)
    assert result.unreached >= 1
    assert result.left >= result.unreached
    assert run_sweep(simulator, tmp_path).left == 0


def test_a_run_at_work_is_not_swept(tmp_path: Path) -> None:
    store = Store(
        tmp_path / "ledger-w.sqlite", {"worker": "w", "host": "", "heartbeat_ns": str(wall_ns())}
    )
    store.close()
    with pytest.raises(ConfigError, match=r"still going on \(w\)"):
        refuse_while_running([tmp_path], force=False)
    refuse_while_running([tmp_path], force=True)


def test_a_ledger_that_takes_no_more_ends_the_sweep_without_a_traceback(
    simulator: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    leave(simulator, tmp_path, alive=0, over=30)
    found = find_leftovers(tmp_path)
    (tmp_path / "ledger-w.sqlite").unlink()
    with pytest.raises(LedgerError, match=r"ledger-w\.sqlite"):
        sweep(found, settings_for(simulator), deadline_s=30.0)
    assert "Traceback" not in capfd.readouterr().err


def test_a_mistake_of_ours_is_printed_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def mistaken(*_: object, **__: object) -> Ending:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(sweeping, "end_session", mistaken)
    token = str(uuid.uuid4())
    write_rows(tmp_path, [(token, Stage.JOINED, "", 1)])
    settings = GuestSettings(target=parse_target(f"ws://127.0.0.1:9/v1?deploymentId={ID}"))
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        sweep(find_leftovers(tmp_path), settings, sign_ins=("a.secret.jwt",))
    printed = capfd.readouterr().err
    assert "a mistake of ours" in printed
    assert "secret" not in printed
    assert token[:20] not in printed


def test_a_signed_in_guests_session_needs_its_sign_in(tmp_path: Path) -> None:
    running = Simulator("--limits", "off", "--deployment", "authentication=on")
    try:
        settings = settings_for(running)
        jwts = tuple(exchange_sign_in(settings, f"customer {n}", "https://shop") for n in range(4))
        store = Store(tmp_path / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"})
        for number, jwt in enumerate((*jwts[2:], ""), start=1):
            token = str(uuid.uuid4())
            line = Connection(replace(settings, sign_in=jwt), token, Recorder())
            line.connect()
            line.configure()
            line.drop()
            store.write([(number, token, Stage.CONFIGURED, 1, 1)], [], {})
        store.close()
        result = run_sweep(running, tmp_path)
        assert result.endings == {Ending.SIGNED_IN: 2, Ending.CLEARED: 1}
        assert running.truth()["sessions"]["open"] == 2
        result = run_sweep(running, tmp_path, sign_ins=jwts[:2])  # other customers'
        assert result.endings == {Ending.SIGNED_IN: 2}
        result = run_sweep(running, tmp_path, sign_ins=jwts)
        assert result.endings == {Ending.CLEARED: 2}
        assert running.truth()["sessions"]["open"] == 0
    finally:
        running.stop()


def write_rows(directory: Path, rows: list[tuple[str, Stage, str, int]], **meta: str) -> None:
    """Token, stage, reason and when that was noted."""
    store = Store(directory / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9", **meta})
    numbered = list(enumerate(rows, start=1))
    store.write(
        [(n, token, stage, at_ns, at_ns) for n, (token, stage, _, at_ns) in numbered],
        [(stage, reason, "", at_ns, n) for n, (_, stage, reason, at_ns) in numbered],
        {},
    )
    store.close()


def test_what_may_be_opened_still_is_settled_only_when_that_is_over(
    simulator: Any, tmp_path: Path
) -> None:
    now, reason = wall_ns(), OPEN_UNANSWERED
    write_rows(
        tmp_path,
        [
            (str(uuid.uuid4()), Stage.LOST, reason, now - 60_000_000_000),
            (str(uuid.uuid4()), Stage.LOST, reason, now),
            (str(uuid.uuid4()), Stage.LOST, f"unreachable, {reason}", now + 10**15),
            (str(uuid.uuid4()), Stage.INTENDED, "", now),
            (str(uuid.uuid4()), Stage.LOST, "clear_unanswered", now),
        ],
    )
    settings = replace(settings_for(simulator), late_within_s=3.0)
    waits: list[tuple[int, float]] = []
    result = sweep(find_leftovers(tmp_path), settings, deadline_s=1.0, per_second=500)
    assert result.endings == {Ending.GONE: 2, Ending.NOT_YET: 3}
    assert (result.left, result.unreached) == (3, 0)
    assert now < result.again_ns <= wall_ns() + 3_000_000_000
    assert {left.reason for left in read_leftovers(tmp_path)} >= {reason, f"unreachable, {reason}"}
    result = sweep(
        find_leftovers(tmp_path), settings, per_second=500, on_wait=lambda *of: waits.append(of)
    )
    assert result.endings == {Ending.GONE: 3}
    assert (result.left, result.again_ns) == (0, 0)
    ((many, wait_s),) = waits
    assert many == 3
    assert 0 < wait_s < 3.1
    assert list(read_leftovers(tmp_path)) == []


def test_who_is_in_a_hurry_is_not_kept_waiting(simulator: Any, tmp_path: Path) -> None:
    row = (str(uuid.uuid4()), Stage.LOST, OPEN_UNANSWERED, wall_ns())
    write_rows(tmp_path, [row])
    settings = replace(settings_for(simulator), late_within_s=100.0)
    hurried = Event()
    leftovers = find_leftovers(tmp_path)
    result = sweep(leftovers, settings, on_wait=lambda *_: hurried.set(), hurried=hurried)
    assert result.endings == {Ending.NOT_YET: 1}
    assert result.again_ns == row[3] + 100_000_000_000
    assert [left.token for left in find_leftovers(tmp_path)] == [row[0]]
    waits: list[object] = []
    again = sweep(leftovers, settings, on_wait=lambda *of: waits.append(of), hurried=hurried)
    assert (again.endings, waits) == (result.endings, [])


def test_what_is_opened_after_a_sweep_has_looked_is_found_by_it_later(tmp_path: Path) -> None:
    late = Late(in_order("silence"), late_s=lambda: 0.6)
    with FakeServer(late.serve) as server:
        settings = GuestSettings(
            target=parse_target(f"ws://127.0.0.1:{server.port}/v1?deploymentId={ID}"),
            open_within_s=0.1,
            close_within_s=0.1,
            late_within_s=2.0,
        )
        token = str(uuid.uuid4())
        guest = Connection(settings, token, Recorder())
        guest.connect()
        with pytest.raises(ReplyTimeout):
            guest.configure()
        guest.close()
        write_rows(tmp_path, [(token, Stage.LOST, OPEN_UNANSWERED, wall_ns())])
        result = sweep(find_leftovers(tmp_path), settings, deadline_s=0.1)
        assert result.endings == {Ending.NOT_YET: 1}
        late.settle()
        assert late.open == {token}
        assert sweep(find_leftovers(tmp_path), settings).endings == {Ending.CLEARED: 1}
        assert late.open == set()


def test_the_one_request_that_was_not_answered_is_known_by_the_session_it_opened(
    simulator: Any, tmp_path: Path
) -> None:
    tokens = leave_open(simulator, 2)
    rows = [(tokens[0], Stage.INTENDED, "", wall_ns())]
    write_rows(tmp_path, [*rows, (tokens[1], Stage.INTENDED, OPEN_UNANSWERED, wall_ns())])
    result = sweep(find_leftovers(tmp_path), settings_for(simulator), deadline_s=1.0)
    # Of the other one there were several: another may follow.
    assert result.endings == {Ending.CLEARED: 1, Ending.NOT_YET: 1}
    assert not {*tokens} & simulator.open_tokens()


@pytest.mark.parametrize(
    "instead",
    [None, [{**event("SessionClearedEvent"), "tracingId": "of-another"}]],
    ids=["cut", "another's end"],
)
def test_a_session_that_a_sweep_has_opened_itself_is_not_taken_for_the_guests(
    instead: list[object] | None, tmp_path: Path
) -> None:
    late = Deaf("silence", instead=instead)
    with FakeServer(late.serve) as server:
        settings = GuestSettings(
            target=parse_target(f"ws://127.0.0.1:{server.port}/v1?deploymentId={ID}"),
            open_within_s=0.1,
            close_within_s=0.1,
        )
        token = str(uuid.uuid4())
        guest = Connection(settings, token, Recorder())
        guest.connect()
        with pytest.raises(ReplyTimeout):
            guest.configure()
        guest.close()
        write_rows(tmp_path, [(token, Stage.INTENDED, "", wall_ns())])
        for _ in range(2):
            assert sweep(find_leftovers(tmp_path), settings, deadline_s=0.5).left == 1
        late.settle()
        assert late.open == {token} == {one.token for one in find_leftovers(tmp_path)}


@pytest.mark.parametrize("way", [*LATE, "answer"])
def test_a_sweep_notes_what_it_has_asked_for_itself(way: str, tmp_path: Path) -> None:
    late = Late(in_order(way), late_s=lambda: 0.3)
    with FakeServer(late.serve) as server:
        settings = GuestSettings(
            target=parse_target(f"ws://127.0.0.1:{server.port}/v1?deploymentId={ID}"),
            open_within_s=0.1,
            clear_within_s=0.1,
            close_within_s=0.1,
        )
        write_rows(tmp_path, [(str(uuid.uuid4()), Stage.JOINED, "", 1)])
        result = sweep(find_leftovers(tmp_path), settings)
        late.settle()
        left = find_leftovers(tmp_path)
    assert late.open <= {one.token for one in left}
    if way == "answer":
        assert (result.left, left) == (0, [])
    else:
        assert [(one.state, one.reason) for one in left] == [("joined", OPEN_UNANSWERED)]
        assert left[0].asked_ns > wall_ns() - 30_000_000_000


def test_what_was_answered_but_not_ended_is_as_it_was(simulator: Any, tmp_path: Path) -> None:
    tokens = leave_open(simulator, 1)
    write_rows(tmp_path, [(tokens[0], Stage.JOINED, "", 1)])
    before = find_leftovers(tmp_path)
    simulator.faults(ignore_clear=1)
    assert run_sweep(simulator, tmp_path).left == 1
    assert find_leftovers(tmp_path) == before
    simulator.faults()
    assert run_sweep(simulator, tmp_path).left == 0


def test_a_refused_connection_is_tried_again_when_the_service_says(tmp_path: Path) -> None:
    running = Simulator("--limits", "off")
    try:
        leave(running, tmp_path, alive=2, over=0)
        running.faults(refuse_429="#1,seconds=1")
        began = wall_ns()
        result = run_sweep(running, tmp_path)
        assert (result.settled, result.left) == (2, 0)
        assert (wall_ns() - began) / 1e9 >= 1
        assert running.truth()["faults"]["refuse_429"] == 1
    finally:
        running.stop()


def test_what_a_refusal_without_a_name_may_open_is_listed_whatever_the_sign_in_has_ended(
    tmp_path: Path,
) -> None:
    late = Late(in_order("another sign-in, without name"), late_s=lambda: 0.5)
    with FakeServer(late.serve) as server:
        settings = GuestSettings(
            target=parse_target(f"ws://127.0.0.1:{server.port}/v1?deploymentId={ID}"),
            close_within_s=0.1,
        )
        token = str(uuid.uuid4())
        write_rows(tmp_path, [(token, Stage.JOINED, "", 1)])
        result = sweep(find_leftovers(tmp_path), settings, sign_ins=("a.b.c",))
        assert result.endings == {Ending.NOT_YET: 1}
        late.settle()
        assert late.open == {token} == {one.token for one in find_leftovers(tmp_path)}
        sweep(find_leftovers(tmp_path), settings, deadline_s=0.1)
        assert late.open == set()
