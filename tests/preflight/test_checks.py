"""What a deployment's configuration means for load."""

from typing import Any

import pytest

from harness.platform_api.client import CONNECTIONS, MESSAGES, REQUESTS
from harness.preflight.checks import (
    Status,
    check_calibration,
    check_clock,
    check_deployment,
    check_guard,
    check_limits,
    check_schedule,
    passed,
)
from harness.preflight.guard import Refusal, Rule


def config(**talks: Any) -> dict[str, Any]:
    talks = {"conversationClear": {"enabled": True}, "autoStart": {"enabled": False}} | talks
    return {"status": "Active", "messenger": {"apps": {"conversations": talks}}}


def by_name(found: list[Any]) -> dict[str, Any]:
    return {check.name: check for check in found}


def test_a_deployment_whose_sessions_can_be_proved_ended() -> None:
    found = by_name(check_deployment(config(sessionDurationSeconds=259200)))
    assert all(check.status is Status.OK for check in found.values())
    assert found["session life"].text == "3d"
    assert "first text" in found["start"].text


def test_without_clear_nothing_could_be_proved() -> None:
    for off in (config(conversationClear={"enabled": False}), {"status": "Active"}):
        found = check_deployment(off)
        assert by_name(found)["clear"].status is Status.FAIL
        assert not passed(found)
    for odd in ("false", "off", 1, [1], {"enabled": True}):
        found = check_deployment(config(conversationClear={"enabled": odd}))
        assert by_name(found)["clear"].status is Status.FAIL, odd
    found = check_deployment(config(sessionDurationSeconds=True))
    assert by_name(found)["session life"].text == "not stated"


def test_inactive_and_signed_in_deployments_are_told() -> None:
    found = by_name(check_deployment(config() | {"status": "Inactive", "auth": {"enabled": True}}))
    assert found["deployment"].status is Status.FAIL
    assert found["sign-in"].status is Status.FAIL


def test_where_guests_sign_in() -> None:
    def told(auth: dict[str, Any], **how: bool) -> Any:
        return by_name(check_deployment(config() | {"auth": auth}, **how)).get("sign-in")

    needed, free = {"enabled": True}, {"enabled": True, "allowSessionUpgrade": True}
    assert told(needed).status is Status.FAIL
    assert "write sign_ins" in told(needed).text
    assert told(needed, sign_ins=True).status is Status.OK
    assert told(free).status is Status.WARN
    assert told({}) is None
    assert told({}, sign_ins=True).status is Status.WARN


def test_a_widget_that_joins_and_guests_who_do_not() -> None:
    joins = config(autoStart={"enabled": True})
    assert "write auto_join = true" in by_name(check_deployment(joins))["start"].text
    assert "auto_join" not in by_name(check_deployment(joins, auto_join=True))["start"].text


def test_the_schedule_against_the_limits() -> None:
    (fits,) = check_schedule(peak_per_s=16.6, at_once=10)
    (agreed,) = check_schedule(peak_per_s=18.5, at_once=10, connections_per_min=2000)
    (over, fast) = check_schedule(peak_per_s=18.5, at_once=10, breaks=["too fast"])
    assert (agreed.status, fast.text) == (Status.OK, "too fast")
    assert (fits.status, over.status, fast.status) == (Status.OK, Status.FAIL, Status.WARN)
    assert "1,110 per minute" in over.text
    assert check_schedule(peak_per_s=None, at_once=5)[0].status is Status.SKIPPED


def test_the_organisations_own_limits() -> None:
    own = {CONNECTIONS: 500, REQUESTS: 60, MESSAGES: 2}
    low, slow = check_limits(own, connections_per_min=None)
    assert (low.status, slow.status) == (Status.WARN, Status.WARN)
    assert low.text.endswith("guests keep to 1,000: write connections_per_minute = 500")
    assert "allows 2 messages a second of one guest, guests keep to 5" in slow.text
    (fine,) = check_limits(own | {MESSAGES: 5}, connections_per_min=500)
    assert fine.status is Status.OK
    assert "500 new connections a minute, 60 requests" in fine.text
    assert check_limits({}, connections_per_min=None) == []
    (none,) = check_limits({CONNECTIONS: 0}, connections_per_min=None)
    assert none.text == "the organisation's own: none"


def test_clock_and_guard() -> None:
    assert check_clock(1.0).status is Status.OK
    assert check_clock(-0.4).text == "+0 s compared with the service's"
    assert check_clock(-90.0).status is Status.WARN
    assert check_clock(None).status is Status.SKIPPED
    assert check_guard((), guarded=False)[0].status is Status.OK
    (told,) = check_guard((Refusal(rule=Rule.WINDOW, why="closed"),), guarded=True)
    assert (told.name, told.status) == ("window", Status.WARN)
    assert told.text == "will be refused: closed"


def test_a_machine_that_was_calibrated() -> None:
    good = check_calibration(peak_per_s=20, at_once=500, safe_per_s=140, room=9000)
    assert [check.status for check in good] == [Status.OK]
    bad = check_calibration(peak_per_s=200, at_once=9500, safe_per_s=140, room=9000)
    assert [check.status for check in bad] == [Status.WARN, Status.WARN]
    assert "use more processes or machines" in bad[0].text
    (late,) = check_calibration(
        peak_per_s=20, at_once=5, safe_per_s=140, room=9000, disturbed="while others were at work"
    )
    assert late.text.endswith("(measured while others were at work)")
    (unknown,) = check_calibration(peak_per_s=20, at_once=5, safe_per_s=None, room=9000)
    assert (unknown.status, "no figure" in unknown.text) == (Status.WARN, True)
    assert check_calibration(peak_per_s=None, at_once=1, safe_per_s=None, room=None) == []


@pytest.mark.parametrize(
    "odd", [None, [], "x", 7, -1, 1e300, float("nan"), {"enabled": "yes"}, True]
)
def test_a_configuration_may_hold_anything(odd: Any) -> None:
    talks = {"conversationClear": odd, "autoStart": odd, "sessionDurationSeconds": odd}
    for found in (
        {"status": odd, "auth": odd, "messenger": {"apps": {"conversations": talks}}},
        {"status": odd, "auth": {"enabled": odd}, "messenger": odd},
    ):
        assert all(check.text for check in check_deployment(found))
