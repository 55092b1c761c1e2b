"""Replacements whose generations serve side by side for a while (`"reload": "overlap"`)."""

import os
import pathlib
import signal
import subprocess

import pytest

import plugins
from callers import Callers
from knap_host import KNAP, wait_for
from test_live_changes import command, start
from test_workers import attempt, info, running

ISOLATIONS = ["worker", "in-process"]


@pytest.fixture
def served(place):
    place.serve()
    return place


def build(place, version="1.0.0", **options):
    options = {"extensions": [], "reload": "overlap", "deadline_ms": 30_000, **options}
    return plugins.build(place.root / "built", "tide", version=version, **options)


def begin(place, isolation, **options):
    plugins.drop(place, build(place, **options))
    wait_for(lambda: info(place, "tide")["state"] == "active", "the start")
    assert command(place, "plugins", "isolate", "tide", isolation).returncode == 0
    assert info(place, "tide")["isolation"] == isolation


def upgrade(place, version, **options):
    plugins.drop(place, build(place, version, **options))
    wait_for(lambda: info(place, "tide")["version"] == version, f"version {version}")


def let_go(place):
    """Has the calls of `patient` end, now and later."""
    (place.state / "data/tide/go").touch()


class InFlight:
    """A call that is under way in a process of its own."""

    def __init__(self, place, method):
        self.process = subprocess.Popen(
            [KNAP, "call", method, "--state", str(place.state), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=place.environment)
        wait_for(lambda: info(place, "tide")["calls"]["in_flight"] > 0, f"the entry of {method}")

    def end(self):
        """What came of it. One that waits to be let go of must have been."""
        out, error = self.process.communicate(timeout=60)
        return self.process.returncode, out, error


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_the_new_generation_serves_while_the_old_one_ends_its_calls(served, isolation):
    begin(served, isolation)
    call = InFlight(served, "test.tide.patient")
    before = info(served, "tide")["generation"]
    assert command(served, "plugins", "reload", "tide").returncode == 0
    # Nothing waited for the call, which its own generation answers.
    assert call.process.poll() is None
    assert served.call("test.tide.echo", text="new") == {"text": "new"}
    assert info(served, "tide")["generation"] == before + 1
    let_go(served)
    assert call.end() == (0, '"patient"\n', "")


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_no_call_fails_while_generations_follow_each_other(served, isolation):
    begin(served, isolation)
    with Callers(served, "test.tide.slow", count=2) as slow, Callers(served, "test.tide.version", count=2) as load:
        for number in range(1, 7):
            upgrade(served, f"1.{number}.0")
    assert load.failures == slow.failures == []
    assert set(slow.results) == {"slow"} and "1.6.0" in load.results
    wait_for(lambda: not info(served, "tide").get("retiring"), "the end of the old generations")


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_calls_that_outlast_the_drain_are_told_that_the_plugin_moved(served, isolation):
    begin(served, isolation, drain_timeout_ms=200)
    call = InFlight(served, "test.tide.never")
    upgrade(served, "2.0.0")
    code, _, error = call.end()
    assert code == 69 and '"reason":"moved"' in error, (code, error)
    assert served.call("test.tide.version") == "2.0.0"


def test_the_process_of_an_old_generation_ends_with_its_last_call(served):
    begin(served, "worker")
    process = int(info(served, "tide")["process"])
    call = InFlight(served, "test.tide.patient")
    upgrade(served, "2.0.0")
    assert running(process)
    let_go(served)
    assert call.end()[0] == 0
    wait_for(lambda: not running(process), "the end of the old process")


@pytest.mark.parametrize("fault", ["HOOK_create=crash", "HOOK_prepare=leave", "HOOK_activate=crash"])
def test_a_generation_that_fails_before_the_switch_leaves_the_old_one_untouched(served, fault):
    begin(served, "worker")
    process = info(served, "tide")["process"]
    call = InFlight(served, "test.tide.patient")
    plugins.drop(served, build(served, "2.0.0", defines=[fault]))
    wait_for(lambda: "reload failed" in info(served, "tide")["reason"], "the refusal")
    let_go(served)
    assert call.end()[0] == 0
    shown = info(served, "tide")
    assert (shown["version"], shown["process"], shown["state"]) == ("1.0.0", process, "active")


def test_calls_of_an_old_process_that_dies_are_run_again_by_the_new_one(served):
    begin(served, "worker", idempotent={"patient"})
    # What the command line sends is a stream, and those are not run again.
    start(served, "ay", defines=['OTHER="test.tide.patient"'], deadline_ms=30_000, requires=[{"service": "test.tide", "version": "*"}])
    for _ in range(5):
        process = int(info(served, "tide")["process"])
        call = InFlight(served, "test.ay.pass_on")
        assert command(served, "plugins", "reload", "tide").returncode == 0
        os.kill(process, signal.SIGKILL)
        wait_for(lambda: not running(process), "the end of the old process")
        let_go(served)
        assert call.end() == (0, '"patient"\n', "")
        (served.state / "data/tide/go").unlink()
        wait_for(lambda: info(served, "tide")["calls"]["in_flight"] == 0, "the end of the call")


def test_a_stop_does_not_wait_for_the_drain_of_old_generations(served):
    begin(served, "worker", drain_timeout_ms=60000)
    call = InFlight(served, "test.tide.never")
    upgrade(served, "2.0.0", drain_timeout_ms=60000)
    assert command(served, "plugins", "disable", "tide").returncode == 0
    assert call.end()[0] == 69
    assert info(served, "tide")["state"] in ("resolved", "stopped")
