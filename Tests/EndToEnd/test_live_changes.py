"""What happens in a running host when files come, change and go, and when the operator changes what runs."""

import asyncio
import json
import shutil
import time

import httpx2 as httpx
import pytest

import plugins
from callers import Callers
from knap_host import wait_for
from test_workers import attempt, info, state_of


LEVEL = {"schema": {"type": "object", "properties": {"level": {"type": "integer"}}}, "defaults": {"level": 1}}


@pytest.fixture
def served(place):
    place.endpoint = place.serve()
    return place


def command(place, *arguments):
    return place.knap(*arguments, "--state", str(place.state))


def start(place, name, **options):
    path = plugins.drop(place, plugins.build(place.root / "built", name, **options))
    wait_for(lambda: state_of(place, name) == "active", f"the start of {name}")
    return path


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
def test_a_new_build_takes_over_with_the_state_and_no_call_fails(served, isolation):
    start(served, "counter")
    assert command(served, "plugins", "isolate", "counter", isolation).returncode == 0
    assert info(served, "counter")["isolation"] == isolation
    with Callers(served, "test.counter.add", count=2) as load:
        for number in range(1, 6):
            version = f"1.{number}.0"
            plugins.drop(served, plugins.build(served.root / "built", "counter", version=version))
            wait_for(lambda: info(served, "counter")["version"] == version, f"version {version}")
    assert load.failures == []
    # Every call was counted once, by one generation or another.
    counts = sorted(load.results)
    assert counts == list(range(1, len(counts) + 1))


def test_a_new_build_that_fails_leaves_the_old_one_serving(served):
    start(served, "steady")
    assert served.call("test.steady.add") == 1
    for defines in [["HOOK_create=crash"], ["HOOK_prepare=leave"], ["HOOK_activate=crash"], ["HOOK_load=crash"]]:
        version = f"2.{len(defines[0])}.0"
        plugins.drop(served, plugins.build(served.root / "built", "steady", version=version, defines=defines))
        shown = wait_for(
            lambda: "reload failed" in info(served, "steady")["reason"] and info(served, "steady"), f"the refusal of {defines}")
        assert shown["version"] == "1.0.0"
        before = served.call("test.steady.add")
        assert served.call("test.steady.add") == before + 1
        # What runs is loaded anew, not what was refused; the reason of the next one is another.
        assert command(served, "plugins", "reload", "steady").returncode == 0
        assert info(served, "steady")["version"] == "1.0.0"
    plugins.drop(served, plugins.build(served.root / "built", "steady", version="3.0.0"))
    wait_for(lambda: info(served, "steady")["version"] == "3.0.0", "the good build")


def test_a_chain_of_calls_survives_the_reload_of_each_of_its_plugins(served):
    start(served, "bee")
    start(served, "ay", defines=['OTHER="test.bee.pass_on"'], requires=[{"service": "test.bee", "version": "*"}])
    with Callers(served, "test.ay.pass_on", count=2) as load:
        for name in ["ay", "bee"] * 5:
            result = command(served, "plugins", "reload", name)
            assert result.returncode == 0, result.stderr
    assert load.failures == [] and set(load.results) == {None}


def test_removing_a_file_stops_what_requires_it_first(served):
    path = start(served, "bee")
    start(served, "ay", requires=[{"service": "test.bee", "version": "*"}])
    refused = command(served, "plugins", "remove", "bee")
    assert refused.returncode == 65 and "ay would stop with it" in refused.stderr
    path.unlink()
    wait_for(lambda: state_of(served, "bee") == "unknown", "the removal")
    shown = info(served, "ay")
    assert shown["state"] == "resolved" and "test.bee" in shown["reason"]
    start(served, "bee")
    wait_for(lambda: state_of(served, "ay") == "active", "the return of what waited")


def test_a_half_copied_file_is_never_started(served):
    library = plugins.build(served.root / "built", "slow")
    content = library.read_bytes()
    target = served.state / "plugins/slow.so"
    with target.open("wb") as file:
        for at in range(0, len(content), len(content) // 5):
            file.write(content[at:at + len(content) // 5])
            file.flush()
            time.sleep(0.08)
            assert state_of(served, "slow") == "unknown"
    wait_for(lambda: state_of(served, "slow") == "active", "the start")


def test_a_rollback_returns_to_the_version_before(served):
    start(served, "wheel")
    plugins.drop(served, plugins.build(served.root / "built", "wheel", version="2.0.0"))
    wait_for(lambda: info(served, "wheel")["version"] == "2.0.0", "the upgrade")
    result = command(served, "plugins", "rollback", "wheel")
    assert result.returncode == 0, result.stderr
    assert served.call("test.wheel.version") == "1.0.0"
    history = command(served, "history", "--json")
    assert [each["change"] for each in json.loads(history.stdout)["history"]] == ["replace", "rollback"]


def test_what_was_rolled_back_stays_so_when_it_is_reloaded_configured_and_moved(served):
    start(served, "wheel", configuration=LEVEL)
    plugins.drop(served, plugins.build(served.root / "built", "wheel", version="2.0.0", configuration=LEVEL))
    wait_for(lambda: info(served, "wheel")["version"] == "2.0.0", "the upgrade")
    assert command(served, "plugins", "rollback", "wheel").returncode == 0
    assert any("version 2.0.0 is in quarantine" in each for each in info(served, "wheel")["warnings"])
    for change in [("plugins", "reload", "wheel"), ("config", "set", "wheel.level", "7"), ("plugins", "isolate", "wheel", "in-process")]:
        generation = info(served, "wheel")["generation"]
        result = command(served, *change)
        assert result.returncode == 0, (change, result.stderr)
        assert info(served, "wheel")["generation"] == generation + 1, change
        assert served.call("test.wheel.version") == "1.0.0", change
    assert info(served, "wheel")["isolation"] == "in-process"


def test_a_move_that_fails_leaves_the_plugin_where_it_is(served):
    start(served, "stayer", defines=["ONLY_IN_WORKERS"])
    assert served.call("test.stayer.add") == 1
    result = command(served, "plugins", "isolate", "stayer", "in-process")
    assert result.returncode == 65 and "only in workers" in result.stderr and "runs worker as before" in result.stderr, result.stderr
    # Nor does anything that is planned later stop or move it.
    start(served, "other")
    assert command(served, "plugins", "isolate", "other", "in-process").returncode == 0
    assert (state_of(served, "stayer"), info(served, "stayer")["isolation"]) == ("active", "worker")
    assert served.call("test.stayer.add") == 2


def test_a_place_that_a_plugin_does_not_support_is_refused_before_anything_changes(served):
    start(served, "caged", isolations=["worker"])
    result = command(served, "plugins", "isolate", "caged", "in-process")
    assert result.returncode == 65 and "it supports worker" in result.stderr, result.stderr
    assert (state_of(served, "caged"), info(served, "caged")["isolation"]) == ("active", "worker")


def test_disabled_plugins_stay_so_across_a_restart(served):
    start(served, "wheel")
    assert command(served, "plugins", "disable", "wheel").returncode == 0
    assert attempt(served, "test.wheel.echo").returncode == 69
    served.processes[0].terminate()
    served.processes[0].wait(10)
    served.serve()
    assert state_of(served, "wheel") == "resolved"
    assert command(served, "plugins", "enable", "wheel").returncode == 0
    assert served.call("test.wheel.echo", text="on") == {"text": "on"}


def test_install_copies_checks_and_starts(served):
    library = plugins.build(served.root / "elsewhere", "parcel")
    result = command(served, "plugins", "install", str(library))
    assert result.returncode == 0, result.stderr
    assert served.call("test.parcel.version") == "1.0.0"
    junk = served.root / "junk.so"
    junk.write_text("no library")
    refused = command(served, "plugins", "install", str(junk))
    assert refused.returncode == 65 and not (served.state / "plugins/junk.so").exists()
    assert command(served, "plugins", "remove", "parcel").returncode == 0
    assert state_of(served, "parcel") == "unknown"


def test_a_setting_applies_by_a_reload(served):
    start(served, "tuned", configuration=LEVEL)
    generation = info(served, "tuned")["generation"]
    assert command(served, "config", "set", "tuned.level", "7").returncode == 0
    wait_for(lambda: info(served, "tuned")["generation"] == generation + 1, "the reload")
    assert json.loads(command(served, "config", "get", "tuned.level", "--json").stdout) == 7


def test_the_gateway_itself_can_be_reloaded(served):
    before = info(served, "gateway")["generation"]
    result = command(served, "plugins", "reload", "gateway")
    assert result.returncode == 0, result.stderr
    assert info(served, "gateway")["generation"] == before + 1
    response = httpx.get(served.endpoint.replace("/mcp", "/health"))
    assert response.status_code == 200


@pytest.mark.parametrize("isolation", ["worker", "in-process"])
def test_a_call_that_comes_back_survives_the_reload_of_either_plugin_and_of_both(served, isolation):
    start(served, "ay", defines=['OTHER="test.bee.pass_on"'], optional=[{"service": "test.bee", "version": "*"}])
    start(served, "bee", defines=['OTHER="test.ay.slow"'], requires=[{"service": "test.ay", "version": "*"}])
    for name in ["ay", "bee"]:
        assert command(served, "plugins", "isolate", name, isolation).returncode == 0
    # Each call is in flight for 300 ms on ay, bee and ay again, so every reload meets some.
    with Callers(served, "test.ay.pass_on", count=4) as load:
        for names in [["ay"], ["bee"], ["ay", "bee"]] * 2:
            results = [command(served, "plugins", "reload", name) for name in names]
            assert all(result.returncode == 0 for result in results), [result.stderr for result in results]
    assert load.failures == [] and set(load.results) == {"slow"} and len(load.results) >= 8


def test_a_host_that_is_killed_in_the_middle_of_an_upgrade_comes_back_with_the_old_or_the_new(place):
    place.serve()
    start(place, "wheel")
    libraries = [plugins.build(place.root / f"built{number}", "wheel", version=f"{number}.0.0") for number in (1, 2)]
    for number in range(24):
        version = f"{number % 2 + 1}.0.0"
        command(place, "plugins", "install", str(libraries[number % 2]), "--no-wait")
        time.sleep(number * 0.002)
        host = place.processes[-1]
        host.kill()
        host.wait()
        place.serve()
        shown = info(place, "wheel")
        assert shown["state"] == "active" and shown["version"] in ("1.0.0", "2.0.0"), shown
        assert place.call("test.wheel.version") == shown["version"]
        # What was asked for can be had now.
        assert command(place, "plugins", "install", str(libraries[number % 2])).returncode == 0
        assert place.call("test.wheel.version") == version
    json.loads(command(place, "history", "--json").stdout)


def test_several_upgrades_apply_together_or_not_at_all(served):
    start(served, "bee")
    start(served, "ay", defines=['OTHER="test.bee.version"'], requires=[{"service": "test.bee", "version": "^1.0.0"}])
    # A bee that ay cannot use.
    plugins.build(served.root / "bad", "bee", version="2.0.0")
    refused = command(served, "plugins", "upgrade", str(served.root / "bad"))
    assert refused.returncode == 65 and "nothing was changed" in refused.stderr, refused.stderr
    # Both fit each other, but one does not start.
    plugins.build(served.root / "broken", "bee", version="2.0.0")
    plugins.build(served.root / "broken", "ay", version="2.0.0", defines=["HOOK_activate=crash"],
                  requires=[{"service": "test.bee", "version": "^2.0.0"}])
    refused = command(served, "plugins", "upgrade", str(served.root / "broken"))
    assert refused.returncode == 65, refused.stdout
    assert served.call("test.bee.version") == served.call("test.ay.pass_on") == "1.0.0"
    plugins.build(served.root / "good", "bee", version="2.0.0")
    plugins.build(served.root / "good", "ay", version="2.0.0", defines=['OTHER="test.bee.version"'],
                  requires=[{"service": "test.bee", "version": "^2.0.0"}])
    # Nobody sees the new one of them with the old one of the other.
    with Callers(served, "test.ay.pair", count=3) as load:
        done = command(served, "plugins", "upgrade", str(served.root / "good"))
    assert done.returncode == 0, done.stderr
    assert load.failures == [] and set(load.results) <= {"1.0.0 1.0.0", "2.0.0 2.0.0"}, set(load.results)
    assert served.call("test.ay.pass_on") == "2.0.0" and info(served, "ay")["version"] == "2.0.0"
    # The files were replaced too.
    served.processes[0].terminate()
    served.processes[0].wait(10)
    served.serve()
    assert served.call("test.ay.pass_on") == "2.0.0"


def test_an_upgrade_that_a_running_plugin_does_not_allow_is_held_back_until_that_one_goes(served):
    start(served, "bee")
    start(served, "ay", defines=['OTHER="test.bee.version"'], requires=[{"service": "test.bee", "version": "^1.0.0"}])
    plugins.drop(served, plugins.build(served.root / "built", "bee", version="2.0.0"))
    shown = wait_for(lambda: (shown := info(served, "bee"))["warnings"] and shown, "the refusal")
    assert "ay, which runs, requires" in shown["warnings"][0], shown["warnings"]
    assert shown["state"] == info(served, "ay")["state"] == "active"
    assert served.call("test.ay.pair") == "1.0.0 1.0.0"
    # The next host does the same: what ran is what runs.
    served.processes[0].terminate()
    served.processes[0].wait(10)
    served.serve()
    assert command(served, "plugins", "remove", "ay").returncode == 0
    wait_for(lambda: info(served, "bee")["version"] == "2.0.0", "the upgrade")


def test_an_upgrade_that_asks_for_more_waits_while_the_old_version_serves(served):
    start(served, "wheel")
    plugins.drop(served, plugins.build(
        served.root / "built", "wheel", version="2.0.0", permissions={"network": {"connect": ["example.org:443"]}}))
    shown = wait_for(lambda: (shown := info(served, "wheel"))["warnings"] and shown, "the wait")
    assert "waiting for connect to example.org:443" in shown["warnings"][0] and shown["version"] == "1.0.0"
    assert served.call("test.wheel.version") == "1.0.0"
    # Another host knows what ran before.
    served.processes[0].terminate()
    served.processes[0].wait(10)
    served.serve()
    wait_for(lambda: state_of(served, "wheel") == "active", "the start")
    assert served.call("test.wheel.version") == "1.0.0"
    assert command(served, "plugins", "grant", "wheel").returncode == 0
    wait_for(lambda: info(served, "wheel")["version"] == "2.0.0", "the upgrade")
    # The old version keeps what it was granted, so there is a way back.
    assert command(served, "plugins", "rollback", "wheel").returncode == 0
    assert served.call("test.wheel.version") == "1.0.0"
