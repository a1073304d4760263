"""The account: runs, starting anew with guests connected, and a model to compare it with."""

from dataclasses import replace

from examples import at_most
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from harness.simulator.settings import OFF, BotSettings

DEPLOYMENT = "11111111-2222-4333-8444-555555555555"


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


class Model:
    """The simplest service that could be right: what /sim/truth should say."""

    def __init__(self) -> None:
        self.opened = self.cleared = self.replaced = 0
        self.conversations = self.ended = 0
        self.sessions: dict[int, str] = {}  # token → "none", "open" or "ended" conversation
        self.connected: dict[int, int | None] = {}  # socket → token it has configured

    def configure(self, socket: int, token: int, start_new: bool) -> None:
        if start_new and token in self.sessions:
            del self.sessions[token]
            self.replaced += 1
            self.connected = {s: None if t == token else t for s, t in self.connected.items()}
        if token not in self.sessions:
            self.sessions[token] = "none"
            self.opened += 1
        self.connected[socket] = token

    def speak(self, socket: int) -> None:
        token = self.connected.get(socket)
        if token is not None:
            state = self.sessions[token]
            self.conversations += state == "none"
            self.ended -= state == "ended"
            self.sessions[token] = "open"

    def disconnect(self, token: int) -> None:
        if self.sessions.get(token) == "open":
            self.sessions[token] = "ended"
            self.ended += 1

    def clear(self, socket: int) -> None:
        token = self.connected.get(socket)
        if token is not None:
            self.ended += self.sessions.pop(token) == "open"
            self.cleared += 1
            self.connected = {s: None if t == token else t for s, t in self.connected.items()}

    def truth(self) -> dict[str, object]:
        return {
            "sessions": {
                "opened": self.opened,
                "cleared": self.cleared,
                "expired": 0,
                "replaced": self.replaced,
                "open": len(self.sessions),
            },
            "conversations": {
                "opened": self.conversations,
                "ended": self.ended,
                "open": self.conversations - self.ended,
            },
            "open_tokens": sorted(f"t-{token}" for token in self.sessions),
        }


SOCKETS, TOKENS = st.integers(0, 4), st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(st.just("configure"), SOCKETS, TOKENS, st.sampled_from([False, False, False, True])),
    st.tuples(st.just("disconnect"), TOKENS),
    st.tuples(st.sampled_from(["text", "join", "clear", "echo", "drop", "nonsense"]), SOCKETS),
)


@at_most(80, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=10, max_size=60))
def test_the_truth_is_what_a_simple_model_says(play, steps) -> None:
    """Random lives of three tokens over five sockets, valid requests and senseless ones."""
    model = Model()

    async def scenario(world):
        guests = {}
        for step, socket, *more in steps:
            if step == "disconnect":
                await world.call("POST", f"/sim/sessions/t-{socket}/disconnect")
                model.disconnect(socket)
                continue
            guest = guests.get(socket)
            if guest is None:
                guest = guests[socket] = await world.guest("t-0")
            if step == "configure":
                token, start_new = more
                guest.token = f"t-{token}"
                await guest.configure(startNew=start_new)
                model.configure(socket, token, start_new)
            elif step == "drop":
                before = len(world.service.connections)
                await guests.pop(socket).ws.close()
                await world.when(lambda n=before: len(world.service.connections) < n)
                model.connected.pop(socket, None)
            else:
                known = model.connected.get(socket)
                if known is not None:
                    guest.token = f"t-{known}"
                await {
                    "text": lambda g=guest: g.say("hello"),
                    "join": lambda g=guest: g.presence("Join"),
                    "clear": lambda g=guest: g.presence("Clear"),
                    "echo": lambda g=guest: g.send(action="echo", message={}),
                    "nonsense": lambda g=guest: g.send(action="onMessage", message=7),
                }[step]()
                if step == "clear":
                    model.clear(socket)
                elif step in ("text", "join"):
                    model.speak(socket)
                # the next step may use another socket: wait until this one was read
                await guest.ws.ping()
                await guest.send(action="getConfiguration", deploymentId=DEPLOYMENT)
                await guest.until("GetConfigurationResponse")
        truth = await world.truth()
        truth["open_tokens"].sort()
        expected = model.truth()
        assert {key: truth[key] for key in expected} == expected

    limits = replace(OFF, connections_per_session=0)
    play(scenario, bot=BotSettings(on=False), limits=limits)
