"""Which ends of a worker lead to a restart, of what, and who asks for its health."""

import pytest

import plugins
from knap_host import wait_for
from test_workers import attempt, info, reasons, state_of

QUICK = {"max_restarts": 1000, "period_ms": 3600000, "backoff_initial_ms": 1, "backoff_max_ms": 5}


@pytest.fixture
def served(place):
    place.serve()
    return place


def started(place, name, **options):
    plugins.drop(place, plugins.build(place.root / "built", name, **options))
    wait_for(lambda: state_of(place, name) == "active", f"the start of {name}")
    return info(place, name)["process"]


def release(place, name):
    released = place.knap("plugins", "release", name, "--state", str(place.state))
    assert released.returncode == 0, released.stderr


# Policy, how it ends, and the state after that.
ENDS = [
    ("permanent", "crash", "active"), ("permanent", "leave_well", "active"), ("transient", "crash", "active"),
    ("transient", "leave", "active"), ("transient", "leave_well", "stopped"), ("temporary", "crash", "failed"),
    ("temporary", "leave_well", "stopped"),
]


@pytest.mark.parametrize("policy, end, state", ENDS)
def test_an_end_leads_to_what_the_policy_says(served, policy, end, state):
    before = started(served, "mortal", restart={**QUICK, "policy": policy})
    assert attempt(served, f"test.mortal.{end}").returncode != 0
    wait_for(lambda: "last_end" in (now := info(served, "mortal")) and now["state"] == state, f"the state {state}")
    if state == "active":
        assert info(served, "mortal")["process"] != before
    else:
        assert f"because it is {policy}" in info(served, "mortal")["reason"]
        # No other change starts it either, but the operator does.
        started(served, "other")
        assert state_of(served, "mortal") == state
        release(served, "mortal")
    assert served.call("test.mortal.echo", text="back") == {"text": "back"}


@pytest.mark.parametrize("scope", ["self", "dependants"])
def test_what_requires_a_plugin_is_restarted_with_it_if_its_manifest_says_so(served, scope):
    base = started(served, "base", restart={**QUICK, "scope": scope})
    above = started(served, "above", requires=[{"service": "test.base", "version": "*"}])
    aside = started(served, "aside")
    attempt(served, "test.base.crash")
    wait_for(lambda: info(served, "base").get("process", base) != base, "the restart")
    if scope == "dependants":
        wait_for(lambda: info(served, "above").get("process", above) != above, "the restart of what requires it")
        assert any("base, which it requires, was restarted" in reason for reason in reasons(served, "above"))
    wait_for(lambda: state_of(served, "above") == "active", "the dependant")
    assert (info(served, "above")["process"] == above) == (scope == "self")
    assert info(served, "aside")["process"] == aside


def test_what_requires_a_plugin_that_stays_ended_stops_and_comes_back_with_it(served):
    started(served, "base", restart={**QUICK, "policy": "temporary"})
    started(served, "above", requires=[{"service": "test.base", "version": "*"}])
    attempt(served, "test.base.crash")
    wait_for(lambda: state_of(served, "above") != "active", "the stop")
    assert attempt(served, "test.above.echo").returncode != 0
    release(served, "base")
    wait_for(lambda: state_of(served, "above") == "active", "the return")
    assert served.call("test.above.echo", text="back") == {"text": "back"}


def test_an_unhealthy_worker_is_ended_and_started_again(served):
    before = started(served, "frail", health={"period_ms": 100, "failures": 2}, extensions=["knap.state/1", "knap.health/1"])
    wait_for(lambda: info(served, "frail").get("health") == "healthy", "the first question")
    sick = served.state / "data/frail/sick"
    sick.touch()
    shown = wait_for(lambda: "last_end" in (now := info(served, "frail")) and now, "the end")
    assert "it is unhealthy" in shown["last_end"] and "fever" in shown["last_end"], shown["last_end"]
    sick.unlink()
    wait_for(lambda: info(served, "frail").get("health") == "healthy" and state_of(served, "frail") == "active", "its recovery")
    assert info(served, "frail")["process"] != before
    assert served.call("test.frail.echo", text="well") == {"text": "well"}


def test_an_unhealthy_plugin_in_the_hosts_process_is_reported(served):
    started(served, "frail", health={"period_ms": 100, "failures": 2}, extensions=["knap.state/1", "knap.health/1"])
    moved = served.knap("plugins", "isolate", "frail", "in-process", "--state", str(served.state))
    assert moved.returncode == 0, moved.stderr
    wait_for(lambda: info(served, "frail").get("health") == "healthy", "the first question")
    (served.state / "data/frail/sick").touch()
    wait_for(lambda: "fever" in info(served, "frail").get("health", ""), "the report")
    assert state_of(served, "frail") == "active"
    (served.state / "data/frail/sick").unlink()
    wait_for(lambda: info(served, "frail").get("health") == "healthy", "its recovery")
