"""The end of a run, whoever makes it: lost sessions are swept, then record, reports and verdict.

Every road leads here: Locust makes the end of its own run, whether or not ``harness run`` (or
anybody else) still watches it; where Locust itself has died, whoever watched makes it. No step
that fails takes the others with it, and whatever happens there is a verdict and an exit code. What
a step needs is imported by it: the start of a run does not pay for its end.
"""

import ssl
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from harness.config.target import Target
from harness.errors import ExitCode, HarnessError
from harness.rundir.layout import REPORT_PAGE, RunDirectory, sweep_command, write_start

if TYPE_CHECKING:
    from gevent.event import Event
    from rich.console import Console

Say = Callable[[str], object]
Result = TypeVar("Result")
SETTLED_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that has come to its end."""

    directory: Path
    record: dict[str, Any]
    report: str
    """the path of its page, or why there is none"""

    @property
    def exit_code(self) -> int:
        """That of the verdict."""
        return int(self.record["exit_code"])

    def show(self, console: "Console") -> None:
        """Tell how it went; at the very least the verdict, and how to end what is left."""
        sweep = sweep_command(self.directory)
        try:
            from harness.report.terminal import show_summary

            show_summary(self.record, console, report=self.report, sweep=sweep)
            for sentence in _not_swept(self.record.get("sweep")):
                console.print(f"  {sentence}", highlight=False, soft_wrap=True)
        except Exception as error:  # noqa: BLE001 - an odd record must not cost the verdict
            with suppress(OSError, ValueError):
                print(f"the summary can't be shown: {_reason_of(error)}")
                print(f"verdict  {self.record.get('verdict')}", *self.record.get("reasons", ()))
                if self.exit_code == ExitCode.LEFTOVERS:
                    print(f"end what is left with: {sweep}", flush=True)


def finish_run(
    directory: Path,
    target: Target,
    *,
    incomplete: str = "",
    sweep: bool = True,
    simulator: str = "",
    notes: Mapping[str, Any] | None = None,
    failures: Sequence[str] = (),
    say: Say = print,
    hurried: "Event | None" = None,
) -> Finished:
    """Make the end of a run from its files; may be done again when more is known. Raises nothing.

    ``incomplete`` says why the run ended early, if it did not end by itself; ``sweep``: whether
    sessions of processes that have died are ended now; ``simulator`` is the admin url of the one
    that was started for the run; ``notes`` go into ``start.json``; ``failures`` are told where the
    run's files can't be read; ``hurried`` is set once nothing is to be waited for.
    """
    from harness.judge.record import build_record, declare_invalid, record_of_nothing, write_record

    def take(what: str, step: Callable[[], Result]) -> Result | None:
        result, why = _attempt(step)
        if why:
            with suppress(Exception):
                say(f"{what}: {why}")
        return result

    if notes:
        take("how the run ended can't be noted", lambda: write_start(directory, **notes))
    swept = None
    if sweep:
        swept = take("sweeping", lambda: _sweep_lost(directory, target, say, hurried))
    take("counts of the platform", lambda: _note_counts(directory, target))
    made, why = _attempt(lambda: build_record(directory, incomplete=incomplete))
    record = made or record_of_nothing(directory, *failures, why)
    if simulator:
        take("the simulator's own count", lambda: _add_truth(directory, record, simulator, target))
    before = finished_before(directory)
    record["sweep"] = swept or (before and before.record.get("sweep"))
    _, why = _attempt(lambda: write_record(directory, record))
    if why:
        declare_invalid(record, f"the run's record can't be written: {why}")
    pages, why = _attempt(lambda: _make_reports(directory))
    report = str(pages[0]) if pages else f"can't be made: {why}"
    return Finished(directory=directory, record=record, report=report)


def finished_before(directory: Path) -> Finished | None:
    """The end that somebody else has made of a run; None where there is none that can be read."""
    try:
        record = orjson.loads(RunDirectory(directory).record.read_bytes())
        int(record["exit_code"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if (directory / REPORT_PAGE).exists():
        report = str(directory)
    else:
        report = f"there is none: make it with harness report {directory}"
    return Finished(directory=directory, record=record, report=report)


def simulator_truth(
    admin: str, ca_file: str | Path | None, *, within_s: float = SETTLED_WITHIN_S
) -> dict[str, Any] | None:
    """The simulator's own view once nobody is connected any more, at the latest after so long.

    None when it can't be asked any more. (Ends follow Clear with a delay.)
    """
    import urllib3

    tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
    deadline = time.monotonic() + within_s
    # Never through a proxy of the environment: the simulator is on this machine.
    with urllib3.PoolManager(ssl_context=tls, retries=False, timeout=10) as pool:
        while True:
            try:
                answer = pool.request("GET", f"{admin}/truth")
                truth: dict[str, Any] = orjson.loads(answer.data)
            except (urllib3.exceptions.HTTPError, ValueError):
                return None
            if answer.status != 200:
                return None
            if not truth.get("connections") or time.monotonic() > deadline:
                return truth
            time.sleep(0.1)


def _attempt(step: Callable[[], Result]) -> tuple[Result | None, str]:
    """What a step gives; or None, and why it failed: the next one is taken all the same."""
    try:
        return step(), ""
    except Exception as error:  # noqa: BLE001 - whatever it is, the verdict must be told
        return None, _reason_of(error) or type(error).__name__


def _make_reports(directory: Path) -> list[Path]:
    from harness.report.outputs import write_reports

    return write_reports(directory)


def _note_counts(directory: Path, target: Target) -> None:
    from harness.reconcile.platform import note_counts

    note_counts(directory, "after", target)


def _reason_of(error: Exception) -> str:
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # Ours to mend: the place helps whoever does.
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _sweep_lost(
    directory: Path, target: Target, say: Say, hurried: "Event | None"
) -> dict[str, Any] | None:
    """End what processes have left that died on the way; what the record says of it."""
    from harness.reconcile.sweep import only_sweep

    with only_sweep(directory):
        return _sweep_lost_alone(directory, target, say, hurried)


def _sweep_lost_alone(
    directory: Path, target: Target, say: Say, hurried: "Event | None"
) -> dict[str, Any] | None:
    from harness.guest.settings import GuestSettings
    from harness.reconcile.platform import sign_ins_of
    from harness.reconcile.sweep import find_lost, sweep, waiting_words

    workers, leftovers = find_lost(directory)
    if not leftovers:
        return None
    many = len(workers)
    say(
        f"{'1 process' if many == 1 else f'{many} processes'} of the run died: sweeping "
        f"{'1 session' if len(leftovers) == 1 else f'{len(leftovers):,} sessions'}"
    )
    settings = GuestSettings(target=target, tls=target.tls_context())
    try:
        result = sweep(
            leftovers,
            settings,
            on_wait=lambda many, wait_s: say(waiting_words(many, wait_s)),
            sign_ins=sign_ins_of(directory, say),
            hurried=hurried,
        )
    except KeyboardInterrupt:  # who will not wait has the verdict; what is left stays listed
        raise HarnessError("stopped by hand") from None
    return result.block(by="the end of the run, of lost processes")


def _not_swept(sweep: Mapping[str, Any] | None) -> Iterator[str]:
    """Why sessions are left that the end of the run tried to end."""
    endings = (sweep or {}).get("endings")
    if not endings:
        return
    from harness.guest.outcomes import Ending

    for ending in Ending:
        if not ending.proof and (many := endings.get(str(ending))):
            yield f"of lost processes {many:,} {ending.words}"


def _add_truth(directory: Path, record: dict[str, Any], admin: str, target: Target) -> None:
    """The simulator's own count beside ours. What it has open, the ledger must list."""
    from harness.judge.record import declare_invalid
    from harness.ledger.reader import read_leftovers

    truth = simulator_truth(admin, target.ca_file)
    if truth is None:
        return
    record["simulator"] = {**truth["sessions"], "conversations": truth["conversations"]}
    unlisted = set(truth["open_tokens"]) - {left.token for left in read_leftovers(directory)}
    if unlisted:
        declare_invalid(
            record, f"the simulator has {len(unlisted)} open sessions that the ledger does not list"
        )
