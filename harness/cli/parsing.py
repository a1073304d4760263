"""Command lines by click: options in sections, examples, suggestions, refusals in one sentence.

A command's module says in its docstring what it is for, with examples, and names what it takes:
:func:`option`, :func:`argument`, and texts that head a section of the help. It gets what was typed
as one namespace. Options are never abbreviated: what a script says must not mean something else
when an option is added.

What commands share is here too: ``--reports``, and the line on standard error that says which run a
command takes, its state, and which other runs have leftovers.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from harness.config.run_config import LOG_FORMAT, REPORTS, TARGETS, Setting, take_variable
from harness.errors import ConfigError, expect

__all__ = ["Command", "Commands", "Namespace", "argument", "option", "refusal"]

WIDTH = 100
NO_UNIT = re.compile(r"0*[1-9]\d*(\.\d+)?|0+\.\d+")
"""A number that may be meant in seconds, minutes or milliseconds. (None at all needs no unit.)"""
NO_NUMBER = re.compile(r"(.*) is not a valid (integer|float)\.", re.DOTALL)
"""The form of click's own message."""
FILE = click.Path(path_type=Path)
SHORT_NAMES = {"help_option_names": ["-h", "--help"], "max_content_width": WIDTH}


class Option(click.Option):
    """An option, and the section of the help in which it stands."""

    section = "options"
    takes_words = False

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The value; the next option's name is none."""
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(one, str) and one.partition("=")[0] in _names(ctx.command.params):
                expected = self.make_metavar(ctx)
                raise click.UsageError(f"{self.opts[-1]}: expected {expected}, got {one}", ctx)
            if isinstance(one, str) and self.type is not FILE:
                one.encode()
            if self.metavar == "TIME" and isinstance(one, str) and NO_UNIT.fullmatch(one):
                raise ConfigError(
                    f"{self.opts[-1]}: expected a duration with its unit, such as {one}ms, {one}s "
                    f"or {one}m, got {one!r}"
                )
        return super().process_value(ctx, value)


def option(
    words: str | Setting,
    help: str = "",
    *,
    name: str | None = None,
    type: Any = None,
    default: Any = None,
    choices: Iterable[str] = (),
    repeated: bool = False,
    required: bool = False,
    takes_words: bool = False,
) -> Option:
    """One option, written as the help shows it: ``-u, --users N``; or the one of a setting.

    Without a metavar or ``choices`` it is a flag, and off unless it is given. A default is shown in
    the help. ``name`` is what the namespace calls it, where it is not the option's own;
    ``takes_words``: all words up to the next option are its value.
    """
    if isinstance(words, Setting):
        help, choices = help or words.help, words.choices
        words = words.option if choices else f"{words.option} {words.takes}"
    names = [word.rstrip(",") for word in words.split() if word.startswith("-")]
    metavar = " ".join(word for word in words.split() if not word.startswith("-")) or None
    one = Option(
        [*names, name] if name else names,
        help=f"{help}; may be repeated" if repeated else help,
        metavar=metavar,
        type=click.Choice(list(choices)) if choices else FILE if type is Path else type,
        is_flag=not (metavar or choices) or None,
        multiple=repeated,
        required=required,
        show_default=default not in (None, "") and "default" not in help,
        **({} if default is None else {"default": default}),
    )
    one.takes_words = takes_words
    return one


def argument(
    words: str,
    help: str,
    *,
    type: Any = None,
    choices: Iterable[str] = (),
    default: Any = None,
    many: bool = False,
    required: bool = True,
) -> click.Argument:
    """A positional argument: ``RUN``, or ``runs RUN`` if there may be several. The first word, in
    lower case, is its name in the namespace."""
    name, _, metavar = words.partition(" ")
    return click.Argument(
        [name.lower()],
        help=help,
        metavar=metavar or (None if name.islower() else name),
        type=click.Choice(list(choices)) if choices else FILE if type is Path else type,
        nargs=-1 if many else 1,
        required=required and default is None,
        **({} if default is None else {"default": default}),
    )


class Command(click.Command):
    """A command: the function that does the work, and its options and arguments. A text between
    them is the heading of the options that follow.

    The docstring of the command's module is its help: paragraphs, and from the first one with an
    indented line on examples, which the help shows at its end as they are written.
    """

    def __init__(
        self,
        run: Callable[[Namespace], int],
        *params: click.Parameter | str,
        usage: str = "",
        takes_rest: bool = False,
    ) -> None:
        name = run.__module__.rpartition(".")[2].replace("_", "-")
        paragraphs = (sys.modules[run.__module__].__doc__ or "").split("\n\n")
        description = list(takewhile(lambda paragraph: "\n  " not in paragraph, paragraphs))
        help = "\n\n".join(" ".join(paragraph.split()) for paragraph in description)
        taken: list[click.Parameter] = []
        section = "options"
        for one in params:
            if isinstance(one, str):
                section = one
                continue
            if isinstance(one, Option):
                one.section = section
            taken.append(one)
        super().__init__(name, params=taken, help=help, context_settings=SHORT_NAMES)
        self.examples = "\n\n".join(paragraphs[len(description) :])
        self._run = run
        self._usage = usage
        self._takes_rest = takes_rest

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the words apart; what stands behind ``--`` may be for somebody else."""
        rest: list[str] = []
        if self._takes_rest and "--" in args:
            split = args.index("--")
            args, rest = args[:split], args[split + 1 :]
        try:
            left = super().parse_args(ctx, self._joined(args))
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        ctx.params["rest"] = rest
        return left

    def invoke(self, ctx: click.Context) -> int:
        """Do it; the exit code."""
        return self._run(_namespace(ctx))

    def parse(self, *words: str) -> Namespace:
        """Parse ``words`` without running the command."""
        with self.make_context(self.name, list(words)) as ctx:
            return _namespace(ctx)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """The option that shows the help, in our words."""
        shown = super().get_help_option(ctx)
        if shown is not None:
            shown.help = "show this help"
        return shown

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line."""
        if self._usage:
            formatter.write(f"usage: {self._usage}\n")
        else:
            named = [one for one in self.params if isinstance(one, click.Argument)]
            words = ["[OPTIONS]", *(_in_usage(one, ctx) for one in named)]
            formatter.write_usage(ctx.command_path, " ".join(words), prefix="usage: ")

    def format_help_text(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Its description, as paragraphs."""
        formatter.write_paragraph()
        formatter.write_text(self.help or "")

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The positional arguments."""
        named = [one for one in self.get_params(ctx) if isinstance(one, click.Argument)]
        if named:
            with formatter.section("arguments"):
                formatter.write_dl([(one.make_metavar(ctx), one.help or "") for one in named])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options section by section."""
        sections: dict[str, list[tuple[str, str]]] = {"options": []}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                sections.setdefault(getattr(param, "section", "options"), []).append(record)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=32)

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, as they are written."""
        formatter.write_paragraph()
        formatter.write(self.examples.rstrip() + "\n")

    def _joined(self, words: list[str]) -> list[str]:
        """The words of an option that takes several, as one."""
        several = _names(one for one in self.params if isinstance(one, Option) and one.takes_words)
        joined: list[str] = []
        taking = False
        for word in words:
            if taking and not word.startswith("--") and joined[-1] not in several:
                joined[-1] += f"\n{word}"
            else:
                taking = word in several or (taking and not word.startswith("--"))
                joined.append(word)
        return joined


def refusal(error: click.UsageError) -> str:
    """An error of usage in our words: what was expected, and where to read about it."""
    more = "" if error.ctx is None else f"\nsee {error.ctx.command_path} --help"
    return f"error: {_sentence(error)}{more}"


def _sentence(error: click.UsageError) -> str:
    """Without click's capitals and full stop."""
    command = error.ctx.command_path if error.ctx is not None else "harness"
    if isinstance(error, click.NoSuchOption):
        meant = _meant(error.option_name, error.possibilities)
        return f"{command} has no option {error.option_name}{meant}"
    if isinstance(error, click.exceptions.NoSuchCommand):
        meant = _meant(error.command_name, error.possibilities)
        return f"there is no command {error.command_name!r}{meant}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{command}: expected {_what(error.param, error.ctx)}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        name = error.param.opts[-1] if isinstance(error.param, click.Option) else None
        what = name or error.param.human_readable_name
        if wrong := NO_NUMBER.fullmatch(error.message):
            kind = "a whole number" if wrong[2] == "integer" else "a number"
            return f"{what}: expected {kind}, got {wrong[1]}"
        return f"{what}: {_small(error.message)}"
    if isinstance(error, click.exceptions.BadOptionUsage) and error.ctx is not None:
        named = [p for p in error.ctx.command.params if error.option_name in p.opts]
        if named:
            return f"{error.option_name}: expected {named[0].make_metavar(error.ctx)}, got nothing"
    return _small(error.format_message())


def _namespace(ctx: click.Context) -> Namespace:
    params = ctx.params.items()
    return Namespace(**{n: list(v) if isinstance(v, tuple) else v for n, v in params})


def _what(param: click.Parameter, ctx: click.Context | None) -> str:
    if isinstance(param, click.Argument) or ctx is None:
        return param.human_readable_name
    return f"{param.opts[-1]} {param.make_metavar(ctx)}"


def _in_usage(param: click.Argument, ctx: click.Context) -> str:
    word = param.make_metavar(ctx) + "..." * (param.nargs == -1)
    return word if param.required else f"[{word}]"


def _meant(typed: str, possibilities: Sequence[str] | None) -> str:
    """The names so like what was typed that it can be a slip."""
    names = [name for name in possibilities or () if name != "--help"]
    meant = get_close_matches(typed, names, cutoff=0.7)
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def _small(text: str) -> str:
    text = text.strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _names(params: Iterable[click.Parameter]) -> set[str]:
    return {name for param in params if isinstance(param, click.Option) for name in param.opts}


class Commands(click.Group):
    """``harness COMMAND``: each is imported only when it is used."""

    def __init__(self, lines: Mapping[str, str], named: Callable[[str], Command]) -> None:
        """``lines``: command → its line of help; ``named`` imports one."""
        super().__init__("harness", no_args_is_help=False, add_help_option=False)
        self._lines = lines
        self._named = named

    def list_commands(self, _: click.Context) -> list[str]:
        """The names of the commands, in the order in which a new user needs them."""
        return list(self._lines)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """One of them, imported now."""
        return self._named(cmd_name) if cmd_name in self._lines else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names. Raises NoSuchCommand with those like it."""
        if args[0] not in self._lines and not ctx.resilient_parsing:  # as a completion does
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self._lines, ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, _: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so; none is imported for it."""
        named = ((name, text) for name, text in self._lines.items() if name.startswith(incomplete))
        return [CompletionItem(name, help=text) for name, text in named]


def take_run(args: Namespace) -> Path:
    """The directory of the run that ``args.run`` names; its state is printed on standard error.
    Raises ConfigError when there is none."""
    return take_runs(args, [args.run])[0]


def take_runs(args: Namespace, names: Sequence[str]) -> list[Path]:
    """The same for several runs; one that is named twice is taken once."""
    from harness.ledger.runs import RunState, other_leftovers, resolve_run, run_state

    directories = list(dict.fromkeys(resolve_run(name, args.reports) for name in names))
    for directory in directories:
        state = run_state(directory)
        tell(f"run {directory.name}: {state.sentence}")
        if state is RunState.KILLED:
            from harness.judge.reading import end_of_killed  # takes a while to import

            if sentence := end_of_killed(directory):
                tell(f"run {directory.name}: {sentence}")
    if others := other_leftovers(args.reports, directories):
        tell(others)
    return directories


def tell(sentence: str) -> None:
    """Print a sentence on standard error: standard output is for the command's result only."""
    print(sentence, file=sys.stderr)


def choose_log_format(args: Namespace) -> None:
    """Decide between text and JSON lines; called before anything is printed. Raises ConfigError for
    an unknown value of the environment variable."""
    # Our child processes print plain text; this process formats it.
    from_environment = take_variable(LOG_FORMAT.variable)
    args.log_format = args.log_format or from_environment or LOG_FORMAT.default
    if args.log_format not in LOG_FORMAT.choices:
        raise ConfigError(f"{LOG_FORMAT.variable}: expected text or json, got {args.log_format!r}")
    if args.log_format == "json":
        from harness.streams import print_json

        print_json("harness.cli")


def let_runs_print_text() -> None:
    """Let the runs that a study starts print plain text: the study reads it, and prints it again in
    the wanted format."""
    take_variable(LOG_FORMAT.variable)


def run_argument(
    words: str = "RUN", *, many: bool = False, required: bool = True
) -> click.Argument:
    """What :func:`take_run` reads as ``args.run``; ``words`` are as in :func:`argument`."""
    help = "a run's directory, its id, or 'latest'"
    return argument(words, help, many=many, required=required)


def reports_option(help: str = "") -> Option:
    """The option; ``args.reports`` is a Path, which may have no folder yet. ConfigError where it is
    something else."""
    one = option(REPORTS, help, type=Path, default=REPORTS.default)
    one.callback = _refuse_file
    return one


def _refuse_file(_: click.Context, one: click.Parameter, value: Path) -> Path:
    expect(value.is_dir() or not value.exists(), one.opts[-1], "a folder", f"the file {value}")
    return value


def json_option() -> Option:
    """The option ``--json`` of a command."""
    return option("--json", "print one JSON object")


def targets_option(type: Any = Path) -> Option:
    """The same for the file of named targets."""
    return option(TARGETS, type=type, default=TARGETS.default)


def place_options() -> tuple[Option, ...]:
    """The options that say where the Platform API is."""
    return (
        option("--api-url URL", "address of the Platform API (default: found from the target)"),
        option("--login-url URL", "address of its sign-in (default: found from the target)"),
    )
