"""A machine carries what fits its files and ports, and says what would help where it does not."""

import resource
from dataclasses import replace

import pytest

from harness.machine import (
    MOST_WORKERS,
    Machine,
    Share,
    available_memory_mb,
    raise_file_limit,
    shortfalls,
    this_machine,
    too_many_processes,
    too_many_workers,
)

SMALL = Machine(files=1024, ports=28_000, cores=2)


def test_what_fits_fits() -> None:
    assert shortfalls(SMALL, Share(at_once=500, per_s=10)) == ()


def test_files() -> None:
    (why,) = shortfalls(SMALL, Share(at_once=1000))
    assert "1,200 open files" in why
    assert "ulimit -n" in why
    assert shortfalls(replace(SMALL, files=4096), Share(at_once=1000)) == ()


def test_ports_count_those_just_closed_and_grow_with_sources() -> None:
    share = Share(at_once=800, per_s=300, processes=2)
    (why,) = shortfalls(SMALL, share)
    assert "37,600 connections" in why
    assert "source addresses" in why
    assert shortfalls(SMALL, replace(share, sources=2)) == ()


def test_a_rate_that_no_process_carries() -> None:
    problems = shortfalls(replace(SMALL, ports=10**6), Share(at_once=1, per_s=5000))
    assert "use more processes" in problems[0]


def test_the_limit_on_files_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, soft), hard))
        assert raise_file_limit() >= 512
        assert this_machine().files == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_free_memory_is_told_where_the_system_tells_it() -> None:
    memory_mb = available_memory_mb()
    assert memory_mb is None or 1 < memory_mb < 10**8


def test_more_processes_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.machine.usable_cores", lambda: [0, 3])
    assert [too_many_processes(number) for number in (None, -1, 1, 2)] == [""] * 4
    assert "1,000 on 2 cores" in too_many_processes(1000)


def test_more_workers_than_a_master_can_lead() -> None:
    assert too_many_workers(MOST_WORKERS) == ""
    assert "several runs side by side" in too_many_workers(MOST_WORKERS + 1)
