"""Before a worker takes part: does it match the master?

A worker says hello once, with its versions, locustfile, parameters, schedule, and what its machine
can carry. The master sends it the run's parameters, including the seed: if the worker imported its
locustfile with others, it restarts with the master's. Before the run, or when a worker joins later,
the master sends the run's options. The worker answers with the target, terms, CA, sign-ins, scripts
and own modules that result from them, or why it can't use them. If they differ before the run, the
run is refused; a worker that joins later is dismissed before it has opened anything, and the run is
not disturbed.

Each second the worker asks for the master's time, so that its measurements have the master's time.
"""

import hashlib
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gevent
import orjson
from locust.runners import STATE_INIT, STATE_STOPPED, MasterRunner

from harness import __version__
from harness.clock import monotonic_ns, wall_ns
from harness.load.arrivals import ArrivalShape
from harness.load.logs import LOG
from harness.load.options import RunOptions, has_masters_parameters, parameters
from harness.load.user import ScriptUser
from harness.machine import Machine, Share, shortfalls, this_machine

HELLO = "harness_hello"
PARAMETERS = "harness_parameters"
CHECK = "harness_check"
FACTS = "harness_facts"
WELCOME = "harness_welcome"
ANSWER_WITHIN_S = 10.0
ANEW_WITHIN_S = 60.0
"""How long a restarting worker may take: it imports its locustfile again."""
LEAVES_WITHIN_S = 10.0
"""How long a dismissed worker may take to leave before Locust's quit order is sent."""
OFF_S = 1.0
"""A larger clock difference is reported."""
GREETING = "greeting"
"""The state of a worker that has not said hello."""
NONE = "none"
ALWAYS = {
    "harness": "the harness in version",
    "locust": "Locust in version",
    "locustfile": "a locustfile with the content",
}
"""Parts of a hello that do not depend on the parameters."""
WORDS = {
    **ALWAYS,
    "parameters": "the parameters",
    "schedule": "the schedule",
}
"""The parts of a hello that are compared."""
FACT_WORDS = {
    "target": "the target",
    "terms": "terms of the target with the digest",
    "ca": "a CA with the digest",
    "sign_ins": "sign-ins with the digest",
    "scripts": "scripts, data or texts with the digest",
}
LOGGED_ONLY = ("gevent", "websockets", "python")


def describe(environment: Any, shape: type[ArrivalShape] | None) -> dict[str, Any]:
    """The hello of this process: facts that do not depend on the run's options."""
    files = environment.parsed_locustfiles or str(environment.parsed_options.locustfile).split(",")
    machine = this_machine()
    return {
        "harness": __version__,
        "locust": version("locust"),
        "gevent": version("gevent"),
        "websockets": version("websockets"),
        "python": platform.python_version(),
        "locustfile": _digest(_content(Path(name.strip())) for name in files),
        "parameters": parameters(),
        "restarted": has_masters_parameters(),
        "schedule": _schedule(shape),
        "host": platform.node(),
        "files": machine.files,
        "ports": machine.ports,
        "cores": machine.cores,
    }


def facts_of(environment: Any, options: RunOptions) -> dict[str, Any]:
    """The facts that result from the run's options in this process. Raises ConfigError."""
    terms, guests, target = options.terms, options.guest_options, options.target
    same = replace(guests, sign_ins=(), sign_ins_file=None, learned_greets=None)
    ruled = (terms.guarded, terms.max_sessions, terms.max_rate_per_s, target.origin, same)
    return {
        "target": target.url,
        "terms": _digest([repr(ruled).encode()]),
        "ca": NONE if target.ca_file is None else _digest([_content(target.ca_file)]),
        "sign_ins": _digest(map(str.encode, guests.sign_ins)) if guests.sign_ins else NONE,
        "scripts": _scripts(environment.user_classes),
        "modules": {
            name: _digest([_content(path)]) for name, path in own_files(environment).items()
        },
    }


def _schedule(shape: type[ArrivalShape] | None) -> str:
    if shape is None:
        return NONE
    arrivals = shape.arrivals
    last_s = arrivals.due_ns(arrivals.count - 1) / 1e9
    return f"{arrivals.describe()}, {arrivals.count:,} guests, the last at {last_s:.6f} s"


def _scripts(users: Iterable[Any]) -> str:
    parts = []
    for user in users:
        if issubclass(user, ScriptUser):
            opened = user.opened
            rows = () if opened.feeder is None else opened.feeder.table.rows
            texts = sorted((name, list(lines)) for name, lines in opened.texts.items())
            parts.append(opened.script.model_dump_json().encode())
            parts.append(orjson.dumps([list(map(list, rows)), texts]))
    return _digest(parts) if parts else NONE


def own_files(environment: Any) -> dict[str, Path]:
    """The modules that the locustfile has imported from its own folder, by name."""
    files = {Path(name).resolve() for name in environment.parsed_locustfiles or ()}
    folders = {file.parent for file in files}
    modules = {}
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if not place or name.partition(".")[0] == "harness":
            continue
        path = Path(place).resolve()
        if (
            path not in files
            and any(path.is_relative_to(folder) for folder in folders)
            and not path.is_relative_to(sys.prefix)
        ):
            modules[name] = path
    return modules


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


def compare(worker: str, hello: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The differences between a worker's hello and the master's, in sentences."""
    return _differences(worker, hello, own, ALWAYS) or _differences(worker, hello, own, WORDS)


def compare_facts(worker: str, facts: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The differences between a worker's facts of the options and the master's, in sentences."""
    if facts.get("trouble"):
        return [f"worker {worker} can't take part: {facts['trouble']}"]
    problems = _differences(worker, facts, own, FACT_WORDS)
    for name, digest in own["modules"].items():
        theirs = facts.get("modules", {}).get(name)
        if theirs is not None and theirs != digest:
            problems.append(f"worker {worker} has another content of the module {name}")
    return problems


def _differences(
    worker: str, theirs: Mapping[str, Any], own: Mapping[str, Any], words: Mapping[str, str]
) -> list[str]:
    return [
        f"worker {worker} has {text} {theirs.get(key)!r}, the master {own[key]!r}"
        for key, text in words.items()
        if key in own and theirs.get(key) != own[key]
    ]


class Handshake:
    """The master's list of the workers that are here, and of those that it has dismissed."""

    def __init__(self, runner: MasterRunner, own: Callable[[], dict[str, Any]]) -> None:
        self._runner = runner
        self._describe = own
        self._hellos: dict[str, dict[str, Any]] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._came_ns: dict[str, int] = {}
        self._options: dict[str, Any] = {}
        self._has_run = False
        self._own_facts: dict[str, Any] | None = None
        """the master's own facts of the options, while a run goes on"""
        self._here_at_start: set[str] = set()
        """workers that were here when the run began"""
        self.dismissed: dict[str, str] = {}
        """dismissed workers (Locust's id → why); they take no part in the run"""
        self.clocks: dict[str, float] = {}
        """seconds by which a worker's clock is ahead, if that is much"""
        self.no_room_because = ""
        """why no worker may join a run that is going on; empty if one may"""
        runner.register_message(HELLO, self._on_hello)
        runner.register_message(FACTS, self._on_facts)

    def problems(
        self, options: dict[str, Any], facts: dict[str, Any], everything: Share, *, workers: int
    ) -> list[str]:
        """Why the run can't begin, worker by worker; empty if it can.

        ``options`` are the run's options, ``facts`` those that result from them in the master,
        ``everything`` is the load of all workers together, ``workers`` the number expected.
        """
        own = self._describe()
        everybody = self._runner.clients
        self._wait_until(lambda: all(worker.state != GREETING for worker in everybody.all))
        self._options, self._own_facts, self._facts = options, facts, {}
        ready = self.ready
        self._wait_until(lambda: set(ready()) <= self._hellos.keys())
        # A worker that restarts with our parameters is away for a moment.
        self._wait_until(
            lambda: len(ready()) >= workers and not any(map(self._starts_anew, ready())),
            within_s=ANEW_WITHIN_S,
        )
        self._here_at_start = set(ready())
        self._wait_until(lambda: set(ready()) <= self._hellos.keys())
        for worker in ready():
            self._runner.send_message(CHECK, options, worker)
        # On a busy machine heartbeats are late: Locust takes a worker for lost until the next one.
        self._wait_until(
            lambda: (
                len(ready()) >= workers and set(ready()) & self._hellos.keys() <= self._facts.keys()
            )
        )
        there = ready()
        self._here_at_start = set(there)
        if len(there) < workers:
            return [f"only {len(there)} of {workers} workers are left"]
        problems: list[str] = []
        here = Counter(self._hellos[worker]["host"] for worker in there if worker in self._hellos)
        count = max(1, len(there))
        per_s = None if everything.per_s is None else everything.per_s / count
        share = replace(everything, at_once=-(-everything.at_once // count), per_s=per_s)
        for worker in there:
            hello = self._hellos.get(worker)
            if hello is None:
                problems.append(f"worker {worker} sent no hello: does it import harness.load?")
                continue
            differs = compare(worker, hello, own)
            if not differs and worker not in self._facts:
                differs = [f"worker {worker} did not answer what results from the options"]
            problems += differs or compare_facts(worker, self._facts[worker], facts)
            self._tell_versions(worker, hello, own)
            machine = Machine(files=hello["files"], ports=hello["ports"], cores=hello["cores"])
            here_s = replace(share, processes=here[hello["host"]])
            problems += [f"worker {worker}: {why}" for why in shortfalls(machine, here_s)]
        return problems

    def dismiss(self, why: str = "") -> None:
        """Send the workers home; otherwise they would wait for a master that has gone."""
        for worker in self._runner.clients.all:
            if why:
                self._runner.send_message(WELCOME, {"problems": [why]}, worker.id)
        if why:
            gevent.sleep(0.2)
        for worker in self._runner.clients.all:
            self._runner.send_message("quit", None, worker.id)
        gevent.sleep(0.2)

    def end(self) -> None:
        """The run is over: a worker that comes now is checked when the next run begins."""
        self._own_facts = None
        self._has_run = True

    def ready(self) -> list[str]:
        """The ids of workers that are ready to begin."""
        return [worker.id for worker in self._runner.clients.ready]

    def hold(self, worker: str) -> None:
        """Before a run, count a worker as ready only after its hello.

        Locust's time limit begins when enough workers are ready; a restarting one is not.
        """
        node = self._runner.clients.get(worker)
        if node is None or self._own_facts is not None:
            return
        since_ns = monotonic_ns() - self._came_ns.setdefault(worker, monotonic_ns())
        if worker in self._hellos:
            is_greeting = self._starts_anew(worker) and since_ns < ANEW_WITHIN_S * 1e9
        else:
            is_greeting = since_ns < ANSWER_WITHIN_S * 1e9
        if is_greeting:
            node.state = GREETING
        elif node.state == GREETING:
            node.state = STATE_INIT
            # With no worker ready Locust shows the test as stopped, and no form for a new one.
            if self._runner.state == STATE_STOPPED and not self._has_run:
                self._runner.update_state(STATE_INIT)

    def _starts_anew(self, worker: str) -> bool:
        """Whether the worker restarts with our parameters: it will be back under another id."""
        hello = self._hellos.get(worker)
        return (
            hello is not None
            and not _differences(worker, hello, self._describe(), ALWAYS)
            and hello["parameters"] != parameters()
            and not hello["restarted"]
        )

    def _wait_until(self, done: Callable[[], bool], within_s: float = ANSWER_WITHIN_S) -> None:
        deadline = monotonic_ns() + int(within_s * 1e9)
        while not done() and monotonic_ns() < deadline:
            gevent.sleep(0.05)

    def _on_hello(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        worker = msg.node_id
        self._hellos[worker] = dict(msg.data)
        own = self._describe()
        alike = not _differences(worker, msg.data, own, ALWAYS)
        if alike:
            self._runner.send_message(PARAMETERS, parameters(), worker)
        self.hold(worker)
        if self._own_facts is None or worker in self._here_at_start:
            return
        if self._starts_anew(worker):
            return
        problems = compare(worker, self._hellos[worker], own)
        if self.no_room_because:
            problems.append(f"worker {worker} can't join: {self.no_room_because}")
        if problems:
            self._dismiss_worker(worker, problems)
        else:
            self._runner.send_message(CHECK, self._options, worker)

    def _on_facts(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        worker = msg.node_id
        self._facts[worker] = dict(msg.data)
        if self._own_facts is None or worker in self._here_at_start:
            return
        if problems := compare_facts(worker, self._facts[worker], self._own_facts):
            self._dismiss_worker(worker, problems)
        else:
            self._tell_versions(worker, self._hellos.get(worker, {}), self._describe())
            self._runner.send_message(WELCOME, {"problems": []}, worker)

    def _dismiss_worker(self, worker: str, problems: list[str]) -> None:
        self.dismissed[worker] = "; ".join(problems)
        LOG.warning("dismissed: %s", self.dismissed[worker])
        self._runner.send_message(WELCOME, {"problems": problems}, worker)
        gevent.spawn_later(LEAVES_WITHIN_S, self._make_leave, worker)

    def _make_leave(self, worker: str) -> None:
        """Order a worker to quit that is still here: another version may not know our order."""
        if worker in self._runner.clients:
            self._runner.send_message("quit", None, worker)

    def _tell_versions(self, worker: str, hello: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        for name in LOGGED_ONLY:
            if hello.get(name) != own[name]:
                LOG.warning(
                    "worker %s has %s %s, the master %s", worker, name, hello.get(name), own[name]
                )

    def time(self, worker: str, question: Mapping[str, int]) -> dict[str, int]:
        """The answer to a worker's question for the master's time."""
        answer = {"asked_ns": question["asked_ns"], "wall_ns": wall_ns()}
        ahead_s = question["ahead_ns"] / 1e9
        if abs(ahead_s) > OFF_S and worker not in self.dismissed:
            if worker not in self.clocks:
                way = "ahead of" if ahead_s > 0 else "behind"
                LOG.warning(
                    "the clock of worker %s is %.1f s %s the master's: its times are corrected",
                    worker, abs(ahead_s), way,
                )  # fmt: skip
            self.clocks[worker] = round(ahead_s, 3)
        return answer


class MasterClock:
    """The worker's side: how far this machine's clock is ahead of the master's."""

    def __init__(self) -> None:
        self._best_ns: int | None = None
        """round trip of the answer that is used: it can be wrong by half of that"""
        self.ahead_ns = 0
        self.stepped = ""
        """a sentence, if one of the two clocks was set"""

    def question(self) -> dict[str, int]:
        """The question for the report of each second."""
        return {"asked_ns": monotonic_ns(), "ahead_ns": self.ahead_ns}

    def take(self, answer: Mapping[str, int]) -> None:
        """Take the master's answer, as soon as it arrives.

        ``held_ns``: how long the master kept the question after it had stamped it.
        """
        now_ns, held_ns = monotonic_ns(), answer.get("held_ns", 0)
        took_ns = now_ns - answer["asked_ns"] - held_ns
        ahead_ns = wall_ns() - (answer["wall_ns"] + held_ns + took_ns // 2)
        by_ns = ahead_ns - self.ahead_ns
        if self._best_ns is not None and abs(by_ns) > OFF_S * 1e9 + took_ns + self._best_ns:
            self.stepped = f"the clock of a worker or of the master was set by {by_ns / 1e9:+.1f} s"
        elif self._best_ns is None or took_ns < self._best_ns:
            self._best_ns, self.ahead_ns = took_ns, ahead_ns
