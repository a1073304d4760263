"""Judge a finished run again, by the objectives of a TOML file. Sends nothing. Changes nothing
without --write. The run is judged as it ended: sessions that a later sweep ended still count as
left over. The exit code is the verdict's.

exit codes: 0 PASS; 3 an objective was missed; 4 sessions are left over; 5 not enough
data; 6 INVALID: the run's figures can't be trusted, whatever the objectives; 8 the
file of objectives or the run can't be read. 4 outweighs 6, and 6 outweighs 3 and 5.

a file of objectives:
  objectives = ["reply p95 < 5s", "delivered errors < 1%", "leftovers == 0"]

  [[objective]]                  # one table each where a run should be stopped early
  expect = "session_open errors < 5%"
  abort_on_fail = true
  grace = "2m"                   # the warm-up does not stop a run
  delay = "30s"                  # only when missed for so long in a row

examples:
  harness gate latest --slo objectives.toml
  harness gate 20261122-140501-ab12 --slo strict.toml --json
"""

from pathlib import Path

import orjson

from harness.cli.parsing import Command, Namespace, option, reports_option, run_argument, take_run
from harness.config.run_config import CHANCE_IS_NO_DATA, CONFIDENT
from harness.judge.reading import judge_anew, read_objectives, since_then
from harness.judge.record import write_record
from harness.report.terminal import met_lines, verdict_line
from harness.streams import open_console, print_json_text


def run(args: Namespace) -> int:
    """Judge and say so."""
    objectives = read_objectives(args.slo)
    directory = take_run(args)
    record = judge_anew(directory, objectives, confident=args.confident)
    if args.write:
        write_record(directory, record)
        from harness.report.outputs import write_reports  # not needed only to judge

        write_reports(directory)
    if args.json:
        keys = ("run_id", "verdict", "exit_code", "reasons", "objectives")
        print_json_text(orjson.dumps({key: record.get(key) for key in keys}).decode())
    else:
        console = open_console()
        for line in met_lines(record):
            console.print(line)
        if later := since_then(record):
            console.print(later, style="dim")
        console.print(verdict_line(record))
    return int(record["exit_code"])


COMMAND = Command(
    run,
    run_argument(),
    option("--slo FILE", "objectives (TOML)", type=Path, required=True),
    option(CONFIDENT.option, CHANCE_IS_NO_DATA),
    option("--json", "print the verdict as one JSON object"),
    option("--write", "write the new verdict into the run's record and reports"),
    reports_option(),
)
