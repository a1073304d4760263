"""A token is the key to a conversation: it leaves this machine in ``token`` fields only.

Every byte that the harness sends, for guests, sweeps and audits, is looked through.
"""

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from relay import Relay, websocket_payloads
from sessions import Guest, Simulated, ledger_of, settings_for

from harness.config.target import parse_target
from harness.guest.session import GuestSession
from harness.ledger.ledger import Ledger, Stage, Store, guest_tag
from harness.ledger.reader import read_leftovers
from harness.measure.recorder import Recorder
from harness.platform_api.client import Credentials, Places, PlatformApi
from harness.reconcile.audit import Search, Span, audit
from harness.reconcile.platform import Disconnect, sweep_by_platform
from harness.reconcile.sweep import find_leftovers, sweep

pytestmark = pytest.mark.process

NOW = datetime.now(UTC)
SPAN = Span(NOW - timedelta(hours=1), NOW + timedelta(hours=1), NOW + timedelta(hours=1))


def forms_of(token: str) -> list[bytes]:
    """The token as it may be written, and what begins its base64."""
    plain = token.encode()
    return [plain, token.replace("-", "").encode(), plain.upper(), base64.b64encode(plain)[:40]]


class Through:
    """The simulator behind the relay, as the helpers for guests want it."""

    def __init__(self, url: str) -> None:
        self.url = url


def play(world: Any, directory: Path) -> str:
    """One guest who does everything that a guest can do; its token."""
    token = str(uuid.uuid4())
    store = Store(directory / "ledger-p.sqlite", {"worker": "p"})
    settings = settings_for(
        world, custom_attributes={"runId": "r-1"}, tag_of=guest_tag, history=True
    )
    guest = GuestSession(settings, token, ledger=Ledger(store), recorder=Recorder())
    with guest:
        guest.join()
        guest.say("hello", attributes={"mood": "fine"})
        guest.await_reply(within=5)
        guest.say("", file=guest.upload("photo.png", data=b"12345"))
        guest.typing()
        guest.health_check()
        guest.drop()
        guest.say("back again")
        guest.await_reply(within=5)
        guest.history()
        guest.connect_again()
    store.close()
    return token


def test_no_byte_holds_a_token_outside_its_fields(tmp_path: Path) -> None:
    with Simulated() as simulated, Relay(simulated.url) as relay:
        world = Through(relay.url)
        tokens = [play(world, tmp_path)]
        guests = [Guest(world, "r-1") for _ in range(3)]
        guests[0].clear()
        tokens += [guest.token for guest in guests]
        ledger_of(
            tmp_path,
            (guests[0], Stage.CLEARED),
            (guests[1], Stage.LOST),
            (guests[2], Stage.LOST),
        )
        api = PlatformApi(
            Credentials(id="simulated-client", secret="simulated-secret"),
            Places.of(parse_target(relay.url)),
        )
        search = Search(api, "r-1", SPAN)
        audit(tmp_path, search, deadline_s=0.0)
        left = [one for one in read_leftovers(tmp_path) if one.token == guests[1].token]
        assert sweep_by_platform(left, search) == {Disconnect.DONE: 1}
        swept = sweep(
            find_leftovers(tmp_path),
            settings_for(world),
            per_second=50,
            deadline_s=10,
        )
        assert swept.left == 0
        api.close()
        streams = [bytes(sent) for sent in relay.sent]
    in_fields = 0
    for stream in streams:
        head, _, rest = stream.partition(b"\r\n\r\n")
        websocket = b"upgrade: websocket" in head.lower()
        looked_at = [head] if websocket else [stream]
        for payload in websocket_payloads(rest) if websocket else ():
            try:
                frame = json.loads(payload)
            except ValueError:
                looked_at.append(payload)
                continue
            in_fields += frame.pop("token") in tokens
            looked_at.append(json.dumps(frame).encode())
        for data in looked_at:
            for token in tokens:
                assert not any(form in data for form in forms_of(token)), data[:300]
    assert in_fields > 20
    assert any(b"PUT " in stream[:4] for stream in streams)
    assert any(b"/details/query" in stream for stream in streams)
