"""/sim/: the truth, the faults, timelines, reset; and for loopback only."""

import pytest

from harness.simulator import admin
from harness.simulator.admin import from_loopback


class Peer:
    """As much of a request as the check looks at."""

    def __init__(self, address: object) -> None:
        self.transport = self
        self.address = address

    def get_extra_info(self, _name: str) -> object:
        return self.address


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.9.10", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        (("10.0.0.1", 1), False),
        (("fe80::1%eth0", 1, 0, 2), False),
        (("::ffff:10.0.0.1", 1, 0, 0), False),
        (None, False),
        ("", False),
    ],
)
def test_who_counts_as_loopback(peer, loopback) -> None:
    assert from_loopback(Peer(peer)) is loopback


def test_faults_are_replaced_and_switched_off(play) -> None:
    async def scenario(world):
        put = await world.call("PUT", "/sim/faults", json={"ignore_clear": 0.1, "cut": "#3"})
        assert put == (200, {"ignore_clear": 0.1, "cut": "nth"})
        assert await world.call("PUT", "/sim/faults", data=b"{}") == (200, {})
        assert await world.get("/sim/faults") == (200, {})

    play(scenario, faults={"half_open": 0.5})


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"fly":1}', b'{"cut":2}', b"\xff"])
def test_bad_faults_are_refused_and_change_nothing(play, data) -> None:
    async def scenario(world):
        status, body = await world.call("PUT", "/sim/faults", data=data)
        assert status == 400
        assert "fault" in body["error"]
        assert await world.get("/sim/faults") == (200, {"cut": 0.5})

    play(scenario, faults={"cut": 0.5})


def test_a_sessions_timeline_survives_its_end(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await guest.until(lambda f: f["body"].get("direction") == "Outbound")
        await guest.clear()
        await guest.configure()
        status, told = await world.get(f"/sim/sessions/{guest.token}")
        assert status == 200
        first, second = told["sessions"]
        assert [event["what"] for event in first["events"]] == [
            "opened",
            "conversation opened",
            "text",
            "reply",
            "clear asked",
            "cleared",
        ]
        assert (first["ended"], second["ended"]) == ("cleared", None)
        assert (await world.get("/sim/sessions/nobody"))[0] == 404

    play(scenario)


def test_reset_starts_anew(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        assert await world.call("POST", "/sim/reset") == (200, {})
        assert await guest.closed() == 1001
        truth = await world.truth()
        assert truth["sessions"]["opened"] == 0
        assert truth["open_tokens"] == []

    play(scenario)


def test_an_unknown_run_is_told(play) -> None:
    async def scenario(world):
        assert (await world.get("/sim/truth?run_id=r-0"))[0] == 404

    play(scenario)


def test_the_side_door_is_shut_for_others_and_the_service_is_not(play, monkeypatch) -> None:
    monkeypatch.setattr(admin, "from_loopback", lambda _request: False)

    async def scenario(world):
        for method, path in (
            ("GET", "/sim/truth"),
            ("PUT", "/sim/faults"),
            ("POST", "/sim/reset"),
            ("GET", "/sim/sessions/t"),
        ):
            assert (await world.call(method, path, data=b'{"cut":1}'))[0] == 404
        assert not world.service.faults.active
        await world.ready()

    play(scenario)


def test_no_page_of_another_site_gets_in(play) -> None:
    async def scenario(world):
        for host in ("evil.example", "localhost.evil.example:80", "[", "127.0.0.1.evil.example"):
            headers = {"Host": host}
            assert (await world.call("GET", "/sim/truth", headers=headers))[0] in (400, 404)
        for host in ("localhost:1234", "127.0.0.1", "[::1]:5", "192.0.2.7"):  # as through a tunnel
            assert (await world.call("GET", "/sim/truth", headers={"Host": host}))[0] == 200
        headers = {"Origin": "https://evil.example"}
        assert (await world.call("GET", "/sim/truth", headers=headers))[0] == 404
        guest = await world.ready()
        for path in ("/sim/reset", f"/sim/sessions/{guest.token}/disconnect"):
            async with world.http.post(world.base + path) as answer:
                assert answer.status == 403
                assert "X-Simulator-Admin" in await answer.text()
        assert len((await world.get("/sim/truth"))[1]["open_tokens"]) == 1

    play(scenario)
