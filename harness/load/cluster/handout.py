"""The run's files, for a worker that has only the package.

Before such a worker imports a locustfile, it asks the master for it, as Locust's own ``-f -`` does.
The master also sends the modules beside it, scripts with their data, texts and attachments, the
targets file, the CA, objectives, and the run's parameters. Secrets are not handed out: sign-ins and
environment variables must be on the worker's machine. Whether everything is the same is checked
later, as for every worker (:mod:`harness.load.cluster.handshake`).
"""

import atexit
import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import gevent
import orjson
from locust.exception import RPCError
from locust.rpc import Message, zmqrpc
from locust.runners import MasterRunner

from harness import __version__
from harness.clock import monotonic_ns
from harness.config.run_config import HANDED_OUT, RunConfig
from harness.errors import ConfigError, safe_quote
from harness.foreign import read_bytes
from harness.load.cluster.handshake import own_files
from harness.load.logs import LOG
from harness.load.options import parameters, read_options
from harness.load.user import ScriptUser
from harness.rundir.layout import HANDED_OUT_FILES
from harness.units import duration_text

if TYPE_CHECKING:  # where guests come by Python, nobody pays for the model of a script
    from harness.workload.script.file import Loaded

ASK_FILES = "harness_ask_files"
FILES = "harness_files"
MOST_BYTES = 8 << 20
"""Most bytes of all files together: the channel of the orders is not made for more."""
ASK_EVERY_S = 1.0
ANSWER_WITHIN_S = 30.0
"""How long a listening master may take to import its locustfile; after that it is no master."""
TELL_EVERY_S = 10.0
CONNECT_WITHIN_S = 2.0
VERSIONS = {"harness": "the harness", "locust": "Locust"}
"""Versions that must be the same before any file is useful."""
PATHS = ("targets", "slo")
"""The options of a run that name a file which a worker reads too, beside the CA."""


def versions() -> dict[str, str]:
    return {"harness": __version__, "locust": version("locust")}


# The master's side.


class Handout:
    """Answers the workers that ask for the run's files."""

    def __init__(self, runner: MasterRunner, environment: Any) -> None:
        self._runner = runner
        self._environment = environment
        self._logged: set[str] = set()
        runner.register_message(ASK_FILES, self._on_ask)

    def _on_ask(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        own, host = versions(), safe_quote(msg.data["host"], 60)
        differs = [
            f"it has {text} in version {safe_quote(msg.data[name], 30)!r}, the master {own[name]!r}"
            for name, text in VERSIONS.items()
            if msg.data[name] != own[name]
        ]
        try:
            answer = {"problems": differs} if differs else self._files()
        except (ConfigError, OSError) as error:
            answer = {"problems": [f"the master can't hand out the run's files: {error}"]}
        if why := "; ".join(answer.get("problems", ())):
            self._say(host, LOG.warning, "a worker on %s can't take part: %s", why)
        else:
            named = f"{len(answer['files'])} files"
            self._say(host, LOG.info, "a worker on %s was handed out the run's files (%s)", named)
        self._runner.send_message(FILES, {**own, **answer}, msg.node_id)

    def _say(self, host: str, say: Callable[..., None], text: str, what: str) -> None:
        if f"{host}: {what}" not in self._logged and len(self._logged) < 1000:
            self._logged.add(f"{host}: {what}")
            say(text, host, what)

    def _files(self) -> dict[str, Any]:
        """All files, by names that keep relative paths valid. Raises ConfigError."""
        environment = self._environment
        collected = _Collected()
        locustfiles = [Path(name).resolve() for name in environment.parsed_locustfiles or ()]
        scripts = [one for one in environment.user_classes if issubclass(one, ScriptUser)]
        beside = [*locustfiles, *own_files(environment).values()]
        handed_script = ""
        for user in scripts:
            opened = user.opened
            paths = list(_paths_of(user.script, opened))
            if Path(user.script).is_absolute():
                # A worker finds it through its variable, in any folder.
                names = collected.add("script", paths)
                handed_script = names[paths[0]]
            else:
                beside += paths
        names = collected.add("run", beside)
        parsed = environment.parsed_options
        named = {key: getattr(parsed, key, "") for key in PATHS}
        named["ca_file"] = read_options(parsed).target.ca_file or ""  # perhaps the targets file's
        options: dict[str, dict[str, str]] = {}
        for key, text in named.items():
            path = Path(text or ".")
            if path.is_file():
                options[key] = {str(path): collected.add(key, [path.resolve()])[path.resolve()]}
        return {
            "files": collected.contents,
            "locustfiles": [names[one] for one in locustfiles],
            "script": handed_script,
            "options": options,
            "parameters": parameters(),
        }


@dataclass(slots=True)
class _Collected:
    contents: dict[str, bytes] = field(default_factory=dict)
    size: int = 0

    def add(self, group: str, paths: Iterable[Path]) -> dict[Path, str]:
        """Add files that may name each other by relative paths; returns path → name. Raises
        ConfigError."""
        unique = list(dict.fromkeys(paths))
        if not unique:
            return {}
        above = Path(os.path.commonpath([path.parent for path in unique]))
        names = {}
        for path in unique:
            name = f"{group}/{path.relative_to(above).as_posix()}"
            names[path] = name
            if name in self.contents:
                continue
            self.contents[name] = content = read_bytes(path)
            self.size += len(content)
            if self.size > MOST_BYTES:
                raise ConfigError(
                    f"they have more than {MOST_BYTES >> 20} MB ({path.name} among them): copy "
                    "them to the worker's machine and start it with harness run FILE --worker"
                )
        return names


def _paths_of(script: str, opened: "Loaded") -> Iterator[Path]:
    """A script and all the files that it names."""
    from harness.workload.script.model import StepKind, columns_in, render, walk

    folder = opened.folder.resolve()
    yield folder / Path(script).name
    loaded = opened.script
    named = [] if loaded.feeder is None else [loaded.feeder.file]
    named += [one.file for one in loaded.texts.values() if one.file is not None]
    table = None if opened.feeder is None else opened.feeder.table
    for scenario in loaded.scenarios.values():
        for step in walk(scenario.steps):
            if step.kind is StepKind.ATTACH:
                rows: Iterable[Mapping[str, str]] = ({},)
                if table is not None and columns_in(step.text):
                    rows = map(table.row, range(len(table.rows)))
                named += [render(step.text, row) for row in rows]
    for name in dict.fromkeys(named):
        yield Path(os.path.normpath(folder / name))


# The worker's side.


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """The files and parameters that a worker was given."""

    locustfiles: tuple[Path, ...]
    script: Path | None
    parameters: Mapping[str, str]


def ask_master(host: str, port: int, *, within_s: float, say: Callable[[str], object]) -> Any:
    """The master's answer. Raises ConfigError if there is none, or if it is a refusal.

    ``say`` is called with a sentence about what it waits for.
    """
    return _checked(await_master(host, port, within_s=within_s, say=say), f"{host}:{port}")


def await_master(host: str, port: int, *, within_s: float, say: Callable[[str], object]) -> Any:
    """The same, for a worker that needs no files: the answer may be anything."""
    began_ns = monotonic_ns()
    logged_s = -TELL_EVERY_S
    place = f"{host}:{port}"

    def since_s() -> float:
        return (monotonic_ns() - began_ns) / 1e9

    while True:
        nobody = _nobody_listens(host, port)
        if not nobody:
            left_s = min(ANSWER_WITHIN_S, within_s - since_s())
            answer = _ask(host, port, within_s=max(ASK_EVERY_S, left_s))
            if answer is not None:
                return answer
            if since_s() >= ANSWER_WITHIN_S:
                raise ConfigError(
                    f"the process at {place} does not hand out the files of a run: is this the "
                    f"port of a harness run --master (its --master-port), in version {__version__}?"
                )
            continue
        if since_s() >= within_s:
            raise ConfigError(
                f"there is no master at {place}: {nobody} for {duration_text(within_s)}. Start it "
                "with harness run FILE --master --expect-workers N --bind ADDRESS, with an address "
                "that this machine reaches"
            )
        if since_s() - logged_s >= TELL_EVERY_S:
            logged_s = since_s()
            left = duration_text(max(0, round(within_s - logged_s)))
            say(f"waiting for the master at {place} ({nobody}; {left} left)")
        gevent.sleep(min(ASK_EVERY_S, max(0.05, within_s - since_s())))


def _nobody_listens(host: str, port: int) -> str:
    """Why nothing can connect there, or an empty text. Raises ConfigError for an unknown host."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_WITHIN_S):
            return ""
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            return f"no machine of the name {host!r} is known here"
        return str(error.strerror)
    except TimeoutError:
        return "it does not answer"
    except OSError as error:
        return error.strerror or str(error)


def _ask(host: str, port: int, *, within_s: float) -> Any:
    me = f"{platform.node()}_files_{uuid4().hex}"
    client = zmqrpc.Client(host, port, me)  # type: ignore[no-untyped-call]
    question = {**versions(), "host": platform.node()}
    message: Any = Message(ASK_FILES, question, me)  # type: ignore[no-untyped-call]
    asking = gevent.spawn(_ask_again, client, message)
    try:
        with gevent.Timeout(within_s, None):
            answer = client.recv()  # type: ignore[no-untyped-call]
            return answer.data if answer.type == FILES else None
    except (RPCError, gevent.Timeout):
        return None
    finally:
        asking.kill()
        context = client.socket.context
        client.close(linger=0)  # type: ignore[no-untyped-call]
        context.term()  # Locust's own ends with its process


def _ask_again(client: Any, question: Any) -> None:
    while True:  # a master that is still importing its locustfile does not answer yet
        client.send(question)
        gevent.sleep(ASK_EVERY_S)


def _checked(answer: Any, place: str) -> Any:
    """The answer, if it is valid and no refusal. Raises ConfigError otherwise."""
    if not isinstance(answer, dict):
        raise ConfigError(f"the answer of the master at {place} can't be read")
    if problems := answer.get("problems"):
        own = versions()
        why = "; ".join(safe_quote(str(one)) for one in problems)
        do = [
            f"install {name} {safe_quote(str(answer[name]), 30)} here, or {own[name]} there"
            for name in VERSIONS
            if name in answer and answer[name] != own[name]
        ]
        raise ConfigError("; ".join((f"the master at {place} refuses this worker: {why}", *do)))
    texts = (answer.get("script"), *answer.get("locustfiles", ()))
    if not (
        _is_texts(answer.get("parameters"))
        and isinstance(answer.get("options"), dict)
        and all(map(_is_texts, answer["options"].values()))
        and isinstance(answer.get("files"), dict)
        and all(type(one) is bytes for one in answer["files"].values())
        and all(type(one) is str for one in texts)
        and answer.get("locustfiles")
    ):
        raise ConfigError(f"the files that the master at {place} hands out can't be read")
    return answer


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(k) is type(v) is str for k, v in value.items())


def unpack(answer: Mapping[str, Any], folder: Path) -> Handed:
    """Write the files that were handed out below ``folder``, and nowhere else. Raises
    ConfigError."""
    places = {name: _place(folder, name) for name in answer["files"]}
    for name, content in answer["files"].items():
        places[name].parent.mkdir(parents=True, exist_ok=True)
        places[name].write_bytes(content)

    def there(name: str) -> Path:
        if name not in places:
            raise ConfigError(f"the master names a file that it does not hand out: {name!r}")
        return places[name]

    options = {
        key: {text: str(there(name)) for text, name in named.items()}
        for key, named in answer["options"].items()
    }
    (folder / HANDED_OUT_FILES).write_bytes(orjson.dumps(options))
    return Handed(
        locustfiles=tuple(map(there, answer["locustfiles"])),
        script=there(answer["script"]) if answer["script"] else None,
        parameters=dict(answer["parameters"]),
    )


def _place(folder: Path, name: Any) -> Path:
    parts = PurePosixPath(name).parts if type(name) is str else ()
    if not parts or any(one in ("..", "/") or "\0" in one for one in parts) or name[0] == "/":
        raise ConfigError(f"the master hands out a file by a name that is none: {name!r}")
    return folder.joinpath(*parts)


def remove_at_end() -> None:
    """Remove the files that this process was handed when it ends; its forked children do not."""
    folder, owner = RunConfig.of_process().get(HANDED_OUT), os.getpid()
    if folder:
        atexit.register(
            lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None
        )
