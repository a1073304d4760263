"""All commands as one group, each imported only when it is used."""

import click
from click.shell_completion import CompletionItem, shell_complete

from harness.cli.main import COMMANDS, COMPLETION, command_of


class Commands(click.Group):
    """``harness COMMAND``."""

    def __init__(self) -> None:
        super().__init__("harness", no_args_is_help=False, add_help_option=False)

    def list_commands(self, _: click.Context) -> list[str]:
        """In the order of a user's first week."""
        return list(COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """One of them, imported now."""
        return command_of(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names. Raises NoSuchCommand with those like it."""
        if args[0] not in COMMANDS:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, _: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so; none is imported for it."""
        named = ((name, text) for name, text in COMMANDS.items() if name.startswith(incomplete))
        return [CompletionItem(name, help=text) for name, text in named]

    def complete(self, instruction: str) -> int:
        """Answer a shell, which has asked by ``instruction``."""
        return shell_complete(self, {}, "harness", COMPLETION, instruction)
