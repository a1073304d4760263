"""Merge several runs that went on at the same time, each with its share of the load, into one.

The result looks like a run whose workers are the processes of its parts, and is judged like one.
Intervals and histograms are copied, so that every figure is exact. Ledgers are linked, so that each
session has one row, in its part. Nothing in a part is changed.
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

from harness.errors import ConfigError, UsageError
from harness.judge.reading import judge_anew
from harness.judge.record import build_record, judged_by, sessions_as_left, write_record
from harness.judge.series import read_span
from harness.judge.validity import gone_workers, write_shares
from harness.ledger.reader import missing_ledgers
from harness.ledger.runs import RunState, run_state
from harness.rundir.layout import (
    MERGED_FROM,
    MERGED_SUFFIX,
    RunDirectory,
    make_run_directory,
    new_run_id,
    read_start,
    worker_of,
    write_atomically,
    write_start,
    writing,
)
from harness.units import duration_text

SAME = (
    *("target", "deployment_id", "origin", "locustfile", "mix", "arrival_stamps", "versions"),
    *("objectives", "confident", "warm_up_s"),
)
"""Keys of ``start.json`` that must be equal in all parts."""
MAY_DIFFER = ("versions", "arrival_stamps", "origin", "locustfile", "objectives")
"""Those of these keys that may differ if a reason is given. A difference in another key means that
the parts were not one load, or that no figure can be judged."""
NOT_OF_ALL = ("platform", "learned", "baseline", "disk")
"""Keys of ``start.json`` that belong to a part alone."""
MIN_OVERLAP = 0.5
"""Each part must have overlapped all others for more than this share of its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    files: RunDirectory
    start: dict[str, Any]
    record: dict[str, Any]
    """the record as the run left it (without later sweeps), checked against the present files"""
    began_s: float
    ended_s: float

    @property
    def name(self) -> str:
        return self.files.path.name

    def ledgers(self) -> list[Path]:
        """The ledgers, including missing ones, which may hide sessions."""
        return [*self.files.ledgers(), *missing_ledgers(self.files.path)]

    def workers(self) -> set[str]:
        return {worker_of(path) for path in (*self.files.all_intervals(), *self.ledgers())}


def merge_runs(
    runs: Sequence[Path], reports: Path, *, overrides: Mapping[str, str] = MappingProxyType({})
) -> tuple[Path, dict[str, Any]]:
    """Merge these runs into a new one in ``reports``; returns its directory and its record.

    ``overrides``: keys of :data:`MAY_DIFFER` with the reason for each. Raises ConfigError if the
    runs can't be merged or read, and LedgerError.
    """
    parts = [_part(path) for path in runs]
    _refuse_twice(parts)
    overridden = _refuse_unlike(parts, overrides)
    _refuse_apart(parts)
    directory = make_run_directory(reports, new_run_id() + MERGED_SUFFIX)
    try:
        with writing(directory):
            _write(directory, parts, overridden)
            record = build_record(directory, incomplete=_incomplete(parts), at_end=_as_left(parts))
            write_record(directory, record)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory, record


def _part(path: Path) -> _Part:
    state = run_state(path)
    if state is RunState.GOING_ON:
        raise ConfigError(f"the run {path.name} is still going on: merge it when it has ended")
    files, start = RunDirectory(path), read_start(path)
    span = read_span(files.all_intervals())
    if span is None or not start:
        raise ConfigError(f"{path}: not a run that has measured anything: it can't be merged")
    record = judge_anew(path, judged_by(start))
    ended_s = span[1] if record.get("complete") else inf  # it was cut off before its end
    return _Part(files=files, start=start, record=record, began_s=span[0], ended_s=ended_s)


def _refuse_twice(parts: Sequence[_Part]) -> None:
    if len(parts) < 2:
        raise UsageError("--merge: expected two runs or more")
    owners: dict[str, Path] = {}
    for part in parts:
        path = part.files.path
        for worker in sorted(part.workers()):
            if worker in owners:
                raise ConfigError(
                    f"--merge: {path} has the process {worker}, and so has {owners[worker]}: no "
                    "run may be given twice"
                )
        owners |= dict.fromkeys(part.workers(), path)


def _refuse_unlike(parts: Sequence[_Part], overrides: Mapping[str, str]) -> list[dict[str, str]]:
    """Refuse runs that differ. Returns the differences that were overridden, for the record."""
    first = _must_agree(parts[0].start)
    overridden: dict[str, dict[str, str]] = {}
    for part in parts[1:]:
        unlike = {
            key: f"{key}: {first[key]!s:.80} and {value!s:.80}"
            for key, value in _must_agree(part.start).items()
            if value != first[key]
        }
        names = f"{parts[0].name} and {part.name}"
        if left := [key for key in unlike if key not in overrides]:
            advice = ""
            if all(key in MAY_DIFFER for key in left):
                words = " ".join(f"--override {key}=REASON" for key in left)
                advice = f"; {words} merges them anyway, and the report says so"
            differ = "; ".join(unlike[key] for key in left)
            raise ConfigError(f"{names} can't be merged, they differ in {differ}{advice}")
        for key, said in unlike.items():
            one = {"rule": key, "said": f"{names} differ in {said}", "reason": overrides[key]}
            overridden.setdefault(key, one)
    return list(overridden.values())


def _must_agree(start: Mapping[str, Any]) -> dict[str, Any]:
    facts = {key: start.get(key) for key in SAME}
    facts["objectives"] = sorted(facts["objectives"] or ())
    facts["locustfile"] = PurePath(facts["locustfile"] or "").name  # each machine has its folders
    facts["workload"] = "open" if start.get("schedule") else "closed"
    return facts


def _refuse_apart(parts: Sequence[_Part]) -> None:
    together_s = min(part.ended_s for part in parts) - max(part.began_s for part in parts)
    for part in parts:
        length_s = part.ended_s - part.began_s
        if length_s < inf and together_s <= MIN_OVERLAP * length_s:
            raise ConfigError(
                f"{' and '.join(one.name for one in parts)} did not go on side by side: of the "
                f"{duration_text(round(length_s))} of {part.name}, all of them shared "
                f"{duration_text(max(0, round(together_s)))}"
            )


def _write(
    directory: Path, parts: Sequence[_Part], overridden: Sequence[Mapping[str, str]]
) -> None:
    files = RunDirectory(directory)
    gone: dict[str, int] = {}
    failures: list[str] = []
    for part in parts:
        workers = part.workers()
        for path in (*part.files.all_intervals(), *part.files.all_histograms()):
            if worker_of(path) in workers:  # (an audit adds a file of no worker)
                shutil.copyfile(path, directory / path.name)
        for path in part.ledgers():
            link = files.ledger(worker_of(path))
            link.symlink_to(os.path.relpath(path.resolve(), directory.resolve()))
        gone |= gone_workers(part.files.path)
        failures += [f"{part.name}: {why}" for why in part.record["invalid_because"]]
    if gone:
        write_shares(directory, [], gone)
    if failures:
        write_atomically(files.failures, "".join(f"{why}\n" for why in failures))
    start = _start(parts)
    start["overridden"] = [*(start.get("overridden") or ()), *overridden]
    write_start(directory, **start)


def _start(parts: Sequence[_Part]) -> dict[str, Any]:
    """The start file of the merged run, made of those of the parts."""
    starts = [part.start for part in parts]
    keys = dict.fromkeys(chain.from_iterable(starts))
    merged = {key: _of_all([one.get(key) for one in starts]) for key in keys}
    for key in (*NOT_OF_ALL, "run_id"):
        merged.pop(key, None)
    if schedules := [one["schedule"] for one in starts if one.get("schedule")]:
        merged["schedule"] = {
            "count": sum(one.get("count") or 0 for one in schedules),
            "duration_s": max(one.get("duration_s") or 0.0 for one in schedules),
            "parts": [],  # the steps of the runs did not begin at the same moment
        }
        merged["arrivals"] = "; ".join(str(one.get("arrivals")) for one in starts)
    for key in ("users", "spawn_rate"):  # "slots" has the sum
        (merged.get("options") or {}).pop(key, None)
    for key in ("slots", "cap"):
        there = [one[key] for one in starts if one.get(key) is not None]
        merged[key] = sum(there) if there else None
    if any(one.get("arrival_stamps") == "userspace" for one in starts):
        merged["arrival_stamps"] = "userspace"  # one part with this warning warns for all
    return merged | {
        "started": min(str(one.get("started")) for one in starts),
        MERGED_FROM: [part.name for part in parts],
    }


def _of_all(values: Sequence[Any]) -> Any:
    """The value for all parts: lists and objects are merged, different texts are joined."""
    there = [value for value in values if value not in (None, "", [], {})]
    if not there or all(value == there[0] for value in there):
        return there[0] if there else values[0]
    if all(isinstance(value, list) for value in there):
        return list({str(one): one for value in there for one in value}.values())
    if all(isinstance(value, dict) for value in there):
        return {
            key: one
            for value in there
            for key, one in value.items()
            if all(other.get(key, one) == one for other in there)
        }
    return "; ".join(dict.fromkeys(str(value) for value in there))


def _incomplete(parts: Sequence[_Part]) -> str:
    cut = [part.name for part in parts if not part.record.get("complete")]
    return f"{' and '.join(cut)} did not reach the end" if cut else ""


def _as_left(parts: Sequence[_Part]) -> dict[str, Any]:
    """The sum of the parts' accounts, as they were at the end of each run."""
    accounts = [sessions_as_left(part.record) for part in parts]
    reasons: Counter[str] = Counter()
    for account in accounts:
        reasons.update(account.get("leftover_reasons") or {})
    numbers = [key for key, value in accounts[0].items() if isinstance(value, int)]
    return {
        **{key: sum(account.get(key) or 0 for account in accounts) for key in numbers},
        "leftover_reasons": dict(reasons),
        "balanced": all(account.get("balanced", True) for account in accounts),
        "may_lack": any(account.get("may_lack", False) for account in accounts),
    }
