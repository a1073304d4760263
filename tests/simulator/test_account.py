"""The account: runs, and starting anew with guests connected."""


def test_runs_are_told_apart(play) -> None:
    async def scenario(world):
        for run_id, clears in (("a", True), ("a", False), ("b", True)):
            guest = await world.ready()
            attributes = {"metadata": {"customAttributes": {"runId": run_id}}}
            await guest.say("hello", channel=attributes)
            await guest.next()
            if clears:
                await guest.clear()
        truth = await world.truth()
        assert {run: told["sessions"]["open"] for run, told in truth["runs"].items()} == {
            "a": 1,
            "b": 0,
        }
        assert truth["sessions"]["opened"] == 3
        assert len((await world.get("/sim/truth?run_id=a"))[1]["open_tokens"]) == 1

    play(scenario)


def test_after_a_reset_the_service_serves_on(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await world.call("POST", "/sim/reset")
        again = await world.ready(guest.token)
        await again.clear()
        truth = await world.truth()
        assert truth["sessions"]["opened"] == truth["sessions"]["cleared"] == 1

    play(scenario)
