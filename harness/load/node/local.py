"""A run in one process: it leads the run, and its guests run in it."""

from pathlib import Path

from harness.load.admission import cap_of, rate_of
from harness.load.node.role import Leader
from harness.load.options import RunOptions
from harness.transport.dial import check_sources


class LocalNode(Leader):
    """Everything in one process."""

    role = "local"

    def _begin(self, options: RunOptions, warm_up: float) -> None:
        check_sources(options.target)
        super()._begin(options, warm_up)

    def _open(self, options: RunOptions, directory: Path, warm_up: float) -> None:
        cap = cap_of(options, 0, 1) if self.admission.shape is None else None
        self.open_run(
            options,
            directory,
            max_sessions=cap,
            max_per_s=rate_of(options, 0, 1),
            warm_up_s=warm_up,
            on_over=self.stop_or_quit,
        )

    def pause(self, on: bool) -> None:
        """Of this process's own run."""
        if self.run is not None:
            self.run.pause(on)
