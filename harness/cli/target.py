"""Write a commented file of named targets, or show what is in it."""

from pathlib import Path

from harness.cli.parsing import Command, Namespace, argument, option
from harness.config.target import FILE, REGIONS, read_targets
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.streams import open_console, plain_table

COMMENTED = """\
# Deployments by name, each with the terms under which it may be loaded. Secrets never go in here.
# harness preflight --target staging, then harness run LOCUSTFILE --target staging

[targets.staging]
url = "wss://webmessaging.mypurecloud.de/v1?deploymentId=00000000-0000-0000-0000-000000000000"
# The vendor wants to approve load tests two weeks before: write its reference.
# approval = "case 0123456"
# How many sessions a run may open at most, and how fast guests may arrive.
max_sessions = 500
max_rate = "60/min"
# When runs may be under way, in the region's own time. A run stops early enough to clear.
window = "23:00-05:00"
# Found from the url for the vendor's own hosts; otherwise one of them is needed.
# region = "eu-central-1"
# time_zone = "Europe/Berlin"
# origin = "https://shop.example"        # Origin header, if the deployment restricts domains
# ca_file = "private-ca.pem"             # CA of a proxy that opens TLS
# proxy = "http://127.0.0.1:3128"        # HTTP proxy, by CONNECT
# proxy_login_env = "PROXY_LOGIN"        # environment variable with its user:password
# sources = ["192.0.2.10", "192.0.2.11"] # addresses of this machine; each has its own ports
# connections_per_minute = 1000          # if the vendor has granted another limit
# auto_join = true                       # guests join by themselves, as a widget with autoStart
# greets = true                          # the flow says something by itself, first; false: never
# turns = true                           # it answers in several messages: guests wait for all
# replies = false                        # only agents answer: what guests say needs no answer
# sign_ins = "jwts.txt"                  # JWTs of guests who sign in, one a line: secrets
# client_id_env = "GENESYS_CLIENT_ID"         # names of environment variables with the OAuth
# client_secret_env = "GENESYS_CLIENT_SECRET" # client for audits, never the values themselves
# queues = ["QUEUE-ID"]                  # what is open there is counted before and after a run
# flows = ["FLOW-ID"]
# config_url, api_url: only where they can't be found from the url

# A simulator that is guarded as if it were real, to rehearse everything.
# [targets.rehearsal]
# url = "ws://127.0.0.1:8080/v1?deploymentId=00000000-0000-0000-0000-000000000000"
# treat_as_real = true
# time_zone = "Europe/Berlin"
# window = "00:00-23:59"
# approval = "rehearsal"
# max_sessions = 100
"""


def run(args: Namespace) -> int:
    """Write or list."""
    console = open_console()
    if args.what == "init":
        try:
            with args.targets.open("x") as file:
                file.write(COMMENTED)
        except FileExistsError:
            raise ConfigError(f"{args.targets} is there already; it was left as it is") from None
        except OSError as error:
            raise ConfigError(f"{args.targets} can't be written: {error.strerror}") from error
        console.print(f"wrote {args.targets}: fill it in, then harness preflight --target NAME")
        return ExitCode.PASS
    if args.what == "regions":
        table = plain_table("region", "guest socket", "time zone", left=True)
        for region, (domain, zone) in REGIONS.items():
            table.add_row(region, f"webmessaging.{domain}", zone)
    else:
        table = plain_table("name", "host", "window", "approval", "sessions at most", left=True)
        for name, terms in read_targets(args.targets).items():
            zone = f" {terms.zone or 'zone unknown'}" if terms.window else ""
            zone = f"{terms.window_text}{zone}" if terms.guarded else "free"
            cap = "none" if terms.max_sessions is None else f"{terms.max_sessions:,}"
            table.add_row(name, terms.target.netloc, zone, terms.approval or "none", cap)
    console.print(table)
    return ExitCode.PASS


COMMAND = Command(
    run,
    [
        argument(
            "what",
            "init: write the file; list: show it; regions: the vendor's regions",
            choices=("init", "list", "regions"),
        ),
        option("--targets FILE", "file of named targets", type=Path, default=FILE),
    ],
    epilog="examples:\n  harness target init\n  harness target list\n  harness target regions\n",
)
