"""Nothing that a user can say is missing from the manual. All names come from the code."""

import re
from collections.abc import Iterable
from dataclasses import fields

import agreed
import pytest
from docs.manual import ALL, PAGES, README, ROOT

import harness.load
from harness.cli.main import COMMANDS
from harness.errors import ExitCode
from harness.guest.session import GuestSession
from harness.judge.objective import JUDGED_COUNTERS
from harness.measure.model import GROUPS, OPERATIONS, Outcome
from harness.simulator.faults import FAULTS
from harness.simulator.settings import DeploymentSettings, Knobs, Limits

MANUAL = "\n".join(PAGES.values())
OPTIONS = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", MANUAL))


def _missing(names: Iterable[str], page: str) -> list[str]:
    """Those that stand on the page neither in backticks nor in a fenced block: a word of a
    sentence explains nothing."""
    code = re.findall(r"^```.*?^```|`[^`\n]+`", PAGES[page], re.DOTALL | re.MULTILINE)
    words = set(re.findall(r"[A-Za-z_]\w*", "\n".join(code)))
    return sorted({str(name) for name in names} - words)


def test_every_command_has_a_row_and_no_other() -> None:
    rows = re.findall(r"^\| `harness ([a-z-]+)` \|", PAGES["commands.md"], re.MULTILINE)
    assert sorted(rows) == sorted(COMMANDS)


def test_every_option_of_every_command() -> None:
    agreed_lines = (agreed.GOLDEN / "cli.txt").read_text().splitlines()
    named = {
        option
        for line in agreed_lines
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line.split(":")[0])
    }
    assert named
    assert sorted(named - OPTIONS) == []


def test_every_subject_of_an_objective() -> None:
    assert _missing(OPERATIONS, "objectives.md") == []
    assert _missing(Outcome, "objectives.md") == []
    assert _missing(GROUPS, "objectives.md") == []
    assert _missing((word for words in GROUPS.values() for word in words), "objectives.md") == []


def test_every_counter() -> None:
    assert _missing(JUDGED_COUNTERS, "objectives.md") == []


def test_every_knob_limit_fault_and_setting_of_the_simulator() -> None:
    assert _missing(FAULTS, "simulator.md") == []
    for kind in (Knobs, Limits, DeploymentSettings):
        assert _missing((one.name for one in fields(kind)), "simulator.md") == []


def test_every_name_for_locustfiles() -> None:
    pages = [set(_missing(harness.load.__all__, page)) for page in PAGES]
    assert sorted(set.intersection(*pages)) == []


def test_every_verb_of_a_guest() -> None:
    # What a story calls; the way in and out and the abandoning are the user class's affair.
    own = {"open", "abandon"}
    verbs = {
        name
        for name, value in vars(GuestSession).items()
        if callable(value) and not name.startswith("_")
    }
    assert sorted(f"guest.{verb}" for verb in verbs - own if f"guest.{verb}(" not in MANUAL) == []


def test_every_exit_code() -> None:
    page = PAGES["report.md"]
    table = page[page.index("| exit code |") :]
    numbers = {
        int(number)
        for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
        for number in row.split(",")
    }
    assert numbers == {int(code) for code in ExitCode}


def test_no_command_or_option_is_named_that_does_not_exist() -> None:
    text = "\n".join(ALL.values())
    used = set(re.findall(r"`harness ([a-z-]+)[ `]", text))
    used |= set(re.findall(r"^\$ harness ([a-z-]+)", text, re.MULTILINE))
    assert sorted(used - COMMANDS.keys() - {"docs"}) == []


@pytest.mark.parametrize("page", ALL)
def test_links_lead_somewhere(page: str) -> None:
    folder = ROOT if page == "README.md" else ROOT / "harness" / "docs"
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", ALL[page])
    assert [one for one in links if "://" not in one and not (folder / one).exists()] == []


def test_the_readme_links_every_page_and_is_short() -> None:
    linked = set(re.findall(r"\]\(harness/docs/([\w-]+\.md)\)", README))
    assert linked == PAGES.keys()
    assert len(README.splitlines()) < 150
