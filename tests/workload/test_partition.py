"""However workers come and go, each arrival is exactly one worker's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.workload.schedule import Partition, Piece, Share

NAMES = "abcdef"
CHANGES = st.lists(
    st.tuples(st.integers(0, 60), st.sets(st.sampled_from(NAMES), min_size=1)), max_size=6
)


def everything(share: Share) -> list[int]:
    found, at = [], share.after(-1)
    while at is not None:
        found.append(at)
        at = share.after(at)
    return found


@given(count=st.integers(0, 200), first=st.sets(st.sampled_from(NAMES), min_size=1), more=CHANGES)
def test_shares_partition_the_schedule_whatever_happens(
    count: int, first: set[str], more: list[tuple[int, set[str]]]
) -> None:
    partition = Partition(count, sorted(first))
    at = 0
    for step, workers in more:
        at += step
        partition.change(at, sorted(workers))
    shares = {name: Share(count, partition.pieces_of(name)) for name in NAMES}
    taken = {name: everything(share) for name, share in shares.items()}
    assert sorted(index for indices in taken.values() for index in indices) == list(range(count))
    for name, indices in taken.items():
        for below in (0, 1, at, count // 2, count, count + 5):
            assert partition.assigned(name, below) == sum(index < below for index in indices)


def test_a_change_leaves_what_was_before_as_it_was() -> None:
    partition = Partition(12, ["a", "b"])
    before = everything(Share(12, partition.pieces_of("b")))
    partition.change(6, ["b", "c", "d"])
    after = everything(Share(12, partition.pieces_of("b")))
    assert [index for index in after if index < 6] == [index for index in before if index < 6]
    assert partition.workers == ("b", "c", "d")
    assert partition.pieces_of("a") == [Piece(0, 0, 2), Piece(6, 0, 0)]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="worker 2 of 2"):
        Share.of(10, 2, 2)
    with pytest.raises(ConfigError, match="out of order"):
        Share(10, [Piece(5, 0, 1), Piece(0, 0, 1)])
    partition = Partition(10, ["a"])
    partition.change(5, ["b"])
    with pytest.raises(ConfigError, match="arrival 4 has been given away"):
        partition.change(4, ["c"])
