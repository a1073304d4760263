"""Be one guest. Type what the guest says, or let a script talk, and see each frame with its time.
Tokens are shortened. The session is always cleared at the end, also after Ctrl-D and Ctrl-C.
Without --target the simulator answers.

while typing: /join /typing /drop /reconnect /history /health /choose TEXT /attach FILE /new (after
the other side ended the conversation for good) /quit

exit code: 0 the story went well, 3 it did not, 4 the session may still be open

examples:
  harness guest
  harness guest --target staging --script shop.yaml
  harness guest --script shop.yaml --scenario 'Order status' --seed 7
  harness guest --sim-tls --sim-fault cut=#2
  harness guest --target staging --record chat.jsonl    # for harness conform
"""

from dataclasses import replace
from pathlib import Path

from harness.cli.parsing import Command, Namespace, option, reports_option, targets_option
from harness.config.run_config import AUTO_JOIN, CA_FILE, ORIGIN
from harness.config.target import Terms, parse_target, resolve_target
from harness.errors import ConfigError, UsageError, expect
from harness.foreign import read_text
from harness.guest.visit import Visit, visit
from harness.supervise.children import EmbeddedSimulator
from harness.workload.script.file import read_script


def run(args: Namespace) -> int:
    """Talk."""
    loaded = read_script(args.script) if args.script else None
    if loaded is not None and args.scenario and args.scenario not in loaded.script.scenarios:
        there = ", ".join(loaded.script.scenarios)
        raise ConfigError(f"{args.script} has no scenario {args.scenario!r}; it has: {there}")
    if args.target and (args.sim_tls or args.sim_fault):
        raise UsageError("--sim-tls and --sim-fault do not go with --target")
    if loaded is None and (args.scenario or args.row):
        raise UsageError("--scenario and --row go with --script")
    expect(args.row >= 0, "--row", "zero or more", args.row)
    sign_in = read_text(args.sign_in).strip() if args.sign_in else ""
    wanted = Visit(
        reports=args.reports,
        loaded=loaded,
        script=args.script or Path(),
        scenario=args.scenario,
        row=args.row,
        seed=args.seed,
        sign_in=sign_in,
        sign_in_file=args.sign_in,
        auto_join=args.auto_join,
        quiet=args.quiet,
        record=args.record,
        unredacted=args.unredacted,
    )
    config = None if loaded is None else loaded.script.config
    origin = args.origin or (config.origin if config is not None else None)
    if args.target:
        terms = resolve_target(args.target, args.targets, ca_file=args.ca_file, origin=args.origin)
        if terms.target.origin is None:  # what is known of the target wins over the script's
            terms = replace(terms, target=replace(terms.target, origin=origin))
        return visit(terms, wanted)
    options = ["--tls"] if args.sim_tls else []
    for fault in args.sim_fault:
        options += ["--fault", fault]
    simulator = EmbeddedSimulator(*options)
    try:
        target = parse_target(simulator.start(), ca_file=simulator.ca_file, origin=origin)
        return visit(Terms(name="", target=target), wanted)
    finally:
        simulator.stop()


COMMAND = Command(
    run,
    option(
        "--target TARGET",
        "a name from the targets file, or ws(s)://host:port/v1?deploymentId=UUID",
        default="",
    ),
    targets_option(),
    option(CA_FILE),
    option(ORIGIN),
    option("--script FILE", "play a conversation script (YAML) instead of typing", type=Path),
    option("--scenario NAME", "scenario of the script (default: drawn by weight)"),
    option("--row N", "row of the script's data, counted from 0", default=0),
    option("--seed N", "seed for weights, texts and think times", default=0),
    option(AUTO_JOIN.option, AUTO_JOIN.help),
    option("--sign-in FILE", "file with the JWT to sign in with", type=Path),
    reports_option(),
    option("--quiet", "show the words only, not the frames"),
    option("--record FILE", "write the frames to a file, with personal data removed", type=Path),
    option("--unredacted", "with --record: keep tokens and all texts"),
    option("--sim-tls", "without --target: serve wss with a private CA"),
    option(
        "--sim-fault NAME=P",
        "without --target: switch on a fault: see harness simulate --help",
        repeated=True,
    ),
)
