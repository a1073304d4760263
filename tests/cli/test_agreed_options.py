"""Every command and option, agreed on: none is lost, renamed or given another default unnoticed."""

import argparse
from collections.abc import Iterator
from importlib import import_module

import agreed

from harness.cli.main import COMMANDS


def options_of(name: str) -> Iterator[str]:
    """One line for each option: names, what it takes, and its default."""
    parser = argparse.ArgumentParser(prog=f"harness {name}", add_help=False)
    import_module(f"harness.cli.{name}").configure(parser)
    for action in parser._actions:
        names = ", ".join(action.option_strings) or str(action.metavar or action.dest).upper()
        if action.nargs == 0:
            yield f"{name} {names}"
            continue
        takes = "|".join(map(str, action.choices)) if action.choices else str(action.metavar or "")
        takes = takes or action.dest.upper()
        repeated = isinstance(action, argparse._AppendAction) or action.nargs in ("*", "+")
        default = "" if action.default in (None, []) else f" = {action.default}"
        yield f"{name} {names}: {takes}{' ...' if repeated else ''}{default}"


def test_commands_and_their_options() -> None:
    agreed.hold("cli.txt", "".join(f"{line}\n" for name in COMMANDS for line in options_of(name)))
