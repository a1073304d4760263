"""``harness capacity``: find the highest load that still meets the objectives."""

import argparse
import signal
from math import inf
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from harness.analysis.knee import Answer, Found, Judged, answer, next_rate
from harness.analysis.scalability import fit_scalability
from harness.cli.embedded import EmbeddedSimulator
from harness.cli.searching import Search, begin_search, resume_search, run_level
from harness.exit_codes import ExitCode
from harness.report.capacity_page import write_capacity_page
from harness.report.levels import Level
from harness.report.record import KNOWN
from harness.slo.objective import parse_objective
from harness.units import duration_text, rate_per_s

STYLES = {
    Judged.UNDER: "green",
    Judged.CLOSE: "yellow",
    Judged.OVER: "red",
    Judged.INCONCLUSIVE: "magenta",
}
FEWEST_FOR_LAW = 6
"""Levels that a fit of the Universal Scalability Law takes at least."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Find the highest arrival rate at which the objectives are still met. Each level is a run "
        "of its own: warmed up, held until the intervals of its figures lie clear of their limits, "
        "drained before the next. The search doubles the rate until a level is over, then narrows. "
        "The generator's limit is never called the service's. An interrupted search goes on with "
        "--resume."
    )
    parser.epilog = (
        "examples:\n"
        "  harness capacity --objective 'reply p95 < 500ms' --start 60/min --highest 1200/min\n"
        "  harness capacity my_locustfile.py --slo objectives.toml --start 2/s --hold 5m\n"
        "  harness capacity --resume reports/capacity-20261122-231500-ab12\n"
        "  harness capacity --objective 'reply p95 < 1s' --sim-profile twin.toml --wanted 300/min\n"
    )
    add = parser.add_argument
    add("locustfile", nargs="?", default="locustfiles/load.py", metavar="LOCUSTFILE")
    add("--target", default="sim", help="as for harness run; the simulator lives for all levels")
    add("--objective", action="append", default=[], metavar="TEXT", help="may be given repeatedly")
    add("--slo", metavar="FILE", help="objectives (TOML) beside those of the locustfile")
    add("--start", default="30/min", metavar="RATE", help="first level (%(default)s)")
    add("--highest", default="1000/min", metavar="RATE", help="never above this (%(default)s)")
    add("--hold", default="60s", metavar="TIME", help="first look at a level after so long")
    add(
        "--longest",
        metavar="TIME",
        help="a level that is not clear by then is too close to call (16 times --hold)",
    )
    add("--warm-up", default="15s", metavar="TIME", help="not judged, at a level's start")
    add("--resolution", type=float, default=0.08, metavar="SHARE", help="width of the answer")
    add("--max-levels", type=int, default=16, metavar="N", help="stop after so many (%(default)s)")
    add("--processes", type=int, metavar="N", help="worker processes of each level")
    add("--seed", type=int, metavar="N", help="repeat the arrivals of each level")
    add("--wanted", metavar="RATE", help="say the headroom against this rate")
    add("--out", default="reports", metavar="DIR", help="folder for the search's folder")
    add("--resume", metavar="DIR", help="go on with an interrupted search")
    add("--sim-profile", metavar="FILE", help="profile of the embedded simulator (TOML)")
    add("--json", action="store_true", help="the answer as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Search until the answer is narrow enough."""
    console = Console(stderr=args.json)
    wanted = None if args.wanted is None else rate_per_s(args.wanted, "--wanted")
    search = resume_search(Path(args.resume)) if args.resume else _begin(args)
    asked = search.asked
    simulator = None
    target = asked["target"]
    if target == "sim":
        profile = ("--profile", asked["sim_profile"]) if asked["sim_profile"] else ()
        simulator = EmbeddedSimulator.start("--limits", "off", *profile)
        target = simulator.url
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # drained, as at Ctrl-C
    try:
        while (rate := next_rate(search.plan, search.tried)) is not None:
            number = len(search.levels) + 1
            with console.status(f"level {number}: {rate * 60:,.1f} guests/min"):
                level = run_level(search, rate, target, console.print)
            _show_level(number, rate, level, console)
    except KeyboardInterrupt:
        console.print(f"stopped; go on with: harness capacity --resume {search.directory}")
        return ExitCode.INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
        if simulator is not None:
            simulator.stop()
    found = answer(search.plan, search.tried)
    shown = _as_dict(search, found, wanted)
    page = write_capacity_page(search.directory, shown)
    _tell(search, found, wanted, console)
    console.print(f"page  {page}", highlight=False, soft_wrap=True)
    if args.json:
        print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    return ExitCode.PASS if found.found in (Found.KNEE, Found.AT_LEAST) else ExitCode.NO_DATA


def _begin(args: argparse.Namespace) -> Search:
    objectives = [parse_objective(text, KNOWN, place="--objective").text for text in args.objective]
    names = (
        "locustfile", "target", "slo", "start", "highest", "hold", "longest", "warm_up",
        "resolution", "max_levels", "processes", "seed", "sim_profile",
    )  # fmt: skip
    asked = {name: getattr(args, name) for name in names}
    return begin_search({**asked, "objectives": objectives}, Path(args.out))


def _show_level(number: int, rate: float, level: Level, console: Console) -> None:
    style = STYLES[level.judged]
    why = level.reason or ", ".join(f"{text}: {figure}" for text, figure in level.figures.items())
    console.print(
        f"level {number:>2}  {rate * 60:>8,.1f} guests/min  [{style}]{level.judged:<12}[/] {why}",
        highlight=False,
        soft_wrap=True,
    )


def _tell(search: Search, found: Answer, wanted: float | None, console: Console) -> None:
    per_minute = _per_minute(found)
    console.print(f"\ncapacity  {per_minute.text('guests/min')}", style="bold", highlight=False)
    if found.broke_first:
        console.print(f"broke first  {found.broke_first}", highlight=False)
    top = _highest_met(search, found)
    if top is not None and top.get("occupancy") and top.get("session_s"):
        console.print(
            f"at the highest level that was met: {top['occupancy']:,.1f} guests in session, "
            f"{duration_text(top['session_s'])} each",
            highlight=False,
        )
    law = _law(search)
    if law:
        console.print(law, highlight=False)
    if wanted is not None and found.low > 0:
        console.print(f"headroom against {wanted * 60:,.0f}/min  {found.headroom(wanted):+.0%}")
    console.print(
        f"{found.levels} levels, {found.minutes:.1f} minutes; {search.directory}", style="dim"
    )


def _per_minute(found: Answer) -> Answer:
    return Answer(
        found=found.found,
        low=found.low * 60,
        high=found.high * 60,
        centre=None if found.centre is None else found.centre * 60,
        broke_first=found.broke_first,
        levels=found.levels,
        minutes=found.minutes,
    )


def _highest_met(search: Search, found: Answer) -> dict[str, Any] | None:
    at = [level for level in search.levels if level["rate_per_s"] <= found.low * (1 + 1e-9)]
    return max(at, key=lambda level: float(level["rate_per_s"]), default=None)


def _law(search: Search) -> str:
    """What the Universal Scalability Law says of the levels, or nothing with too few of them."""
    usable = {
        round(level["occupancy"], 3): level["replies_per_s"]
        for level in search.levels
        if level["occupancy"] and level["replies_per_s"]
        and level["judged"] != Judged.INCONCLUSIVE
    }  # fmt: skip
    if len(usable) < FEWEST_FOR_LAW:
        return ""
    fit = fit_scalability(list(usable), list(usable.values()))
    at = fit.peak_concurrency
    peak = "no peak" if at == inf else f"peak at {at:,.0f} in session"
    doubts = f" (do not trust it: {'; '.join(fit.doubts)})" if fit.doubts else ""
    return f"Universal Scalability Law: {peak}{doubts}"


def _as_dict(search: Search, found: Answer, wanted: float | None) -> dict[str, Any]:
    per_minute = _per_minute(found)
    return {
        "found": str(found.found),
        "low_per_minute": per_minute.low,
        "high_per_minute": None if per_minute.high == float("inf") else per_minute.high,
        "centre_per_minute": per_minute.centre,
        "broke_first": found.broke_first,
        "headroom": None if wanted is None or not found.low else found.headroom(wanted),
        "wanted_per_minute": None if wanted is None else wanted * 60,
        "levels": search.levels,
        "minutes": found.minutes,
        "directory": str(search.directory),
    }
