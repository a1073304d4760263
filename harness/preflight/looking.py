"""The part of a preflight that touches the world: the way there, its configuration, one guest."""

import json
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from harness.clock import wall_ns
from harness.errors import ConfigError, HarnessError, TransportError
from harness.guest.session import GuestSession
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import Ledger
from harness.ledger.leftovers import read_leftovers
from harness.ledger.reading import meta_of_this_process
from harness.ledger.store import FILE_NAME, Store
from harness.ledger.tokens import Tokens
from harness.measure.recorder import Recorder
from harness.preflight.checks import Check, Status
from harness.report.opening import make_run_directory, new_run_id, target_facts, write_start
from harness.targets import Terms
from harness.transport.dial import Address
from harness.transport.http import request
from harness.transport.probe import probe

WITHIN_S = 10.0
GREETING = "Hello, this is a test of the way here. It ends by itself."


def look_at_the_way(terms: Terms) -> list[Check]:
    """Reachability, TLS and upgrade."""
    try:
        phases = probe(terms.target, timeout_s=WITHIN_S)
    except TransportError as error:
        return [Check(name="reach", status=Status.FAIL, text=str(error))]
    taken = ", ".join(f"{name} {ns / 1e6:.1f} ms" for name, ns in phases.items())
    checks = [Check(name="reach", status=Status.OK, text=taken)]
    if terms.target.scheme == "ws":
        plain = Status.OK if terms.target.loopback else Status.FAIL
        checks.append(Check(name="tls", status=plain, text="none: the connection is in clear"))
    else:
        by = "a private CA" if terms.target.ca_file else "the system's CAs"
        checks.append(Check(name="tls", status=Status.OK, text=f"certificate accepted by {by}"))
    return checks


def fetch_config(terms: Terms) -> tuple[Mapping[str, Any] | None, float | None, Check]:
    """config.json, how far this machine's clock is off (seconds), and how the fetching went."""
    if not terms.config_url:
        text = "where config.json is kept is not known: write config_url"
        return None, None, Check(name="config.json", status=Status.WARN, text=text)
    try:
        tls = ssl.create_default_context(cafile=terms.target.ca_file)
        way = Address.of(terms.target, None)
        answer = request("GET", terms.config_url, tls=tls, way=way, timeout_s=WITHIN_S)
        if answer.status != 200:
            why = f"HTTP {answer.status}"
            if answer.status == 403:
                why += " (so it is for an unknown deployment id)"
            return None, None, Check(name="config.json", status=Status.FAIL, text=why)
        config = json.loads(answer.body)
    except (TransportError, OSError, ValueError) as error:
        return None, None, Check(name="config.json", status=Status.FAIL, text=str(error))
    offset_s = None
    if told := answer.headers.get("date"):
        with suppress(ValueError):
            # The header has whole seconds: what it tells is half a second later, on average.
            offset_s = time.time() - parsedate_to_datetime(told).timestamp() - 0.5
    if not isinstance(config, dict):
        text = "expected a JSON object"
        return None, offset_s, Check(name="config.json", status=Status.FAIL, text=text)
    return config, offset_s, Check(name="config.json", status=Status.OK, text="fetched and read")


def send_one_guest(terms: Terms, reports: Path) -> Check:
    """One guest from arrival to proven end, on a ledger of its own, like any other."""
    directory = make_run_directory(reports, f"preflight-{new_run_id()}")
    worker = "preflight"
    write_start(directory, **target_facts(terms.target))
    started = str(wall_ns())
    tokens = Tokens.of(directory, worker)
    ledger = Ledger(
        Store(
            directory / FILE_NAME.format(worker=worker),
            {
                "run_id": directory.name,
                "worker": worker,
                "number": str(tokens.worker),
                **meta_of_this_process(),
                "started_ns": started,
                "heartbeat_ns": started,
            },
        )
    )
    settings = GuestSettings(
        target=terms.target,
        tls=terms.target.tls_context(),
        custom_attributes={"runId": directory.name},
    )
    guest = GuestSession(settings, tokens.next(), ledger=ledger, recorder=Recorder())
    failed = ""
    try:
        with guest:
            guest.say(GREETING)
            reply = guest.await_reply(within=WITHIN_S * 2)
    except ConfigError:
        raise
    except HarnessError as error:
        failed = str(error)
    finally:
        ledger.close()
    if any(read_leftovers(directory)):
        text = (
            f"its session was not proved ended ({failed or 'no proof'}): harness sweep {directory}"
        )
        return Check(name="one guest", status=Status.FAIL, text=text)
    if failed:
        return Check(name="one guest", status=Status.FAIL, text=failed)
    return Check(
        name="one guest", status=Status.OK, text=f"opened, answered ({reply[:40]!r}), cleared"
    )
