"""The limit of a rising load: found, told apart from the other side's, not faked by one stall."""

from harness.studies.calibrate.calibration import Limit, Second, find_limit, is_spoiled


def rise(
    length: int, *, lags_from: int = 999, slow_from: int = 999, stall: int | None = None
) -> list[Second]:
    """Ten more a second; beyond the given rates the generator lags, or the other side is slow."""
    seconds = []
    for number in range(length):
        rate = 10.0 * number
        lag = 300.0 if rate >= lags_from or number == stall else 2.0
        seconds.append(Second(done=rate, lag_ms=lag, answer_ms=900.0 if rate >= slow_from else 5.0))
    return seconds


def test_the_limit_is_the_last_rate_that_was_good() -> None:
    seconds = rise(60, lags_from=300)
    rate = find_limit(seconds)
    assert rate is not None
    assert rate.limit is Limit.GENERATOR
    assert 240 <= rate.per_s <= 300
    assert is_spoiled(seconds)


def test_the_other_side_is_told_apart() -> None:
    rate = find_limit(rise(60, slow_from=300))
    assert rate is not None
    assert rate.limit is Limit.OTHER_SIDE
    # where both happen at once the generator is to blame
    both = find_limit(rise(60, slow_from=300, lags_from=300))
    assert both is not None
    assert both.limit is Limit.GENERATOR


def test_one_stall_is_no_limit() -> None:
    seconds = rise(60, stall=20)
    rate = find_limit(seconds)
    assert rate is not None
    assert (rate.limit, rate.per_s) == (Limit.NOT_REACHED, 580.0)
    assert not is_spoiled(seconds)


def test_without_a_good_second_nothing_is_said() -> None:
    seconds = rise(30, lags_from=0)
    assert find_limit(seconds) is None
    assert is_spoiled(seconds)
    assert find_limit([]) is None
    assert not is_spoiled([])
