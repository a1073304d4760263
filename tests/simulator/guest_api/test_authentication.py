"""Signing in, stepping up, refreshing and revoking."""

import pytest

from harness.simulator.settings import Knobs

DEPLOYMENT = "11111111-2222-4333-8444-555555555555"
BASE = "/api/v2/webdeployments/token"
OPEN = {"authentication": True, "session_upgrade": True}


async def exchange(world, code: str = "ann", deployment: str = DEPLOYMENT):
    body = {
        "deploymentId": deployment,
        "oauth": {"code": code, "redirectUri": "x", "codeVerifier": "y"},
    }
    return await world.call("POST", f"{BASE}/oauthcodegrantjwtexchange", json=body)


async def configure(guest, jwt: str, **more):
    await guest.send(
        action="configureAuthenticatedSession", deploymentId=DEPLOYMENT, data={"code": jwt}, **more
    )
    return await guest.next()


async def signed_in(world, code: str = "ann", token: str | None = None):
    guest = await world.guest(token)
    _, pair = await exchange(world, code)
    return guest, await configure(guest, pair["jwt"]), pair


def test_an_authenticated_session_opens_and_resumes(play) -> None:
    async def scenario(world):
        guest, first, pair = await signed_in(world)
        assert (first["class"], first["body"]["newSession"]) == ("SessionResponse", True)
        again = await configure(guest, pair["jwt"])
        assert again["body"]["newSession"] is False

    play(scenario, deployment=OPEN)


def test_going_back_to_anonymous_is_refused(play) -> None:
    async def scenario(world):
        guest, _, _ = await signed_in(world)
        await guest.send(action="configureSession", deploymentId=DEPLOYMENT)
        assert (await guest.next())["code"] == 4017

    play(scenario, deployment=OPEN)


@pytest.mark.parametrize("jwt", ["", "x", "a.b.c", "ä.b.c", 7])
def test_a_bad_jwt_is_unauthorized(play, jwt) -> None:
    async def scenario(world):
        frame = await configure(await world.guest(), jwt)
        assert (frame["code"], frame["body"]) == (401, "User is unauthorized")

    play(scenario, deployment=OPEN)


def test_a_guests_own_jwt_does_not_sign_in(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.send(action="getJwt")
        jwt = (await guest.next())["body"]["jwt"]
        assert (await configure(await world.guest(), jwt))["code"] == 401

    play(scenario, deployment=OPEN)


def test_stepping_up_retires_the_other_connections(play) -> None:
    async def scenario(world):
        first = await world.ready()
        other = await world.ready(first.token)
        _, pair = await exchange(world)
        frame = await configure(first, pair["jwt"])
        echo = frame if frame["class"] == "StructuredMessage" else None
        assert echo is not None
        assert echo["body"]["events"][0]["presence"]["type"] == "SignIn"
        assert (await first.next())["body"]["newSession"] is False
        assert (await other.until("ConnectionClosedEvent"))["body"] == {"reason": "signedIn"}

    play(scenario, deployment=OPEN)


def test_stepping_up_may_be_forbidden(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        _, pair = await exchange(world)
        assert (await configure(guest, pair["jwt"]))["code"] == 403

    play(scenario, deployment={"authentication": True})


def test_signing_in_on_another_device_takes_the_place_of_the_earlier_session(play) -> None:
    async def scenario(world):
        earlier, _, _ = await signed_in(world)
        _, later, _ = await signed_in(world)
        assert later["body"]["clearedExistingSession"] is True
        assert (await earlier.next())["class"] == "ConnectionClosedEvent"
        truth = await world.truth()
        assert (truth["sessions"]["open"], truth["sessions"]["replaced"]) == (1, 1)

    play(scenario, deployment=OPEN)


def test_another_guests_token_asks_to_authenticate_again(play) -> None:
    async def scenario(world):
        ann, _, _ = await signed_in(world, "ann")
        _, frame, _ = await signed_in(world, "bob", ann.token)
        assert (frame["code"], frame["body"]) == (403, "Try to authenticate again")

    play(scenario, deployment=OPEN)


def test_revoking_logs_out_everywhere(play) -> None:
    async def scenario(world):
        guest, _, pair = await signed_in(world)
        headers = {"Authorization": f"bearer {pair['jwt']}"}
        assert (await world.call("DELETE", f"{BASE}/revoke", headers=headers))[0] == 204
        assert (await guest.next())["class"] == "LogoutEvent"
        await guest.say("hello?")
        assert (await guest.next())["code"] == 4007
        assert (await configure(guest, pair["jwt"]))["code"] == 401
        assert (await world.call("DELETE", f"{BASE}/revoke"))[0] == 401

    play(scenario, deployment=OPEN)


def test_refreshing(play) -> None:
    async def scenario(world):
        _, pair = await exchange(world)
        status, fresh = await world.call(
            "POST", f"{BASE}/refresh", json={"refreshToken": pair["refreshToken"]}
        )
        assert status == 200
        assert (await configure(await world.guest(), fresh["jwt"]))["code"] == 200
        bad = await world.call("POST", f"{BASE}/refresh", json={"refreshToken": pair["jwt"]})
        assert bad[0] == 401

    play(scenario, deployment=OPEN)


@pytest.mark.parametrize(
    ("code", "deployment", "status"),
    [("invalid-1", DEPLOYMENT, 401), ("", DEPLOYMENT, 401), ("ann", "another", 403)],
)
def test_exchanges_that_fail(play, code, deployment, status) -> None:
    async def scenario(world):
        assert (await exchange(world, code, deployment))[0] == status
        assert (await world.call("POST", f"{BASE}/oauthcodegrantjwtexchange", data=b"x"))[0] == 400

    play(scenario, deployment=OPEN)


def test_a_resume_token_has_the_schemas_shape(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        await guest.send(action="resumeToken")
        assert (await guest.next())["code"] == 4007
        await guest.configure()
        await guest.send(action="resumeToken")
        frame = await guest.next()
        assert frame["class"] == "ResumeTokenResponse"
        assert set(frame["body"]) == {"resumeToken", "exp"}

    play(scenario)


def test_after_a_clear_the_token_is_as_new(play) -> None:
    async def scenario(world):
        guest, _, _ = await signed_in(world)
        await guest.clear()
        assert (await guest.configure())["body"]["newSession"] is True

    play(scenario, deployment=OPEN)


@pytest.mark.parametrize(("how", "code"), [("403", 403), ("401", 401), ("silence", None)])
def test_strangers_may_not_speak_but_clear(play, how, code) -> None:
    async def scenario(world):
        guest = await world.ready()
        for sending in (guest.say("hello"), guest.presence("Join")):
            await sending
            if code is not None:
                assert (await guest.next())["code"] == code
        assert (await world.truth())["conversations"]["opened"] == 0
        frames = await guest.clear()
        assert "SessionClearedEvent" in {frame["class"] for frame in frames}

    play(scenario, deployment={"authentication": True}, knobs=Knobs(strangers=how))


def test_those_who_may_step_up_or_have_signed_in_may_speak(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        assert (await guest.next())["code"] == 200

    play(scenario, deployment=OPEN)
    play(scenario, deployment={"authentication": True}, knobs=Knobs(strangers="allowed"))

    async def known(world):
        guest, _, _ = await signed_in(world)
        await guest.say("hello")
        assert (await guest.next())["code"] == 200

    play(known, deployment={"authentication": True})
