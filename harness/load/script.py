"""A conversation script as load: each guest plays one scenario, fed with a row of its own."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from locust import task
from locust.exception import StopUser

from harness.errors import ConfigError, NotPossible
from harness.guest.player import NO_ROW, act
from harness.guest.session import GuestSession
from harness.load.run import Run
from harness.load.user import GuestUser
from harness.workload.data import Feeder, Mode, Row
from harness.workload.script.file import read_script
from harness.workload.script.model import Script


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A script that was read and is fit to be played."""

    script: Script
    folder: Path
    feeder: Feeder | None
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """its sets of texts by name"""

    def rows_of(self, worker: int, workers: int) -> Iterator[Row] | None:
        """The rows of one worker's guests; None when the script has no feeder."""
        return None if self.feeder is None else self.feeder.rows_of(worker, workers)


@dataclass(slots=True, kw_only=True)
class Playing:
    """A script at work in one process: what its guests share."""

    rows: Iterator[Row] | None
    """this worker's own rows; None when the script has no feeder"""
    rng: Random = field(default_factory=Random)

    def next_row(self) -> Row:
        """The row of the next guest; StopIteration when rows are unique and used up."""
        return NO_ROW if self.rows is None else next(self.rows)


class ScriptUser(GuestUser):
    """Inherit from it and name a ``script``; its path counts from the locustfile's folder.

    The script and its data are read when the class is made, so that what is wrong with them is
    told before anything is sent.
    """

    abstract = True
    script: str = ""
    _opened: Opened
    _row: Row = NO_ROW

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if not vars(cls).get("abstract", False):
            cls._opened = open_script(cls.script, _folder_of(cls), cls.__name__)

    @classmethod
    def opened(cls) -> Opened:
        """The script of this class, read and checked."""
        return cls._opened

    @task
    def play(self) -> None:
        """The next guest plays a scenario, chosen by weight."""
        playing = self._playing()
        try:
            row = playing.next_row()
        except StopIteration:
            self._asked_to_stop = True  # each row was used once
            Run.of(self.environment).rows_used_up()
            raise StopUser from None
        script, folder = self._opened.script, self._opened.folder
        name = script.pick(playing.rng)
        self._row = row
        with self.guest() as guest:
            act(
                guest,
                script,
                name,
                row=row,
                rng=playing.rng,
                folder=folder,
                texts=self._opened.texts,
            )

    def note_end(self, session: GuestSession, end: Exception) -> None:
        """The same, with the row that the guest had."""
        feeder = self._opened.feeder
        if isinstance(end, NotPossible) and feeder is not None:
            # the first row like it; the file's first line is its header
            line = feeder.table.rows.index(tuple(self._row.values())) + 2
            end = NotPossible(
                end.what, f"{end.details} ({Path(feeder.table.name).name}, line {line})"
            )
        super().note_end(session, end)

    @classmethod
    def rows_are_unique(cls) -> bool:
        """Whether each row may be used once only, so that they are shared out at the start."""
        feeder = cls._opened.feeder
        return feeder is not None and feeder.mode is Mode.UNIQUE

    def _playing(self) -> Playing:
        run = Run.of(self.environment)
        found: dict[type, Playing] = vars(self.environment).setdefault("harness_scripts", {})
        kind = type(self)
        if kind not in found:
            found[kind] = Playing(
                rows=self._opened.rows_of(run.worker, run.workers),
                rng=Run.rng_of(self.environment),
            )
        return found[kind]


def open_script(script: str, folder: Path, user: str) -> Opened:
    """The script of a user class. Raises ConfigError."""
    if not script:
        raise ConfigError(f"{user} names no script: say script = 'FILE.yaml'")
    path = folder / script
    loaded = read_script(path)
    feeder = None
    if loaded.table is not None and loaded.script.feeder is not None:
        feeder = Feeder(table=loaded.table, mode=loaded.script.feeder.mode)
    return Opened(script=loaded.script, folder=path.parent, feeder=feeder, texts=loaded.texts)


def _folder_of(cls: type) -> Path:
    """The folder of the module whose class is being made; it may not be registered yet."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != cls.__module__:
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return Path(frame.f_globals["__file__"]).parent if frame is not None else Path()
