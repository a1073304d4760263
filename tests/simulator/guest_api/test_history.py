"""The history by REST: newest first, in pages, for the holder of the JWT."""

import pytest

from harness.simulator.options import read_limits
from harness.simulator.settings import BotSettings, Knobs

PATH = "/api/v2/webmessaging/messages"
SILENT = BotSettings(on=False)


async def jwt_of(guest) -> dict[str, str]:
    await guest.send(action="getJwt")
    frame = await guest.until("JwtResponse")
    return {"Authorization": f"bearer {frame['body']['jwt']}", "Origin": "example.com"}


async def spoken(world, *texts: str):
    guest = await world.ready()
    for text in texts:
        await guest.say(text)
        await guest.until("StructuredMessage")
    return guest


def test_newest_first_in_pages(play) -> None:
    async def scenario(world):
        guest = await spoken(world, "one", "two", "three")
        headers = await jwt_of(guest)
        status, page = await world.get(f"{PATH}?pageNumber=1&pageSize=2", headers=headers)
        assert status == 200
        assert [entity["text"] for entity in page.pop("entities")] == ["three", "two"]
        assert page == {"pageSize": 2, "pageNumber": 1, "total": 3, "pageCount": 2}
        _, rest = await world.get(f"{PATH}?pageNumber=2&pageSize=2", headers=headers)
        assert [entity["text"] for entity in rest["entities"]] == ["one"]
        assert "tracingId" not in rest["entities"][0]

    play(scenario, bot=SILENT)


def test_an_empty_history_has_its_own_form(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        _, page = await world.get(PATH, headers=await jwt_of(guest))
        assert page == {
            "entities": [],
            "pageSize": 0,
            "pageNumber": 1,
            "total": 0,
            "pageCount": 0,
        }

    play(scenario)


def test_it_survives_a_reconnect_but_not_a_clear(play) -> None:
    async def scenario(world):
        guest = await spoken(world, "one")
        await guest.ws.close()
        back = await world.ready(guest.token)
        headers = await jwt_of(back)
        assert (await world.get(PATH, headers=headers))[1]["total"] == 1
        await back.clear()
        assert (await world.get(PATH, headers=headers))[0] == 401

    play(scenario, bot=SILENT)


@pytest.mark.parametrize("header", [None, "", "bearer", "bearer x.y.z", "Basic abc"])
def test_without_a_valid_jwt(play, header) -> None:
    async def scenario(world):
        headers = {} if header is None else {"Authorization": header}
        assert (await world.get(PATH, headers=headers))[0] == 401

    play(scenario)


@pytest.mark.parametrize(
    "query", ["pageSize=0", "pageNumber=x", "pageNumber=-1", "pageSize=9999999999"]
)
def test_pages_that_make_no_sense(play, query) -> None:
    async def scenario(world):
        guest = await world.ready()
        assert (await world.get(f"{PATH}?{query}", headers=await jwt_of(guest)))[0] == 400

    play(scenario)


def test_the_rate_limit_is_an_http_429(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        headers = await jwt_of(guest)
        async with world.http.get(world.base + PATH, headers=headers) as first:
            assert first.status == 200
        async with world.http.get(world.base + PATH, headers=headers) as second:
            assert second.status == 429
            assert 0 < int(second.headers["Retry-After"]) <= 60

    play(scenario, limits=read_limits("off", {"history_per_session_per_minute": "1"}))


def test_its_length_is_bounded_and_that_is_said(play, capsys) -> None:
    async def scenario(world):
        guest = await spoken(world, "one", "two", "three")
        _, page = await world.get(PATH, headers=await jwt_of(guest))
        assert [entity["text"] for entity in page["entities"]] == ["three", "two"]

    play(scenario, bot=SILENT, knobs=Knobs(keep_messages=2))
    assert "keep_messages" in capsys.readouterr().err


def test_faults_of_the_api_strike_here_too(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        headers = await jwt_of(guest)
        return [(await world.get(PATH, headers=headers))[0] for _ in range(3)]

    assert play(scenario, faults={"api_503": "#1", "api_429": "#1"}) == [429, 503, 200]
