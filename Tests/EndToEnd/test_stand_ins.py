"""A provider that stands in for another one, and calls that are tried again: what callers notice of a provider's trouble."""

import asyncio
import json
import os
import signal

import pytest
from mcp import Client

import plugins
from callers import Callers
from knap_host import wait_for
from test_live_changes import command
from test_official_client import http, stdio, text
from test_pools import Calls
from test_workers import attempt, info, state_of

UNAVAILABLE, RESOURCE_EXHAUSTED, NOT_FOUND = 14, 8, 5


@pytest.fixture
def served(place):
    place.endpoint = place.serve()
    return place


def start(place, name, **options):
    plugins.drop(place, plugins.build(
        place.root / "built", name, source="provider.c", service="test.duo", deadline_ms=20_000, **options))
    wait_for(lambda: state_of(place, name) == "active", f"the start of {name}")


def start_both(place, isolation="worker", **options):
    start(place, "main", **options)
    start(place, "spare", fallback=True, defines=["HEALTHY"])
    for name in ["main", "spare"]:
        if isolation != "worker":
            assert command(place, "plugins", "isolate", name, isolation).returncode == 0
        assert info(place, name)["isolation"] == isolation


def who(place):
    return place.call("test.duo.who")


def fails_with(place, method, status):
    """The call of the main provider, which ends with that status unless another one serves it."""
    return place.knap("call", f"test.duo.{method}", str(status), "--state", str(place.state), "--json")


def counts(place, name):
    return info(place, name)["calls"]


def test_a_stand_in_serves_while_the_main_provider_is_absent_and_who_needs_the_service_stays(served):
    start(served, "spare", fallback=True)
    assert who(served) == "spare"
    plugins.drop(served, plugins.build(
        served.root / "built", "user", defines=['OTHER="test.duo.who"'], requires=[{"service": "test.duo", "version": "^1"}]))
    wait_for(lambda: state_of(served, "user") == "active", "the start of user")
    assert served.call("test.user.pass_on") == "spare"
    start(served, "main")
    assert who(served) == served.call("test.user.pass_on") == "main"
    with Callers(served, "test.user.pass_on", count=2) as load:
        for change, expected in [("disable", "spare"), ("enable", "main")] * 3:
            assert command(served, "plugins", change, "main").returncode == 0
            wait_for(lambda: who(served) == expected, f"an answer of {expected}")
    assert load.failures == []
    assert set(load.results) == {"main", "spare"}
    # It was never stopped for want of the service.
    states = [change["state"] for change in info(served, "user")["history"]]
    assert set(states[states.index("active"):]) == {"active"}
    described = [each for each in served.call("host.services")["services"] if each["service"] == "test.duo"]
    assert {each["plugin"]: each["state"] for each in described} == {"main": "active", "spare": "fallback"}


def test_a_second_main_provider_is_left_out(served):
    start_both(served)
    plugins.drop(served, plugins.build(served.root / "built", "rival", source="provider.c", service="test.duo"))
    shown = wait_for(lambda: "one provider" in info(served, "rival").get("reason", "") and info(served, "rival"), "the refusal")
    assert shown["state"] == "resolved"
    assert who(served) == "main" and state_of(served, "spare") == "active"


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
def test_calls_that_an_open_breaker_refuses_go_to_the_stand_in(served, isolation):
    start_both(served, isolation, limits={"breaker": {"failures": 3, "period_ms": 600_000, "open_ms": 600_000}})
    # What may run twice and fails for the moment, runs there. What is the caller's fault does not.
    for _ in range(2):
        assert json.loads(fails_with(served, "fail", UNAVAILABLE).stdout) == "spare"
    refused = json.loads(fails_with(served, "fail", NOT_FOUND).stderr)
    assert refused["error"]["code"] == "NOT_FOUND"
    # What may have run and must not run twice, has failed.
    failed = json.loads(fails_with(served, "fail_once", UNAVAILABLE).stderr)
    assert failed["error"]["code"] == "UNAVAILABLE"
    main = counts(served, "main")
    assert main["breaker"] == "open" and main["breaker_opened"] == 1 and main["breaker_open_for_ms"] > 0
    assert main["failed"] == {"caller": 1, "transient": 3, "permanent": 0, "plugin": 0, "overload": 0}
    for method in ["who", "fail", "fail_once"]:
        assert json.loads(fails_with(served, method, UNAVAILABLE).stdout) == "spare"
    after = counts(served, "main")
    assert after["admitted"] == main["admitted"]
    assert after["fell_back"] == counts(served, "spare")["stood_in"] == 5
    # Without a stand-in the caller is told, and when to come again.
    assert command(served, "plugins", "disable", "spare").returncode == 0
    told = json.loads(attempt(served, "test.duo.who").stderr)["error"]
    assert told["code"] == "UNAVAILABLE" and "circuit breaker" in told["message"]
    assert told["details"]["class"] == "transient" and 0 < told["details"]["retry_after_ms"] <= 600_000


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
def test_calls_that_an_overloaded_provider_does_not_take_go_to_the_stand_in(served, isolation):
    start_both(served, isolation, limits={"in_flight": 1, "queue": 0})
    held = Calls(served, "test.duo.wait", 1)
    wait_for(lambda: counts(served, "main")["in_flight"] == 1, "the call's begin")
    assert [who(served) for _ in range(3)] == ["spare"] * 3
    assert counts(served, "main")["failed"]["overload"] == 3
    (served.state / "data/main/go").touch()
    assert [(code, json.loads(out)) for code, out, _ in held.end()] == [(0, "main")]
    wait_for(lambda: who(served) == "main", "the end of the overload")
    # It says so itself.
    assert json.loads(fails_with(served, "fail", RESOURCE_EXHAUSTED).stdout) == "spare"
    failed = json.loads(fails_with(served, "fail_once", RESOURCE_EXHAUSTED).stderr)
    assert failed["error"]["code"] == "RESOURCE_EXHAUSTED"
    assert command(served, "plugins", "disable", "spare").returncode == 0
    (served.state / "data/main/go").unlink()
    held = Calls(served, "test.duo.wait", 1)
    wait_for(lambda: counts(served, "main")["in_flight"] == 1, "the call's begin")
    told = json.loads(attempt(served, "test.duo.who").stderr)["error"]
    assert told["code"] == "RESOURCE_EXHAUSTED" and "limits.in_flight" in told["message"]
    assert told["details"] == {"class": "overload", "retry": True, "may_have_run": False}
    (served.state / "data/main/go").touch()
    held.end()


def test_what_a_dead_provider_had_not_begun_runs_on_the_stand_in_and_what_it_had_begun_does_not(served):
    start_both(served, limits={"in_flight": 1, "queue": 8}, restart={"max_restarts": 0, "period_ms": 60_000})
    begun = Calls(served, "test.duo.wait", 1)
    wait_for(lambda: counts(served, "main")["in_flight"] == 1, "the call's begin")
    waiting = Calls(served, "test.duo.fail_once", 3, UNAVAILABLE)
    wait_for(lambda: counts(served, "main")["queued"] == 3, "the line")
    os.kill(int(info(served, "main")["process"]), signal.SIGKILL)
    assert [(code, json.loads(out)) for code, out, _ in waiting.end()] == [(0, "spare")] * 3
    [(code, _, error)] = begun.end()
    assert code != 0 and json.loads(error)["error"]["details"] == {"class": "plugin", "retry": False, "may_have_run": True}
    assert "quarantine" in info(served, "main")["reason"]
    assert who(served) == "spare" and counts(served, "spare")["stood_in"] == 4
    assert command(served, "plugins", "release", "main").returncode == 0
    wait_for(lambda: who(served) == "main", "the return")


def test_a_stream_that_a_dead_worker_had_not_begun_is_run_by_its_successor(served):
    for name, other in [("left", "right"), ("right", "left")]:
        plugins.drop(served, plugins.build(
            served.root / "built", name, source="conversations.c", extensions=[], deadline_ms=60_000, defines=[f'OTHER="test.{other}"'],
            permissions={"services": [f"test.{other}"]}))
        wait_for(lambda: state_of(served, name) != "unknown", "the arrival")
        assert command(served, "plugins", "grant", name).returncode == 0
        wait_for(lambda: state_of(served, name) == "active", "the start")
    for _ in range(3):
        process = int(info(served, "right")["process"])
        os.kill(process, signal.SIGSTOP)
        calls = Calls(served, "test.left.speak_and_hear", 2)
        wait_for(lambda: counts(served, "right")["in_flight"] == 2, "the streams")
        os.kill(process, signal.SIGKILL)
        for code, out, error in calls.end():
            assert (code, error) == (0, "")
            assert json.loads(out) == {"status": 0, "answer": 1000, "received": 1000, "ordered": True}


def test_a_call_of_the_command_line_and_of_a_client_is_tried_again(served):
    tool = {"kind": "tool", "name": "try_it", "description": "Fails twice, then serves.", "method": "test.duo.flaky"}
    start(served, "main", methods={"flaky": {"retries": 3}}, contributes={"mcp": [tool]})
    assert served.call("test.duo.flaky") == "main"
    assert counts(served, "main")["retried"] == 2

    async def work(server):
        async with Client(server) as client:
            return text(await client.call_tool("try_it", {}))

    assert json.loads(asyncio.run(work(http(served, served.endpoint)))) == "main"
    assert counts(served, "main")["retried"] == 4
    assert json.loads(asyncio.run(work(stdio(served)))) == "main"
    shown = counts(served, "main")
    assert shown["retried"] == 6 and shown["failed"]["transient"] == 6


def test_a_clients_call_is_served_by_the_stand_in(served):
    tool = {"kind": "tool", "name": "try_it", "description": "Fails.", "method": "test.duo.fail"}
    start(served, "main", contributes={"mcp": [tool]})
    start(served, "spare", fallback=True, defines=["HEALTHY"])

    async def work(server):
        async with Client(server) as client:
            return text(await client.call_tool("try_it", {}))

    for server in [http(served, served.endpoint), stdio(served)]:
        assert json.loads(asyncio.run(work(server))) == "spare"
    assert counts(served, "spare")["stood_in"] == 2
