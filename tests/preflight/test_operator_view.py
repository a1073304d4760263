"""A guest's visit as the operators' side shows it, in worlds that show it differently."""

from pathlib import Path
from typing import Any

import pytest
from sessions import Simulated, terms_of

from harness.platform_api.conversations import ConversationState
from harness.preflight.checks import Status, check_operator_view
from harness.preflight.guard import Learned
from harness.preflight.trial import OperatorView, Patience, try_one_guest

pytestmark = pytest.mark.process

SHORT = Patience(first_s=1.5, silence_s=0.2, turn_s=3.0)


def look(
    folder: Path, *options: str, within_s: float = 10.0
) -> tuple[OperatorView, dict[str, Any]]:
    with Simulated(*options) as world:
        terms = terms_of(world.url, folder)
        view = OperatorView(world.api())
        trial = try_one_guest(
            terms, folder / "reports", patience=SHORT, while_open=view.look_while_open
        )
        assert trial.ended
        view.look_after(trial, within_s=within_s)
        view.api.close()
    return view, view.learned


def status_of(view: OperatorView, *, within_s: float = 10.0) -> dict[str, Status]:
    learned, refused = Learned(**view.learned), sorted(view.refused)
    found = check_operator_view(learned, view.state, refused=refused, within_s=within_s)
    return {check.name: check.status for check in found}


def test_everything_is_shown(tmp_path: Path) -> None:
    view, found = look(tmp_path, "--knob", "attribute_prefix=context.")
    assert view.state is ConversationState.ENDED
    assert (found["message_leads"], found["search_shown"], found["journey_shown"]) == (True,) * 3
    assert found["attribute_prefix"] == "context."
    assert (found["purpose_direct"], found["purpose_search"]) == ("customer", "customer")
    assert found["ended_s"] < 5
    assert found["analytics_ends_s"] < 5
    assert set(status_of(view).values()) == {Status.OK}


def test_external_in_one_view_and_a_lag(tmp_path: Path) -> None:
    options = ("--knob", "purpose_in_analytics=external", "--knob", "platform_lag_s=3s")
    _, found = look(tmp_path, *options, within_s=20.0)
    assert (found["purpose_direct"], found["purpose_analytics"]) == ("customer", "external")
    assert found["analytics_ends_s"] >= 2.5
    assert found["ended_s"] < 2.5


def test_without_the_direct_view_analytics_proves_the_end(tmp_path: Path) -> None:
    view, found = look(tmp_path, "--knob", "direct_view=missing")
    assert (found["direct_shown"], view.state) == (False, ConversationState.ENDED)
    assert status_of(view)["proved outside"] is Status.OK


def test_what_is_not_shown_is_not_proved(tmp_path: Path) -> None:
    options = ("--knob", "direct_view=missing", "--knob", "platform_lag_s=3600")
    view, found = look(tmp_path, *options, "--knob", "search_lag_s=3600", within_s=0.5)
    assert view.state is ConversationState.UNKNOWN
    told = status_of(view, within_s=0.5)
    assert (told["proved outside"], told["analytics"]) == (Status.WARN, Status.WARN)
    assert found["search_shown"] is False


def test_a_conversation_that_goes_on_after_clear_fails(tmp_path: Path) -> None:
    view, _ = look(tmp_path, "--knob", "conversation_end_lag_s=60", within_s=0.5)
    assert view.state is ConversationState.OPEN
    assert status_of(view, within_s=0.5)["proved outside"] is Status.FAIL


def test_what_lags_is_no_word_that_it_is_open(tmp_path: Path) -> None:
    """Without the direct view only analytics tells, and it still shows the state before Clear."""
    options = ("--knob", "direct_view=missing", "--knob", "platform_lag_s=3")
    view, found = look(tmp_path, *options, within_s=1.5)
    assert found.get("analytics_ends_s") is None
    assert view.state is ConversationState.UNKNOWN
