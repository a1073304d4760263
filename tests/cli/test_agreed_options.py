"""Every command and option, agreed on: none is lost, renamed or given another default unnoticed."""

from collections.abc import Iterator
from pathlib import Path

import agreed
import click

from harness.cli.main import COMMANDS, command_of


def options_of(name: str) -> Iterator[str]:
    """One line for each option: names, what it takes, and its default."""
    command = command_of(name)
    for param in command.params:
        is_option = isinstance(param, click.Option)
        names = ", ".join(param.opts) if is_option else param.human_readable_name
        if isinstance(param, click.Option) and param.is_flag:
            yield f"{name} {names}"
            continue
        kind = param.type
        takes = "|".join(kind.choices) if isinstance(kind, click.Choice) else param.metavar
        repeated = param.multiple or param.nargs == -1
        default = param.default
        shown = f" = {default}" if isinstance(default, (str, int, float, Path)) else ""
        yield f"{name} {names}: {takes or names}{' ...' if repeated else ''}{shown}"


def test_commands_and_their_options() -> None:
    agreed.hold("cli.txt", "".join(f"{line}\n" for name in COMMANDS for line in options_of(name)))
