"""Run a local simulator of the Web Messaging service. It prints one JSON line when it listens, with
its url, deployment id and target (the whole URL). It stops on Ctrl-C or SIGTERM.

examples:
  harness simulate
  harness simulate --port 8080 --tls --bot-delay exponential:200ms
  harness simulate --seed 7 --fault ignore_clear=0.05 --fault cut=0.02,how=rst
  harness simulate --limits off --bot lifelike --seed 1
  harness simulate --like live
  harness simulate --bot-greets text --bot-messages 2 --bot-gap 1s --questions FILE
  harness simulate --fault no_reply=1,from=9s --fault interruption=0.1

while it runs (PORT as in the url):
  curl http://127.0.0.1:PORT/sim/truth
  curl http://127.0.0.1:PORT/sim/questions   (each text, choice, Join and its answers)
  curl -X PUT -d '{"ignore_clear":0.1}' http://127.0.0.1:PORT/sim/faults
"""

from dataclasses import fields

from harness.cli.parsing import Command, Namespace, option
from harness.errors import ExitCode
from harness.simulator import options
from harness.simulator.faults import FAULTS
from harness.simulator.settings import PRESETS, DeploymentSettings, Knobs, Limits, Settings


def run(args: Namespace) -> int:
    """Serve until a signal."""
    settings = settings_of(args)
    from harness.simulator import server  # the libraries are needed only once the options are fine

    server.run(settings)
    return ExitCode.PASS


def settings_of(args: Namespace) -> Settings:
    """What the options ask for. Raises ConfigError for anything that makes no sense."""
    bot = args.bot.split("\n") if args.bot else None
    return options.read(options.Options(**{**vars(args), "bot": bot}))


def _names(settings: type[Limits] | type[Knobs] | type[DeploymentSettings]) -> str:
    return ", ".join(one.name for one in fields(settings))


COMMAND = Command(
    run,
    option("--host HOST", "address to listen on", default=options.HOST),
    option("--port PORT", "port to listen on; 0 takes any free one (the default)", default="0"),
    option("--tls", "serve wss with a private CA (always the same)"),
    option(
        "--stamps",
        "measure the bot's delays from when the kernel received the text, and report the "
        "simulator's own queueing apart (Linux, not with --tls)",
    ),
    option("--tls-name NAME", "another name or address for the certificate", repeated=True),
    option("--seed N", "make ids, faults and service times repeatable"),
    option("--deployment-id ID", "id of the deployment (default: random)"),
    option("--profile FILE", "TOML file with any of these settings, and more"),
    option(
        "--like",
        "live: behave as the real service does where it differs from its documentation: life-like "
        "bot, documented limits, late analytics and disconnects; other options win over it",
        choices=PRESETS,
    ),
    "who answers",
    option(
        "--bot WHICH FILE",
        "'default': greets a Join, answers each text once. 'lifelike': greets, answers in one to "
        "three messages, is slow at times. 'script FILE': answers as a TOML file says. 'off': "
        "says nothing",
        takes_words=True,
    ),
    option(
        "--from FILE",
        "instead of --bot: greet and answer as in a recording (a HAR or of harness guest --record)",
        name="recording",
    ),
    option("--bot-greets WHEN", "join (the default), text (before the first answer), either, off"),
    option(
        "--greeting-delay TIME",
        "time before the greeting, as --bot-delay (default: after Join as an answer, else none)",
    ),
    option("--bot-messages N", "messages per answer: 2, or drawn from 1-3 (default: 1)"),
    option("--bot-gap TIME", "time between two of its messages, as --bot-delay (default: none)"),
    option(
        "--bot-delay TIME",
        "time the bot needs for an answer: 50ms (the default), exponential:200ms, "
        "lognormal:200ms,0.5 (mean, variation), uniform:1s, bimodal:50ms,1s,0.001 (two times, and "
        "the probability of the second)",
    ),
    option("--bot-workers N", "answers in progress at once; others queue (default: 0, no queue)"),
    option("--hand-over-after N", "an agent takes over after this many texts"),
    option("--agents N", "number of agents (default: 0)"),
    option("--agent-concurrency N", "conversations of an agent at once (default: 3)"),
    option("--agent-time TIME", "time an agent needs for an answer"),
    option("--wrapup TIME", "time an agent stays busy after the guest has left"),
    option(
        "--questions FILE", "write each text, choice and Join with its answers and times (JSON)"
    ),
    "rules, faults and what is unknown",
    option("--limits WHICH", "rate limits and idle times: documented (the default) or off"),
    option("--limit NAME=VALUE", f"one limit, 0 for none: {_names(Limits)}", repeated=True),
    option("--knob NAME=VALUE", f"an answer to what is unknown: {_names(Knobs)}", repeated=True),
    option(
        "--deployment NAME=VALUE",
        f"a setting of the deployment: {_names(DeploymentSettings)}",
        repeated=True,
    ),
    option(
        "--fault NAME=PROBABILITY",
        "switch on a fault; instead of a probability #3 is the third event and every:10 each "
        "tenth; options follow after commas, as 'late_answer=0.1,seconds=8', 'fail=0.5,at=text' "
        "or 'no_reply=1,from=9s' (from nine seconds after the first text on); known: "
        f"{', '.join(FAULTS)}",
        repeated=True,
    ),
)
