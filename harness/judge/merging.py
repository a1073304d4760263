"""Makes one run of several that went on side by side, each with its share of the load.

It looks like a run whose workers are the processes of its parts, and is judged like one: their
intervals and histograms are copied, so that every figure is exact. Their ledgers are linked, so
that a session has one row, in its part. Nothing in a part is changed.
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

from harness.errors import ConfigError
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
"""Keys of ``start.json`` in which runs must agree to be one."""
MAY_DIFFER = ("versions", "arrival_stamps", "origin", "locustfile", "objectives")
"""Of these, the ones in which they may differ for a reason that is given: the others say that it
was not one load, or that no figure of it can be judged."""
NOT_OF_ALL = ("platform", "learned", "baseline", "disk")
"""Keys of it that are a part's alone."""
MOST = 0.5
"""For more than this share of its length each part must have gone on beside all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    files: RunDirectory
    start: dict[str, Any]
    record: dict[str, Any]
    """as the run was left, whatever was swept since, and by the files that are there now"""
    began_s: float
    ended_s: float

    @property
    def name(self) -> str:
        return self.files.path.name

    def ledgers(self) -> list[Path]:
        """Also those that are gone: they may hide sessions."""
        return [*self.files.ledgers(), *missing_ledgers(self.files.path)]

    def workers(self) -> set[str]:
        return {worker_of(path) for path in (*self.files.all_intervals(), *self.ledgers())}


def merge_runs(
    runs: Sequence[Path], reports: Path, *, overrides: Mapping[str, str] = MappingProxyType({})
) -> tuple[Path, dict[str, Any]]:
    """Make a new run of these, in ``reports``; its directory and its record.

    ``overrides``: some of :data:`MAY_DIFFER`, and the reason for each. Raises ConfigError where
    they can't be one, or can't be read; LedgerError.
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
    ended_s = span[1] if record.get("complete") else inf  # it was to go on for longer
    return _Part(files=files, start=start, record=record, began_s=span[0], ended_s=ended_s)


def _refuse_twice(parts: Sequence[_Part]) -> None:
    if len(parts) < 2:
        raise ConfigError("--merge: expected two runs or more")
    owners: dict[str, Path] = {}
    for part in parts:
        path = part.files.path
        for worker in sorted(part.workers()):
            if worker in owners:
                raise ConfigError(
                    f"--merge: {path} has the process {worker}, and so has {owners[worker]}: no "
                    "run may be in it twice"
                )
        owners |= dict.fromkeys(part.workers(), path)


def _refuse_unlike(parts: Sequence[_Part], overrides: Mapping[str, str]) -> list[dict[str, str]]:
    """What they differ in all the same, as the record tells of rules that were overridden."""
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
            raise ConfigError(f"{names} can't be one run, they differ in {differ}{advice}")
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
        if length_s < inf and together_s <= MOST * length_s:
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
            if worker_of(path) in workers:  # what an audit has added since is none
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
    """How all of them were started, as if one had been."""
    starts = [part.start for part in parts]
    keys = dict.fromkeys(chain.from_iterable(starts))
    merged = {key: _of_all([one.get(key) for one in starts]) for key in keys}
    for key in (*NOT_OF_ALL, "run_id"):
        merged.pop(key, None)
    if schedules := [one["schedule"] for one in starts if one.get("schedule")]:
        merged["schedule"] = {
            "count": sum(one.get("count") or 0 for one in schedules),
            "duration_s": max(one.get("duration_s") or 0.0 for one in schedules),
            "parts": [],  # their steps did not begin at the same moment
        }
        merged["arrivals"] = "; ".join(str(one.get("arrivals")) for one in starts)
    for key in ("users", "spawn_rate"):  # slots says it of all
        (merged.get("options") or {}).pop(key, None)
    for key in ("slots", "cap"):
        there = [one[key] for one in starts if one.get(key) is not None]
        merged[key] = sum(there) if there else None
    if any(one.get("arrival_stamps") == "userspace" for one in starts):
        merged["arrival_stamps"] = "userspace"  # the warning of one part is that of all
    return merged | {
        "started": min(str(one.get("started")) for one in starts),
        MERGED_FROM: [part.name for part in parts],
    }


def _of_all(values: Sequence[Any]) -> Any:
    """What is true of all parts: lists and objects are put together, words stand side by side."""
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
    return f"{' and '.join(cut)} did not come to the end" if cut else ""


def _as_left(parts: Sequence[_Part]) -> dict[str, Any]:
    """The accounts of all, added, as the ends of the runs left them."""
    accounts = [sessions_as_left(part.record) for part in parts]
    reasons: Counter[str] = Counter()
    for account in accounts:
        reasons.update(account.get("leftover_reasons") or {})
    numbers = [key for key, value in accounts[0].items() if isinstance(value, int)]
    return {
        **{key: sum(account.get(key) or 0 for account in accounts) for key in numbers},
        "leftover_reasons": dict(reasons),
        "balanced": all(account.get("balanced", True) for account in accounts),
    }
