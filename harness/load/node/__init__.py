"""The role of a process in its run: alone, master, or worker. Only this package asks for a runner's
type.

All roles have the same methods. In the order of a run: ``prepare``, ``start``, ``watch``,
``drain``, ``finish``. What comes in between: ``hand_in`` (an interval's measurements),
``fail_start``, and of signals ``note_ended_from_outside``, ``hurry`` and ``leave``. Those that lead
also ``pause`` a run, and ``stop_or_quit`` it.
"""

from typing import Any

from locust.runners import MasterRunner, WorkerRunner

from harness.load.node.master import MasterNode
from harness.load.node.role import LocalNode, Node
from harness.load.node.worker import WorkerNode


def node_of(environment: Any, runner: Any) -> Node:
    """The role of this process."""
    if isinstance(runner, WorkerRunner):
        return WorkerNode(environment, runner)
    if isinstance(runner, MasterRunner):
        return MasterNode(environment, runner)
    return LocalNode(environment, runner)
