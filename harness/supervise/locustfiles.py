"""Ready locustfiles, wherever the harness is installed, and what ``harness new`` writes."""

import site
import sysconfig
from pathlib import Path

import harness
from harness.config.run_config import SCRIPT as SCRIPT_VARIABLE
from harness.errors import ConfigError

SHARE = Path("share", "harness", "locustfiles")
"""Where an installed harness has them, below the folder of its scripts."""
SCRIPTS = (".yaml", ".yml")
DEFAULT = Path("locustfiles/launch.py")
ELSEWHERE = "smoke"
"""Run where there is no default file: it is short, and small."""

LOCUSTFILE = '''"""One line on what this tests. Run it: harness run {name}"""

from locust import task

from harness.load import ArrivalShape, GuestUser, from_options, objective, poisson, slots_for


class Arrivals(ArrivalShape):
    # New guests come at this rate, independently of each other. On the command line: --rate 2/s
    # --over 20m
    arrivals = poisson(from_options(rate="30/min", over="2m"))
    # Room for guests at a time; slots_for computes it from how long one stays.
    slots = slots_for(arrivals, "1m")


class Customer(GuestUser):
    # Time between two messages of a guest, in seconds or as a distribution.
    think_time = "uniform(2s, 6s)"

    @task
    def ask_about_an_order(self) -> None:
        # Opens a session; it is always cleared at the end, whatever happens.
        with self.guest() as guest:
            guest.say("Where is my order?")
            guest.await_reply(within="20s")
            guest.think()
            guest.say("Thanks, that is all.", expect_reply=False)


# What the run is judged by: harness docs objectives explains the words.
objective("reply p95 < 5s", "session_open errors < 1%", "leftovers == 0")
'''
SCRIPT = """\
# What guests say. Look at it: harness script check {name}   Run it: harness run {name}
within: 20s            # how long each answer may take
scenarios:
  Where is my order:
    weight: 3          # three of four guests
    steps:
      - say: "Where is my order?"
      - waitForReplyMatching: "."
      - think: uniform(2s, 6s)
      - say: "Thank you."
      - waitForReplyMatching: "."
  Looking in:
    weight: 1
    steps:
      - join
      - waitForReplyMatching: "."
"""


def ready_folder() -> Path:
    """The folder of the ready locustfiles: beside the sources, or as installed."""
    beside = Path(harness.__file__).parent.parent
    places = [beside / "locustfiles", beside / SHARE]
    places += [Path(root) / SHARE for root in (sysconfig.get_path("data"), site.USER_BASE) if root]
    for place in places:
        if (place / "smoke.py").is_file():
            return place
    raise ConfigError(f"the ready locustfiles are not installed: there is no {places[1]}")


def ready(name: str) -> Path:
    """One of them. Raises ConfigError naming those that there are."""
    folder = ready_folder()
    there = sorted(path.stem for path in folder.glob("*.py"))
    if name.removesuffix(".py") not in there:
        raise ConfigError(f"there is no ready locustfile {name!r}; there are: {', '.join(there)}")
    return folder / f"{name.removesuffix('.py')}.py"


def playable(file: str) -> tuple[str, dict[str, str]]:
    """The locustfile by which ``file`` is run, and what it finds in its environment.

    A script in YAML is played by a ready locustfile. The default file is replaced by a short
    ready one where there is none.
    """
    path = Path(file)
    if path.suffix in SCRIPTS:
        if not path.is_file():
            raise ConfigError(f"there is no script {file!r}")
        return str(ready("script")), {SCRIPT_VARIABLE: str(path.resolve())}
    if path == DEFAULT and not path.exists():
        return str(ready(ELSEWHERE)), {}
    return file, {}


def write_new(name: str, like: str | None) -> Path:
    """Write a commented file to begin with; ``like`` names a ready locustfile to copy.

    Raises ConfigError when the file is there already or can't be written.
    """
    path = Path(name)
    if not path.name or name.endswith("/"):
        raise ConfigError(f"expected the name of a file to write, got {name!r}")
    if path.suffix in SCRIPTS:
        if like is not None:
            raise ConfigError(f"--from: a ready locustfile is Python, {name} would be a script")
        text = SCRIPT.replace("{name}", path.name)
    else:
        path = path if path.suffix == ".py" else path.with_name(f"{path.name}.py")
        text = LOCUSTFILE.replace("{name}", path.name)
        text = text if like is None else ready(like).read_text()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; it was left as it is") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from None
    return path
