"""The gate by the real clock: refused with every rule, permitted, overridden with its reason."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from harness.config.target import Terms, parse_target
from harness.errors import PreflightRefused
from harness.preflight.guard import Intent, Rule, permit, write_stamp

INTENT = Intent(sessions=5, at_once=5, peak_per_s=1.0, stop_timeout_s=1)
LOCAL = parse_target("ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef")


def terms(*, opens_in_h: int, **more: object) -> Terms:
    zone = ZoneInfo("UTC")
    now = datetime.now(zone)
    window = (
        (now + timedelta(hours=opens_in_h)).time(),
        (now + timedelta(hours=opens_in_h + 6)).time(),
    )
    given = {"approval": "case", "max_sessions": 10, **more}
    return Terms(name="t", target=LOCAL, treat_as_real=True, zone=zone, window=window, **given)


def test_all_in_order(tmp_path: Path) -> None:
    good = terms(opens_in_h=-3)
    write_stamp(tmp_path, good, passed=True)
    given = permit(good, INTENT, reports=tmp_path, overrides={})
    assert given.stop_at is not None
    assert given.max_sessions == 10
    assert given.overridden == ()


def test_every_broken_rule_is_named(tmp_path: Path) -> None:
    bad = terms(opens_in_h=3, approval="", max_sessions=None)
    with pytest.raises(PreflightRefused) as caught:
        permit(bad, replace(INTENT, breaks=["too fast"]), reports=tmp_path, overrides={})
    assert all(f"{rule}: " in str(caught.value) for rule in Rule)


def test_overrides_are_kept_with_what_they_overrode(tmp_path: Path) -> None:
    bad = terms(opens_in_h=3)
    reasons = {Rule.WINDOW: "agreed", Rule.PREFLIGHT: "rehearsal", Rule.CAP: "not needed"}
    given = permit(bad, INTENT, reports=tmp_path, overrides=reasons)
    assert [entry["rule"] for entry in given.overridden] == ["window", "preflight"]
    assert given.overridden[0]["reason"] == "agreed"
    assert given.stop_at is None
    assert given.max_sessions is None
