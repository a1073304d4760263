"""Platform credentials: named by environment variables, never written down, tried on the wire."""

from dataclasses import replace
from pathlib import Path

import pytest
from proxies import Proxy
from sessions import Simulated, terms_of

from harness.config.target import Terms, parse_target
from harness.platform_api.client import CONNECTIONS
from harness.preflight.checks import Check, Status
from harness.preflight.probes import check_credentials

LOCAL = parse_target("ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef")
GOOD = {"T_ID": "simulated-client", "T_SECRET": "simulated-secret"}
CLIENT = """
[[client]]
id = "simulated-client"
secret = "simulated-secret"
permissions = [{permissions}]
"""


def with_client(url: str, folder: Path, more: str = "") -> Terms:
    keys = 'client_id_env = "T_ID"\nclient_secret_env = "T_SECRET"\n'
    return terms_of(url, folder, keys + more)


def told(checks: list[Check]) -> str:
    return "; ".join(check.text for check in checks)


@pytest.mark.process
def test_a_client_that_may_do_all_and_one_that_is_refused(tmp_path: Path) -> None:
    with Simulated() as world:
        terms = with_client(world.url, tmp_path, f'queues = ["{world.queue_id}"]\n')
        said: list[str] = []
        found = check_credentials(terms, GOOD, tell=said.append)
        assert said[0] == "Platform API: signing in"
        assert said[-1].startswith("Platform API: what is open in the queue")
        (fine,) = found.checks
        assert fine.status is Status.OK, fine.text
        assert CONNECTIONS in found.limits
        assert found.deployment is not None
        assert (found.deployment["status"], found.deployment["allowAllDomains"]) == ("Active", True)
        found = check_credentials(terms, GOOD | {"T_SECRET": "wrong"})
        (refused,) = found.checks
        assert (refused.status, found.limits) == (Status.FAIL, {})
        assert refused.text.startswith("the sign-in was refused")
        assert "wrong" not in refused.text


@pytest.mark.process
def test_one_address_of_an_api_that_the_target_does_not_tell_is_enough(tmp_path: Path) -> None:
    with Simulated() as world:
        api, _, deployment = world.url.replace("ws:", "http:", 1).partition("/v1")
        odd = f"wss://chat.example/v1{deployment}"
        found = check_credentials(with_client(odd, tmp_path, f'api_url = "{api}"\n'), GOOD)
    (fine,) = found.checks
    assert (found.signed_in, fine.status) == (True, Status.OK), fine.text


@pytest.mark.process
def test_each_permission_that_is_missing_is_named_with_what_needs_it(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text(CLIENT.format(permissions='"conversation:webmessaging:view"'))
    with Simulated("--profile", str(profile)) as world:
        more = f'queues = ["{world.queue_id}"]\nflows = ["{world.flow_id}"]\n'
        found = check_credentials(with_client(world.url, tmp_path, more), GOOD)
    assert {check.status for check in found.checks} == {Status.WARN}
    assert found.deployment is None
    lacking = [
        check.text.split(" lacks ")[1].partition(" (")[0].partition(": needed for ")[::2]
        for check in found.checks
    ]
    assert lacking == [
        ("analytics:conversationDetail:view", "audits"),
        ("conversation:participant:attributesview", "audits of many sessions"),
        ("conversation:communication:disconnect", "sweep --platform"),
        ("webDeployments:deployment:view", "the checks of origin and flow"),
        ("analytics:queueObservation:view", "counts of the queues"),
        ("analytics:flowObservation:view", "counts of the flows"),
    ]


@pytest.mark.process
def test_a_question_that_the_service_does_not_like_says_nothing_of_the_others(
    tmp_path: Path,
) -> None:
    with Simulated("--knob", "search_span_s=1ms", "--knob", "longest_interval_s=1s") as world:
        found = check_credentials(with_client(world.url, tmp_path), GOOD)
    assert {check.status for check in found.checks} == {Status.WARN}
    by_details, by_attributes = (check.text for check in found.checks)
    assert by_details.startswith("conversations by their details (for audits) can't be asked")
    assert "the interval may not exceed" in by_details
    assert by_attributes.startswith("conversations with their attributes (for audits of many")
    assert CONNECTIONS in found.limits


def test_none_named_is_skipped_and_nobody_there_is_told() -> None:
    (skipped,) = check_credentials(Terms(name="t", target=LOCAL), {}).checks
    assert skipped.status is Status.SKIPPED
    named = Terms(name="t", target=LOCAL, client_id_env="T_ID", client_secret_env="T_SECRET")
    (unset,) = check_credentials(named, {"T_ID": "x"}).checks
    assert unset.status is Status.WARN
    assert "T_SECRET is not set" in unset.text
    (gone,) = check_credentials(named, GOOD).checks
    assert gone.status is Status.WARN
    assert "it can't be asked" in gone.text
    assert "simulated-secret" not in gone.text
    odd = replace(named, target=replace(LOCAL, host="chat.example"))
    (nowhere,) = check_credentials(odd, GOOD).checks
    assert nowhere.status is Status.WARN
    assert nowhere.text.endswith("does not say where its Platform API is: write api_url")


@pytest.mark.process
def test_the_way_there_is_the_targets_proxy_with_its_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulated("--tls") as world, Proxy(login="me:pass") as proxy:
        monkeypatch.setenv("T_PROXY", "me:pass")
        more = (
            f'ca_file = "{world.simulator.ca_file}"\nproxy = "{proxy.url}"\n'
            'proxy_login_env = "T_PROXY"\n'
        )
        terms = with_client(world.url, tmp_path, more)
        checks = check_credentials(terms, GOOD).checks
        assert (
            told(checks)
            == "signed in, with all permissions that audit, sweep --platform and preflight need"
        )
        assert set(proxy.asked) == {terms.target.netloc}
        monkeypatch.setenv("T_PROXY", "me:other")
        (refused,) = check_credentials(terms, GOOD).checks
        assert refused.status is Status.WARN
        assert "407" in refused.text
