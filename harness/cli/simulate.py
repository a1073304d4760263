"""``harness simulate``: the local twin of the service, until it is told to stop."""

import argparse
from collections.abc import Iterator

from harness.cli.parsing import Command, Namespace, Option, option
from harness.exit_codes import ExitCode
from harness.simulator import options


def run(args: Namespace) -> int:
    """Serve until a signal."""
    args.bot = args.bot.split("\n") if args.bot else None
    settings = options.read(args)
    from harness.simulator import server  # the libraries are needed only once the options are fine

    server.run(settings)
    return ExitCode.PASS


def _options() -> Iterator[Option]:
    """The simulator's own options, which it keeps apart from the rest of the harness."""
    parser = argparse.ArgumentParser(add_help=False)
    options.add_arguments(parser)
    for group in parser._action_groups:
        for action in group._group_actions:
            shown = action.metavar
            several = isinstance(shown, tuple)
            one = option(
                *action.option_strings,
                action.dest,
                help=(action.help or "") % {"default": action.default},
                metavar=" ".join(shown) if isinstance(shown, tuple) else shown,
                choices=tuple(action.choices or ()),
                flag=action.nargs == 0,
                repeated=isinstance(action, argparse._AppendAction),
                default=None if isinstance(action.default, (bool, list)) else action.default,
            )
            one.takes_words = several
            one.section = "" if group.title == "options" else group.title or ""
            yield one


COMMAND = Command(
    "simulate",
    run,
    list(_options()),
    description=(
        "Run a local simulator of the Web Messaging service. It prints one JSON line when it "
        "listens, with its url, deployment id and target (the whole URL). It stops on Ctrl-C or "
        "SIGTERM."
    ),
    epilog=(
        "examples:\n"
        "  harness simulate\n"
        "  harness simulate --port 8080 --tls --bot-delay exponential:200ms\n"
        "  harness simulate --seed 7 --fault ignore_clear=0.05 --fault cut=0.02,how=rst\n"
        "  harness simulate --limits off --bot lifelike --seed 1\n"
        "  harness simulate --like live\n"
        "  harness simulate --bot-greets text --bot-messages 2 --bot-gap 1s --questions FILE\n"
        "  harness simulate --fault no_reply=1,from=9s --fault interruption=0.1\n\n"
        "while it runs (PORT as in the url):\n"
        "  curl http://127.0.0.1:PORT/sim/truth\n"
        "  curl http://127.0.0.1:PORT/sim/questions   (each text, choice, Join and its answers)\n"
        "  curl -X PUT -d '{\"ignore_clear\":0.1}' http://127.0.0.1:PORT/sim/faults\n"
    ),
)
