"""From the command line and a profile to settings."""

from pathlib import Path

import pytest

from harness.cli.simulate import COMMAND, settings_of
from harness.errors import ConfigError
from harness.simulator import options
from harness.simulator.settings import LIFELIKE

PROFILE = """
seed = 3
[bot]
time = "exponential:200ms"
workers = 4
hand_over_after = 2
[agents]
number = 5
wrapup = "2s"
[limits]
base = "off"
text_bytes = 100
[knobs]
platform_lag = "30s"
close_after_clear = 1000
[faults]
ignore_clear = 0.1
cut = {nth = [3], at = "clear", how = "rst"}
[[deployment]]
id = "one"
disconnect = "read_only"
[[deployment]]
id = "two"
active = false
[[client]]
id = "reader"
secret = "s"
permissions = ["limits:organization:view"]
"""


def read(*words: str):
    return settings_of(COMMAND.parse(*words))


@pytest.fixture
def profile(tmp_path):
    def write(text: str = PROFILE) -> str:
        path = tmp_path / "profile.toml"
        path.write_text(text)
        return str(path)

    return write


def test_defaults() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.tls) == ("127.0.0.1", 0, False)
    assert settings.bot.time.mean_s == 0.05
    assert settings.bot.on
    assert settings.limits.connections_per_minute == 1000
    assert settings.agents.number == 0


def test_a_whole_profile(profile) -> None:
    settings = read("--profile", profile())
    assert settings.seed == 3
    assert (str(settings.bot.time), settings.bot.workers) == ("exponential:200ms", 4)
    assert (settings.agents.number, settings.agents.wrapup_s) == (5, 2.0)
    assert (settings.limits.text_bytes, settings.limits.connections_per_minute) == (100, 0)
    assert (settings.knobs.platform_lag_s, settings.knobs.close_after_clear) == (30, 1000)
    assert settings.faults["ignore_clear"] == 0.1
    assert [item.id for item in settings.deployments] == ["one", "two"]
    assert settings.deployments[0].disconnect == "read_only"
    assert settings.clients[0].permissions == frozenset({"limits:organization:view"})


def test_the_command_line_wins(profile) -> None:
    words = "--seed 9 --limits documented --limit text_bytes=7 --fault ignore_clear=0.5 --agents 1"
    words += " --bot-delay 1s --bot-workers 1 --bot off --knob platform_lag=1s --deployment-id x"
    words += " --deployment disconnect=send --wrapup 9s --agent-time 3s --hand-over-after 1"
    settings = read("--profile", profile(), *words.split())
    assert (settings.seed, settings.limits.text_bytes) == (9, 7)
    assert settings.faults["ignore_clear"] == "0.5"
    assert (settings.agents.number, settings.agents.wrapup_s) == (1, 9)
    assert settings.agents.time.mean_s == 3
    assert (settings.bot.on, settings.bot.workers, settings.bot.time.mean_s) == (False, 1, 1)
    assert settings.bot.hand_over_after == 1
    assert settings.knobs.platform_lag_s == 1
    assert (settings.deployments[0].id, settings.deployments[0].disconnect) == ("x", "send")


def test_the_seed_fixes_the_deployment() -> None:
    assert read("--seed", "5").deployments == read("--seed", "5").deployments
    assert read("--seed", "5").deployments != read("--seed", "6").deployments
    assert read().deployments != read().deployments


def test_a_scripted_bot(tmp_path) -> None:
    path = tmp_path / "dialogue.toml"
    path.write_text('greeting = "Hello there"')
    settings = read("--bot", "script", str(path))
    assert settings.bot.dialogue.greeting.parts == ({"text": "Hello there"},)


@pytest.mark.parametrize(
    "words",
    [
        "--port x",
        "--tls-name twin.example",
        "--port 70000",
        "--port -1",
        "--seed 1.5",
        "--bot-delay soon",
        "--bot-workers -1",
        "--fault cut",
        "--fault cut=3",
        "--fault nothing=1",
        "--limits some",
        "--limit text_bytes",
        "--knob nothing=1",
        "--knob compress=perhaps",
        "--deployment disconnect=never",
        "--deployment mood=good",
        "--bot sometimes",
        "--bot script",
        "--bot script /nowhere/at/all.toml",
        "--agents many",
        "--agent-concurrency 0",
        "--profile /nowhere/at/all.toml",
    ],
)
def test_nonsense_is_refused(words) -> None:
    with pytest.raises(ConfigError):
        read(*[word.replace("--port=", "") for word in words.split()])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x =", "not TOML"),
        ("x = " + "[" * 5000, "nested too deeply"),
        ("x = " + "9" * 5000, "a number is too long"),
        ("mood = 1", "'mood' is not known"),
        ("seed = 'x'", "seed"),
        ("bot = 3", "bot"),
        ("[bot]\nspeed = 3", "bot: 'speed'"),
        ("[bot]\nslower_per_hour = 101", "slower_per_hour: expected a number from 0 to 100"),
        ("[bot]\ncoherency = 2", "bot: coherency: expected a number from 0 to 1"),
        ("[bot]\ncoherency = 0.1", "between workers"),
        ("[bot]\nmore_workers = 2", "added to workers"),
        ("[agents]\nnumber = 'many'", "agents: number"),
        ("[limits]\nspeed = 3", "'speed'"),
        ("[knobs]\nspeed = 3", "'speed'"),
        ("[faults]\ncut = 7", "fault cut"),
        ("deployment = 3", "deployment"),
        ("[[deployment]]\nid = 3", "deployment 1: id"),
        ("[[deployment]]\nid = 'a'\n[[deployment]]\nid = 'a'", "same id"),
        ("[[client]]\nname = 'x'", "client 1: 'name'"),
    ],
)
def test_what_is_wrong_in_a_profile_is_named(profile, text, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read("--profile", profile(text))


def test_the_profile_in_the_document_is_a_good_one(profile) -> None:
    document = Path(options.__file__).with_name("FIDELITY.md").read_text()
    settings = read("--profile", profile(document.split("```toml")[1].split("```")[0]))
    assert settings.bot.workers == 4
    assert settings.faults["cut"] == {"nth": [3], "at": "clear", "how": "rst", "when": "after"}
    assert settings.deployments[0].disconnect == "send"


def test_a_lifelike_bot_whose_values_can_be_said_each(profile) -> None:
    bot = read("--bot", "lifelike").bot
    assert (bot.greets, bot.messages, bot.time.name) == ("either", (1, 3), "lognormal")
    words = ("--bot-delay", "2s", "--bot-messages", "2", "--bot-gap", "1s", "--bot-greets", "off")
    bot = read("--bot", "lifelike", *words, "--greeting-delay", "exponential:1s").bot
    assert (bot.time.mean_s, bot.messages, bot.gap.mean_s, bot.greets) == (2.0, (2, 2), 1.0, "off")
    assert bot.greeting_time is not None
    assert bot.greeting_time.name == "exponential"
    text = '[bot]\ngreets = "text"\nmessages = "2-4"\ngap = "1s"\ngreeting_time = "50ms"\n'
    bot = read("--profile", profile(text)).bot
    assert (bot.greets, bot.messages, bot.gap.mean_s) == ("text", (2, 4), 1.0)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--bot-messages", "3-2"), "--bot-messages: expected a whole number from 3 to 20"),
        (("--bot-messages", "0"), "--bot-messages: expected a whole number from 1 to 20"),
        (("--bot-messages", "1-"), "--bot-messages"),
        (("--bot-gap", "often"), "--bot-gap"),
        (("--greeting-delay", "soon"), "--greeting-delay"),
        (("--bot-greets", "never"), "greets is one of join, text, either, off, got 'never'"),
        (("--bot", "likely"), "--bot: expected default, lifelike, off or script FILE"),
        (("--fault", "no_reply=1,from=soon"), "fault no_reply: from"),
        (("--fault", "silence=#0"), "fault silence: nth"),
    ],
)
def test_what_makes_no_sense_of_a_bot_is_told(words, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read(*words)


def test_like_live_is_a_first_night_and_whatever_is_said_beside_it_wins(profile) -> None:
    live = read("--like", "live")
    assert (live.knobs.purpose_in_analytics, live.knobs.search_fields) == ("external", "documented")
    assert live.knobs.platform_lag_s > 0 < live.knobs.disconnect_lag_s
    assert (live.bot, live.limits) == (LIFELIKE, read().limits)
    mine = read("--like", "live", "--bot", "off", "--limits", "off", "--knob", "platform_lag_s=1")
    assert (mine.bot.on, mine.limits.connections_per_minute) == (False, 0)
    assert (mine.knobs.platform_lag_s, mine.knobs.purpose_in_analytics) == (1, "external")
    written = read("--like", "live", "--profile", profile())
    assert (written.knobs.platform_lag_s, written.knobs.search_lag_s) == (30, 5)
    assert str(written.bot.time) == "exponential:200ms"
