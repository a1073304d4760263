"""getConfiguration, config.json and domains.json."""

import pytest

DEPLOYMENT = "11111111-2222-4333-8444-555555555555"
BASE = f"/webdeployments/v1/deployments/{DEPLOYMENT}"


def test_get_configuration_needs_no_session(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        await guest.send(action="getConfiguration", deploymentId=DEPLOYMENT)
        frame = await guest.next()
        assert frame["class"] == "GetConfigurationResponse"
        assert frame["body"]["maxCustomDataBytes"] == 2048
        assert frame["body"]["sessionDurationSeconds"] == 259200
        for wanted, code in ((None, 4020), ("another", 400)):
            await guest.send(action="getConfiguration", deploymentId=wanted)
            assert (await guest.next())["code"] == code

    play(scenario)


@pytest.mark.parametrize(
    ("deployment", "path", "value"),
    [
        ({}, ("messenger", "apps", "conversations", "conversationClear", "enabled"), True),
        (
            {"conversation_clear": False},
            ("messenger", "apps", "conversations", "conversationClear", "enabled"),
            False,
        ),
        (
            {"disconnect": "read_only"},
            ("messenger", "apps", "conversations", "conversationDisconnect"),
            {"enabled": True, "type": "ReadOnly"},
        ),
        ({"active": False}, ("status",), "Inactive"),
        ({"authentication": True}, ("auth", "enabled"), True),
    ],
)
def test_the_file_says_what_the_service_does(play, deployment, path, value) -> None:
    async def scenario(world):
        status, found = await world.get(f"{BASE}/config.json")
        assert status == 200
        endpoint = found["messenger"]["apps"]["conversations"]["messagingEndpoint"]
        assert endpoint == f"ws://127.0.0.1:{world.port}"
        for key in path:
            found = found[key]
        assert found == value

    play(scenario, deployment=deployment)


def test_domains_and_unknown_ids(play) -> None:
    async def scenario(world):
        assert (await world.get(f"{BASE}/domains.json"))[1] == {
            "allowAllDomains": False,
            "allowedDomains": ["example.com"],
        }
        for name in ("config", "domains"):
            assert (await world.get(f"/webdeployments/v1/deployments/x/{name}.json"))[0] == 403

    deployment = {"allow_all_domains": False, "allowed_domains": ("example.com",)}
    play(scenario, deployment=deployment)


def test_operators_see_domains_flow_and_status(play) -> None:
    async def scenario(world):
        path = "/webdeployments/deployments/{}"
        status, found = await world.api("GET", path.format(next(iter(world.service.deployments))))
        assert (status, found["status"], found["flow"]["id"]) == (200, "Active", "flow-1")
        assert (found["allowAllDomains"], found["allowedDomains"]) == (False, ["shop.example"])
        assert (await world.api("GET", path.format("nobody")))[0] == 404

    play(
        scenario,
        deployment={"allow_all_domains": False, "allowed_domains": ("shop.example",)},
    )
