"""A capacity search on disk: its options, the levels tried, and how one level is run.

All options are checked before the folder is created.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from harness.config.run_config import OCCUPANCY, OVER, RATE
from harness.config.target import FILE, Terms, known_targets, resolve_target
from harness.errors import ConfigError, UsageError, expect
from harness.judge.objective import parse_objective
from harness.judge.reading import read_objectives
from harness.preflight.guard import Intent, Rule, carry_stamp, parse_overrides, permit
from harness.rundir.layout import (
    CAPACITY_PREFIX,
    SEARCH,
    SEARCH_OBJECTIVES,
    make_run_directory,
    new_run_id,
    reading,
    write_json,
)
from harness.simulator import options as simulator_options
from harness.studies.capacity.answer import figure_of, show_level
from harness.studies.capacity.holding import Holding, Judged, Look
from harness.studies.capacity.level import (
    GENERATOR_COUNTERS,
    judge_run,
    judged_so_far_s,
    look_at,
)
from harness.studies.capacity.models import Reading
from harness.studies.capacity.search import (
    AnswerKind,
    Quantity,
    SearchPlan,
    TriedLevel,
    answer,
    is_again,
    next_rate,
)
from harness.supervise.children import (
    EmbeddedSimulator,
    Say,
    check_locustfile,
    inspect_locustfile,
    watch_run,
)
from harness.supervise.parameters import MASTER_ONLY, check_master, check_port
from harness.units import seconds

SCHEMA = 1
FILL_SHARE = 0.6
"""The share of the warm-up in which the guests of an occupancy arrive one after the other."""
LONGEST_HOLD_S = 86400.0
DEFAULT_SETTLE_HOLDS = 3
"""The default of ``--settle``, in multiples of ``--hold``: a level is not called missed before."""
ON_DISK_AFTER_S, SHIPPED_AFTER_S = 1.0, 3.0
"""After this long, everything that was measured up to a moment is on this disk: what this machine
measured, and what workers on other machines send."""
DEFAULT_LONGEST_HOLDS = 16
"""The default of ``--longest``, in multiples of the time until the first look at a level."""
DEFAULT_LEVELS = {Quantity.RATE: ("30/min", "1000/min"), Quantity.OCCUPANCY: ("10", "1000")}
"""The defaults of ``--start`` and ``--highest``."""
DEFAULTED = ("locustfile", "target", "targets", "hold", "warm_up", "resolution", "max_levels")
SAVED_OPTIONS = (
    "slo", "longest", "settle", "override", "ca_file", "processes", "master", "expect_workers",
    "bind", "master_port", "seed", "sim_profile",
)  # fmt: skip
"""Options that are saved in the folder of a search: --resume excludes them."""


@dataclass(slots=True)
class Search:
    """A search on disk: its options and the levels tried. Written after each level."""

    directory: Path
    options: dict[str, Any]
    levels: list[dict[str, Any]] = field(default_factory=list)

    @property
    def by(self) -> Quantity:
        """What is raised from level to level."""
        return Quantity(self.options.get("by") or Quantity.RATE)

    @property
    def plan(self) -> SearchPlan:
        """The search's plan, in guests per second or guests at once."""
        whole = self.by is Quantity.OCCUPANCY
        return SearchPlan(
            start=self.by.parse(self.options["start"], "--start"),
            highest=self.by.parse(self.options["highest"], "--highest"),
            lowest=1.0 if whole else 0.0,
            resolution=self.options["resolution"],
            max_levels=self.options["max_levels"],
            whole=whole,
            again=True,
        )

    @property
    def holding(self) -> Holding:
        """How long a level is held."""
        hold_s = seconds(self.options["hold"])
        longest, settle = self.options.get("longest"), self.options.get("settle")
        return Holding(
            hold_s=hold_s,
            longest_s=seconds(longest) if longest else DEFAULT_LONGEST_HOLDS * hold_s,
            settle_s=seconds(settle) if settle else DEFAULT_SETTLE_HOLDS * hold_s,
        )

    @property
    def tried(self) -> list[TriedLevel]:
        """The levels as the search wants them."""
        return [
            TriedLevel(
                rate=self.by.load_of(level),
                judged=Judged(level["judged"]),
                minutes=level["minutes"],
                reason=level["reason"],
                reading=Reading(**level["reading"]) if level.get("reading") else None,
                again=level.get("again", False),
                unsteady=level.get("unsteady", False),
                wandered=tuple(level.get("wandered", (0.0, 0))),
            )
            for level in self.levels
        ]

    def save(self) -> None:
        data = {"schema": SCHEMA, "asked": self.options, "levels": self.levels}
        write_json(self.directory / SEARCH, data)


def open_search(args: Namespace) -> Search:
    """What ``args`` of ``harness capacity`` begin, or go on with by ``--resume``.

    Raises ConfigError or PreflightRefused; then there is no new folder.
    """
    by = Quantity(args.by or Quantity.RATE)
    start, highest = DEFAULT_LEVELS[by]
    if args.resume:
        for name in ("by", "start", "highest", "objective", *SAVED_OPTIONS):
            if getattr(args, name) not in (None, [], False):
                raise UsageError(
                    f"--{name.replace('_', '-')} and --resume do not go together: a resumed "
                    "search keeps its options"
                )
        search = resume_search(Path(args.resume))
        check_permission(search.options, search.directory.parent)
        return search
    options = {
        **{name: getattr(args, name) for name in (*DEFAULTED, *SAVED_OPTIONS)},
        "by": str(by),
        "start": args.start or start,
        "highest": args.highest or highest,
        "objectives": [parse_objective(text, place="--objective").text for text in args.objective],
    }
    if args.wanted is not None:
        by.parse(args.wanted, "--wanted")
    check_options(options)
    check_files(options)
    check_permission(options, args.reports)
    return begin_search(options, args.reports)


def begin_search(options: Mapping[str, Any], out: Path) -> Search:
    """A new search in a folder of its own. Raises ConfigError for what makes no sense.

    ``options`` holds locustfile, target, by, slo, objectives, start, highest, hold, longest,
    settle, warm_up, resolution, max_levels, processes, master, expect_workers, bind, master_port,
    seed, sim_profile, targets, override and ca_file, as written on the command line.
    """
    search = check_options(options)
    search.directory = make_run_directory(out, CAPACITY_PREFIX + new_run_id())
    if options["objectives"]:
        lines = "\n".join(f"    {orjson.dumps(text).decode()}," for text in options["objectives"])
        text = f"objectives = [\n{lines}\n]\n"
        (search.directory / SEARCH_OBJECTIVES).write_text(text, encoding="utf-8")
    search.save()
    return search


def check_options(options: Mapping[str, Any]) -> Search:
    """A search without a folder yet. Raises ConfigError that names the option."""
    search = Search(Path(), dict(options))
    if options["slo"] and options["objectives"]:
        raise UsageError("give --objective or --slo, not both")
    for name in ("hold", "warm_up"):
        option, text = f"--{name.replace('_', '-')}", options[name]
        usual = 1 <= seconds(text, option) <= LONGEST_HOLD_S
        expect(usual, option, "one second or more and up to a day", repr(text))
    if longest := options["longest"]:
        enough = seconds(longest, "--longest") >= seconds(options["hold"])
        expect(enough, "--longest", "no less than --hold", repr(longest))
    if settle := options.get("settle"):
        expect(
            seconds(settle, "--settle") <= LONGEST_HOLD_S, "--settle", "up to a day", repr(settle)
        )
    parse_overrides(options.get("override") or ())
    share = options["resolution"]
    expect(0 < share < 1, "--resolution", "a share between 0 and 1 such as 0.08", f"{share:g}")
    start, highest = (search.by.parse(options[name], f"--{name}") for name in ("start", "highest"))
    allowed = f"no more than --highest ({options['highest']})"
    expect(start <= highest, "--start", allowed, repr(options["start"]))
    for name in ("max_levels", "processes", "expect_workers"):
        option, number = f"--{name.replace('_', '-')}", options.get(name)
        expect(number is None or number >= 1, option, "one or more", number)
        workers = number if name != "max_levels" and search.by is Quantity.OCCUPANCY else None
        if workers and start < workers:
            raise ConfigError(f"--start: {start:g} guests are too few for {option}")
    check_master(options)
    if options.get("master") and options["processes"]:
        raise UsageError("--master and --processes do not go together")
    check_port("--master-port", options.get("master_port"))
    check_locustfile(options["locustfile"])
    _ = search.plan
    return search


def resume_search(directory: Path) -> Search:
    """A search from its folder. Raises ConfigError when there is none that can go on."""
    path, what = directory / SEARCH, "a search that can go on"
    with reading(path, what):
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path} is not {what}: {error.strerror or error}") from error
        state = orjson.loads(text)
        expect(state["schema"] == SCHEMA, f"{path}: schema", str(SCHEMA), state["schema"])
        search = Search(directory, dict(state["asked"]), list(state["levels"]))
        _ = search.plan, search.tried, search.holding, search.options["target"]
    return search


def run_levels(search: Search, console: Console) -> bool:
    """Run level after level, told on ``console``, until the answer is narrow enough.

    False: somebody stopped it by hand. Raises ConfigError where not even the first level ran; what
    keeps a later one from running ends the search, and is told.
    """
    by, again = search.by, f"harness capacity --resume {search.directory}"
    target, ca_file = search.options["target"], search.options.get("ca_file")
    simulator = None
    try:
        if target == "sim":
            profile = search.options["sim_profile"]
            more = ("--profile", profile) if profile else ()
            simulator = EmbeddedSimulator("--limits", "off", *more)
            target, ca_file = simulator.start(), simulator.ca_file
        while (load := next_rate(search.plan, search.tried)) is not None:
            number = len(search.levels) + 1
            with console.status(f"level {number}: {figure_of(by, load)} {by.unit}"):
                _run_level(search, load, target, console.print, ca_file=ca_file)
            show_level(by, search.levels, console)
    except ConfigError as error:
        if not search.levels:
            raise
        # With this target levels have run: it is what became of the service.
        console.print(f"stopped: {error}; go on with: {again}", style="red")
    except KeyboardInterrupt:
        console.print(f"stopped; go on with: {again}")
        return False
    finally:
        if simulator is not None:
            simulator.stop()
    return True


def _run_level(
    search: Search, load: float, target: str, say: Say, *, ca_file: str | None = None
) -> None:
    """Run one level and add it to the search; ``load`` in its unit. Raises ConfigError."""
    began = time.monotonic()
    warmup_s = seconds(search.options["warm_up"])
    number = len(search.levels) + 1
    out = search.directory / f"level-{number:02}"

    again = is_again(search.plan, search.tried)
    least_s = max(
        (
            search.holding.again_s(level["held_s"], Judged(level["judged"]))
            for level in search.levels
            if again and search.by.load_of(level) == load
        ),
        default=0.0,
    )
    plan = replace(search.plan, again=False)

    def suffices(reading: Reading) -> bool:
        """Whether what the level has shown so far is enough for the search."""
        so_far = TriedLevel(rate=load, judged=Judged.CLOSE, reading=reading)
        return again or answer(plan, [*search.tried, so_far]).kind is AnswerKind.KNEE

    if search.options["target"] != "sim":
        # A level's reports folder is its own; the preflight has been in the search's.
        carry_stamp(_terms(search.options), search.directory.parent, out)
    finished = hold_level(
        _command(search, load, target, out, ca_file),
        out,
        warmup_s=warmup_s,
        holding=search.holding,
        looked=partial(
            look_at, warmup_s=warmup_s, holding=search.holding, least_s=least_s, suffices=suffices
        ),
        say=say,
        settled_s=SHIPPED_AFTER_S if search.options.get("master") else ON_DISK_AFTER_S,
    )
    level = judge_run(
        finished.directory,
        warmup_s=warmup_s,
        begin_s=finished.begin_s,
        end_s=finished.end_s,
        longest_s=search.holding.longest_s,
        guests=load if search.by is Quantity.OCCUPANCY else None,
    )
    search.levels.append(
        {
            search.by.key: load,
            "minutes": round((warmup_s + finished.begin_s + level.held_s) / 60, 3),
            "took_s": round(time.monotonic() - began, 1),
            "run": str(finished.directory.relative_to(search.directory.resolve())),
            "again": again,
            **asdict(level),
            "judged": str(level.judged),
        }
    )
    search.save()


@dataclass(frozen=True, slots=True)
class HeldLevel:
    """A level that has run: its run directory, and the judged seconds after the warm-up."""

    directory: Path
    begin_s: float
    end_s: float


def hold_level(
    command: Sequence[str],
    out: Path,
    *,
    warmup_s: float,
    holding: Holding,
    looked: Callable[..., Look],
    say: Say,
    settled_s: float = ON_DISK_AFTER_S,
) -> HeldLevel:
    """Run ``command`` (a ``harness run`` into ``out``) until the looks have decided, then drain it.

    ``looked`` is called with the run's directory and the judged seconds, ``begin_s`` to ``end_s``,
    ``settled_s`` after they have ended. Raises ConfigError when it did not run. KeyboardInterrupt
    drains it too.
    """
    begin_s, end_s = 0.0, holding.hold_s

    def look(directory: Path) -> bool:
        nonlocal begin_s, end_s
        # At the longest it ends by itself.
        if (
            end_s >= holding.whole_s
            or judged_so_far_s(directory, warmup_s=warmup_s) < end_s + settled_s
        ):
            return False
        seen = looked(directory, begin_s=begin_s, end_s=end_s)
        if seen.next_s is None:
            return True
        if seen.begin_s > begin_s:
            say(
                f"  got better while it was held for {end_s:,.0f} s: it is held on until it settles"
            )
        begin_s, end_s = seen.begin_s, seen.next_s
        return False

    directory = watch_run(command, out, look=look, say=say)
    return HeldLevel(directory, begin_s, end_s)


def _command(
    search: Search, load: float, target: str, out: Path, ca_file: str | None = None
) -> list[str]:
    options = search.options
    warmup_s = seconds(options["warm_up"])
    length_s = warmup_s + search.holding.whole_s
    command = [
        sys.executable, "-m", "harness", "run", options["locustfile"], "--target", target,
        "--reports", str(out),
    ]  # fmt: skip
    if search.by is Quantity.RATE:
        command += ["--rate", f"{load:.6f}/s", "--over", f"{length_s:g}s"]
    else:  # all of them are there well before anything is judged
        per_s = load / (FILL_SHARE * warmup_s)
        command += ["--occupancy", f"{load:.0f}", "--spawn-rate", f"{per_s:.4f}"]
        command += ["--run-time", f"{length_s + 2:g}s"]
    if ca_file:
        command += ["--ca-file", ca_file]
    if options["target"] != "sim":
        command += ["--targets", options.get("targets") or str(FILE)]
        for override in options.get("override") or ():
            command += ["--override", override]
    command += ["--master"] if options.get("master") else []
    for name in ("processes", *MASTER_ONLY):
        if options.get(name) is not None:
            command += [f"--{name.replace('_', '-')}", str(options[name])]
    if options.get("seed") is not None:  # no two levels see the same arrivals
        command += ["--seed", str(options["seed"] + len(search.levels) + 1)]
    own = search.directory / SEARCH_OBJECTIVES
    if file := options["slo"] or (str(own) if own.is_file() else ""):
        command += ["--slo", file]
    return command


def check_files(options: Mapping[str, Any]) -> None:
    """Raises ConfigError that names the option or the file, its line, and what was expected.

    ``options`` is what ``begin_search`` takes.
    """
    texts = list(options["objectives"])
    if options["slo"]:
        texts += [objective.text for objective in read_objectives(Path(options["slo"]))]
    if options["target"] == "sim":
        known_targets(Path(options.get("targets") or FILE))
        if options["sim_profile"]:
            path = options["sim_profile"]
            try:
                simulator_options.read(simulator_options.Options(profile=path))
            except ConfigError as error:
                why = str(error).removeprefix(f"{path}: ").removeprefix("profile: ")
                raise ConfigError(f"--sim-profile: {path}: {why}") from None
    else:
        if options["sim_profile"]:
            raise UsageError("--sim-profile and --target do not go together")
        terms = _terms(options)
        by_rate = terms.guarded and options.get("by") != Quantity.OCCUPANCY
        capped = by_rate and Rule.CAP not in parse_overrides(options.get("override") or ())
        rate = terms.max_rate_per_s if capped else None
        if rate is not None and Quantity.RATE.parse(options["highest"], "--highest") > rate:
            raise ConfigError(
                f"--highest: {options['highest']} is above the target's max_rate of "
                f"{rate * 60:.4g}/min: ask for less, or give --override cap=REASON"
            )
    if options.get("by") == Quantity.OCCUPANCY:
        environment = {OCCUPANCY.variable: options["start"]}
    else:
        environment = {RATE.variable: options["start"], OVER.variable: options["hold"]}
    _check_objectives(texts + inspect_locustfile(options["locustfile"], environment)["objectives"])


def check_permission(options: Mapping[str, Any], reports: Path) -> None:
    """The target's rules, before there is a folder. Raises PreflightRefused or ConfigError."""
    if options["target"] == "sim":
        return
    intent = Intent(sessions=None, at_once=1, peak_per_s=None, stop_timeout_s=0.0)
    overrides = parse_overrides(options.get("override") or ())
    permit(_terms(options), intent, reports=reports, overrides=overrides)


def _terms(options: Mapping[str, Any]) -> Terms:
    file = Path(options.get("targets") or FILE)
    return resolve_target(options["target"], file, ca_file=options.get("ca_file"))


def _check_objectives(texts: list[str]) -> None:
    """Refuse objectives of which none can break under load: such a search would never end at a
    limit."""
    why = "no objective: what is a load too high for? Give one, such as"
    if texts:
        why = f"no objective breaks under load ({', '.join(texts)}): give one such as"
    subjects = {parse_objective(text, place="objectives").subject for text in texts}
    if subjects <= set(GENERATOR_COUNTERS):
        raise ConfigError(f"{why} --objective 'reply p95 < 5s'")
