"""Be a worker of a run that a master leads. The machine needs nothing but this package: the
locustfile, the modules beside it, scripts with their data, the targets file and a private CA come
from the master, and so do all options. Sign-ins and secrets do not.

On the master: harness run FILE --master --expect-workers N --bind ADDRESS

Ctrl-C lets conversations finish, again clears at once, a third time leaves.

examples:
  harness worker 10.0.0.1
  harness worker load-master:5557 --processes -1 --within 30m
  harness worker 10.0.0.1 --again      # for the levels of harness capacity --master
"""

from harness.cli.parsing import (
    Command,
    Namespace,
    argument,
    choose_log_format,
    option,
    reports_option,
    tell,
)
from harness.config.run_config import LOG_FORMAT, MASTER_PORT
from harness.machine import too_many_processes
from harness.supervise.worker import join_master, work_for_each_run


def run(args: Namespace) -> int:
    """Without ``--again`` never returns when it has joined: this process becomes the worker."""
    choose_log_format(args)
    if sentence := too_many_processes(args.processes):
        tell(f"warning: {sentence}")
    return work_for_each_run(args) if args.again else join_master(args)


COMMAND = Command(
    run,
    argument("master HOST[:PORT]", f"where the master is (port: {MASTER_PORT})"),
    option("--within TIME", "how long to wait for the master", default="5m"),
    option("--processes N", "worker processes; -1: one per core", type=int),
    option("--again", "take part in one run after the other, until none begins within --within"),
    option(LOG_FORMAT),
    reports_option("folder for this worker's own ledger and figures"),
    usage="harness worker HOST[:PORT] [OPTIONS] [-- LOCUST OPTIONS]",
    takes_rest=True,
)
