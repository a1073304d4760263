"""Scripts of tests, from texts instead of files."""

from pathlib import Path

from harness.workload.data import Table
from harness.workload.script.file import Values, _sets, _validated, check_texts, load_lined
from harness.workload.script.model import Script


def parse_script(text: str, *, name: str, table: Table | None = None) -> Script:
    """A script from its text; ``table`` holds the rows of its feeder. Raises ConfigError."""
    lined = load_lined(text, name=name)
    script = _validated(lined)
    check_texts(script, lined, Values(table, _sets(script, lined, Path())))
    return script
