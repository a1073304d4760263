"""Measure how much load this machine can generate before its own delays spoil the figures: new
guests per second, messages per second, and open sessions, over plain connections and TLS. The
simulator runs on the same machine and takes its share, so a real service allows more. harness plan
and harness preflight use the figures. Takes about seven minutes; nothing leaves the machine.

exit codes: 0 measured; 5 nothing could be measured; 8 bad input.

examples:
  harness calibrate
  harness calibrate --kinds tls --processes 3
  harness calibrate --rise 20s --held 1000 --json
"""

from harness.cli.parsing import Command, Namespace, let_runs_print_text, option, reports_option
from harness.errors import ExitCode
from harness.machine import raise_file_limit, this_machine
from harness.report.html.page import write_page
from harness.rundir.layout import (
    CALIBRATION_PAGE,
    CALIBRATION_PREFIX,
    make_run_directory,
    new_run_id,
)
from harness.streams import open_console, show_json
from harness.studies.calibrate.calibration import (
    as_dict,
    calibration_page,
    show,
    write_calibration,
)
from harness.studies.calibrate.runs import calibrate, read_rises


def run(args: Namespace) -> int:
    """Measure kind by kind, show and keep the figures."""
    let_runs_print_text()
    console = open_console(stderr=args.json)
    raise_file_limit()
    machine = this_machine()
    rises = read_rises(args, machine)
    folder = make_run_directory(args.reports, CALIBRATION_PREFIX + new_run_id())
    calibration = calibrate(rises, folder, machine, lambda text: console.print(text, style="dim"))
    if calibration is None:
        console.print("nothing could be measured: the machine lagged from the start", style="red")
        return ExitCode.NO_DATA
    kept = write_calibration(args.reports, calibration)
    page = write_page(folder / CALIBRATION_PAGE, calibration_page(calibration))
    show(calibration, console)
    console.print(f"kept  {kept}\npage  {page}")
    if args.json:
        show_json(as_dict(calibration))
    return ExitCode.PASS


COMMAND = Command(
    run,
    option("--kinds LIST", "connections to measure: plain, tls", default="plain,tls"),
    option("--processes N", "worker processes (default: one less than there are cores)", type=int),
    option("--rise TIME", "length of each ramp", default="40s"),
    option("--top RATE", "highest rate of new guests (default: what the ports allow)"),
    option("--top-messages RATE", "highest rate of messages (default: 10000/s per process)"),
    option("--speakers N", "guests that send messages", default=1000),
    option("--held N", "sessions to hold open", default=3000),
    reports_option(),
    option("--json", "print the figures as one JSON object"),
)
