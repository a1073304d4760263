"""Show the manual: the list of its pages, one page, or all lines that contain a word. The list ends
with the tables that long checks have measured.

examples:
  harness docs
  harness docs scripts
  harness docs --search percentile
"""

from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, TableElement
from rich.table import Table
from rich.text import Text

from harness import docs
from harness.cli.parsing import Command, Namespace, argument, option
from harness.errors import ConfigError, ExitCode, UsageError
from harness.streams import as_shown, open_console

MOST_BARS = 8
"""In a row of a table that is laid out; a row of n columns has n + 1."""


class _FoldedTable(TableElement):
    """Breaks a name that its column has no room for, where Rich's own leaves out its end."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            for column in table.columns if isinstance(table, Table) else ():
                column.overflow = "fold"
            yield table


class _Page(Markdown):
    elements: ClassVar = {**Markdown.elements, "table_open": _FoldedTable}


def run(args: Namespace) -> int:
    """List the topics, show one, or search all."""
    console = open_console()
    if args.search is not None:
        if args.topic is not None:
            raise UsageError("--search looks through all topics; give no TOPIC")
        if not args.search.strip():
            raise ConfigError("--search: expected a word, got nothing")
        hits = list(docs.search(args.search))
        for hit in hits:
            line = Text.assemble((hit.topic, "bold"), f" {hit.heading}: {hit.line}")
            console.print(line)
        if not hits:
            raise ConfigError(f"{args.search!r} is not in the manual")
    elif args.topic is None:
        for topic, title in docs.topics().items():
            if topic == next(iter(docs.TABLES)):
                console.print("\nwhat long checks have measured:")
            console.print(f"  {topic:<17}{title}")
        console.print(
            "\nharness docs TOPIC shows one page; harness docs --search WORD looks through all"
        )
    else:
        text = as_shown(docs.page(args.topic))
        most = max((line.count("|") for line in text.splitlines() if line[:1] == "|"), default=0)
        if most > MOST_BARS:
            console.print(Text(text))  # no terminal has room for such a table's columns
        else:
            console.print(_Page(text), soft_wrap=False)
    return ExitCode.PASS


COMMAND = Command(
    run,
    argument("TOPIC", "page to show; without one, the list", required=False),
    option("--search WORD", "show each line that contains this word"),
)
