"""Interceptors that the operator demands: while one is missing, nothing from outside gets in, and what mends it does."""

import json
import signal

import pytest

import plugins
from knap_host import wait_for
from test_http import post
from test_live_changes import command
from test_workers import attempt, info, state_of


@pytest.fixture
def served(place):
    place.endpoint = place.serve()
    place.wait_until_indexed()
    return place


def guard(place, version="1.0.0", **options):
    """The interceptor's library; as all of its kind it can only run in the host's process, and must be granted that."""
    return plugins.build(place.root / f"built-{version}", "guard", version=version, source="guard.c",
                         permissions={"intercept": True}, **options)


def install(place, library):
    assert command(place, "plugins", "install", str(library)).returncode == 0
    for arguments in [("isolate", "guard", "in-process"), ("grant", "guard")]:
        result = command(place, "plugins", *arguments)
        assert result.returncode == 0, result.stderr
    assert state_of(place, "guard") == "active"


def demand(place, *names):
    result = command(place, "config", "set", "host.interceptors", json.dumps(names))
    assert result.returncode == 0, result.stderr


def tool(place, name, **arguments):
    """Calls a tool over HTTP, as a client does: whether it failed, and what it said."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    status, _, content = post(place.endpoint, body, Authorization="Bearer test-token")
    assert status == 200, content
    answer = json.loads(content.removeprefix(b"event: message\ndata: "))
    return answer["result"].get("isError", False), answer["result"]["content"][0]["text"]


def assert_closed(place, reason):
    """Nothing gets in by any way, and each says which interceptor is missing and why."""
    refused = attempt(place, "vault.list_notes")
    assert refused.returncode == 69, refused
    failed, said = tool(place, "list_notes")
    assert failed
    problems = json.loads(command(place, "doctor", "--json").stdout)["problems"]
    diagnosis = next(each for each in problems if each["subject"] == "guard" and "refused" in each["problem"])["problem"]
    for text in (refused.stderr, said, diagnosis):
        assert "host.interceptors" in text and reason in text, text
    assert "'guard'" in refused.stderr and "knap doctor" in refused.stderr
    relay = place.knap(*place.relay_arguments(), stdin='{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    assert relay.returncode and "guard" in relay.stderr and '"result"' not in relay.stdout


def assert_open(place):
    assert attempt(place, "vault.list_notes").returncode == 0
    assert not tool(place, "list_notes")[0]


def test_while_a_demanded_interceptor_is_missing_nothing_from_outside_gets_in(served):
    demand(served, "guard")
    assert_closed(served, "there is no such plugin here")
    # The operator can still see and do what it takes.
    assert json.loads(command(served, "plugins", "list", "--json").stdout)
    install(served, guard(served))
    assert_open(served)
    failed, said = tool(served, "delete_note", path="Ideas.md")
    assert failed and "the guard allows no delete" in said and (served.vault / "Ideas.md").exists()
    assert command(served, "plugins", "disable", "guard").returncode == 0
    assert_closed(served, "disabled")
    assert command(served, "plugins", "enable", "guard").returncode == 0
    assert_open(served)
    assert command(served, "plugins", "remove", "guard").returncode == 0
    assert_closed(served, "there is no such plugin here")
    demand(served)
    assert_open(served)


def test_it_is_demanded_from_the_first_call_after_a_restart(served):
    install(served, guard(served))
    demand(served, "guard")
    assert_open(served)
    served.processes[-1].kill()
    served.processes[-1].wait()
    (served.state / "plugins/guard.so").unlink()
    served.endpoint = served.serve()
    assert_closed(served, "there is no such plugin here")


def test_one_that_is_quarantined_or_does_not_start_is_missing(served):
    demand(served, "guard")
    # A library without the methods that its manifest promises fails to start, and is not tried again.
    broken = guard(served, provides=[{"service": "test.guard", "version": "1.0.0", "methods": [{"name": "nothing"}]}])
    assert command(served, "plugins", "install", str(broken)).returncode == 0
    for arguments in [("isolate", "guard", "in-process"), ("grant", "guard")]:
        command(served, "plugins", *arguments)
    wait_for(lambda: state_of(served, "guard") == "failed", "the failed start")
    assert_closed(served, "disagrees with its manifest")


def test_one_that_crashed_the_host_is_missing_until_it_is_released(served):
    install(served, guard(served, defines=['FATAL="tags"']))
    demand(served, "guard")
    assert_open(served)
    attempt(served, "vault.list_tags")
    assert served.processes[-1].wait(20) == -signal.SIGABRT
    served.endpoint = served.serve()
    assert_closed(served, "its code ended the host")
    assert command(served, "plugins", "release", "guard").returncode == 0
    assert_open(served)
    assert tool(served, "delete_note", path="Ideas.md")[0]


def test_a_plugin_that_does_not_intercept_is_no_interceptor(served):
    plugins.drop(served, plugins.build(served.root / "built", "guard", source="staying.c"))
    wait_for(lambda: state_of(served, "guard") == "active", "the start")
    demand(served, "guard")
    assert_closed(served, "does not ask to intercept")


def test_a_demanded_interceptor_judges_every_call_while_it_is_replaced(served):
    install(served, guard(served))
    demand(served, "guard")
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        assert command(served, "plugins", "install", str(guard(served, version))).returncode == 0
        # What an unsigned content was granted is that content's alone.
        assert command(served, "plugins", "grant", "guard").returncode == 0
        assert info(served, "guard")["version"] == version
        failed, said = tool(served, "delete_note", path="Ideas.md")
        assert failed and "the guard allows no delete" in said
        assert_open(served)
    assert (served.vault / "Ideas.md").exists()
