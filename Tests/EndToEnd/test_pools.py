"""Plugins in several workers: they share the calls, come and go with the load, and one that dies is replaced."""

import json
import os
import signal
import subprocess

import pytest

import plugins
from callers import Callers
from knap_host import KNAP, wait_for
from test_live_changes import command
from test_workers import info, reasons, running, state_of


@pytest.fixture
def served(place):
    place.serve()
    return place


def build(place, pool, version="1.0.0", name="crew", **options):
    options = {"extensions": [], "deadline_ms": 20_000, **options}
    return plugins.build(place.root / "built", name, version=version, pool=pool, **options)


def begin(place, pool, **options):
    plugins.drop(place, build(place, pool, **options))
    wait_for(lambda: state_of(place, "crew") == "active", "the start")


def processes(place, name="crew"):
    return [each["process"] for each in info(place, name).get("processes", [])]


def in_flight(place, name="crew"):
    """Of each worker, the least first."""
    return sorted(each["in_flight"] for each in info(place, name)["processes"])


def wait_for_workers(place, count, name="crew"):
    wait_for(lambda: info(place, name)["workers"] == count == len(processes(place, name)), f"{count} workers", 60)


class Calls:
    """Calls under way, each in a process of its own."""

    def __init__(self, place, method, count, text=None):
        arguments = [] if text is None else [json.dumps(text)]
        self.processes = [
            subprocess.Popen([KNAP, "call", method, *arguments, "--state", str(place.state), "--json"], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=place.environment)
            for _ in range(count)]

    def end(self):
        """The exit codes, outputs and errors."""
        ends = [process.communicate(timeout=60) for process in self.processes]
        return [(process.returncode, *end) for process, end in zip(self.processes, ends)]


def test_a_pool_starts_with_its_least_size(served):
    begin(served, {"min": 2, "max": 4})
    shown = info(served, "crew")
    assert shown["workers"] == 2 and shown["isolation"] == "worker"
    assert len(set(processes(served))) == 2 and all(map(running, processes(served)))
    assert {"min": 2, "max": 4, "in_flight": 0, "waiting": 0}.items() <= shown["pool"].items()
    listed = json.loads(command(served, "plugins", "list", "--json").stdout)["plugins"]
    assert {each["name"]: each.get("workers") for each in listed}["crew"] == 2
    before = processes(served)
    assert command(served, "plugins", "disable", "crew").returncode == 0
    wait_for(lambda: not any(map(running, before)), "the end of its workers")


def test_calls_go_to_the_worker_with_the_fewest(served):
    begin(served, {"min": 3, "max": 3})
    calls = Calls(served, "test.crew.nap", 12)
    wait_for(lambda: in_flight(served) == [4, 4, 4], "an even load")
    assert info(served, "crew")["pool"]["waiting"] == 9
    assert {code for code, _, _ in calls.end()} == {0}


def test_a_pool_follows_its_load_and_no_call_fails(served):
    begin(served, {"min": 1, "max": 3, "grow_after_ms": 20, "shrink_after_ms": 200})
    watch = subprocess.Popen([KNAP, "plugins", "watch", "--state", str(served.state)], stdout=subprocess.PIPE, text=True,
                             env=served.environment)
    served.processes.append(watch)
    with Callers(served, "test.crew.slow", count=8) as load:
        wait_for_workers(served, 3)
    assert load.failures == [] and len(load.results) >= 8
    # What is called now and then does not keep three busy, and ends none of its calls as the others go.
    with Callers(served, "test.crew.slow", count=1) as load:
        wait_for_workers(served, 1)
    assert load.failures == []
    text = " / ".join(reasons(served, "crew"))
    for words in ["2 workers: calls waited at all", "3 workers: calls waited at all", "2 workers: one fewer", "1 worker: one fewer"]:
        assert words in text, text
    watch.terminate()
    assert "crew  active  3 workers: calls waited at all of them" in watch.communicate()[0]


def test_a_worker_that_dies_costs_no_call_that_may_run_again(served):
    begin(served, {"min": 3, "max": 3})
    with Callers(served, "test.crew.pid", count=4) as load:
        gone = None
        for number in range(10):
            there = wait_for(lambda: len(found := processes(served)) == 3 and gone not in found and found, "three workers")
            gone = there[number % 3]
            os.kill(gone, signal.SIGKILL)
    assert load.failures == []
    wait_for_workers(served, 3)
    assert any("SIGKILL" in reason for reason in reasons(served, "crew"))
    assert state_of(served, "crew") == "active"
    # It was never out of service.
    states = [change["state"] for change in info(served, "crew")["history"]]
    assert set(states[states.index("active"):]) == {"active"}


def test_only_the_calls_that_a_dead_worker_had_begun_fail(served):
    begin(served, {"min": 3, "max": 3})
    calls = Calls(served, "test.crew.nap", 6)
    wait_for(lambda: in_flight(served) == [2, 2, 2], "an even load")
    os.kill(processes(served)[1], signal.SIGKILL)
    ends = calls.end()
    failed = [(out, error) for code, out, error in ends if code != 0]
    assert len(failed) == 2, ends
    assert all("may_have_run" in error + out for out, error in failed), failed


def test_all_workers_dead_at_once_cost_no_call_that_may_run_again(served):
    begin(served, {"min": 2, "max": 3})
    with Callers(served, "test.crew.pid", count=4) as load:
        for _ in range(5):
            wait_for_workers(served, 2)
            gone = processes(served)
            for process in gone:
                os.kill(process, signal.SIGKILL)
            wait_for(lambda: len(set(processes(served)) - set(gone)) == 2, "their successors")
    assert load.failures == []


def test_a_pool_is_reloaded_whole_and_no_call_fails(served):
    pool = {"min": 2, "max": 3}
    begin(served, pool)
    with Callers(served, "test.crew.version", count=3) as load:
        for number in range(1, 6):
            before = processes(served)
            plugins.drop(served, build(served, pool, version=f"1.{number}.0"))
            wait_for(lambda: info(served, "crew")["version"] == f"1.{number}.0", f"version {number}")
            assert not set(before) & set(processes(served)) and len(processes(served)) == 2
    assert load.failures == []
    assert load.results[-1] == "1.5.0"


def test_a_new_build_of_which_one_worker_fails_leaves_the_old_pool_serving(served):
    begin(served, {"min": 2, "max": 2})
    before = processes(served)
    plugins.drop(served, build(served, {"min": 2, "max": 2}, version="2.0.0", defines=["HOOK_activate=crash"]))
    wait_for(lambda: any("2.0.0" in each for each in reasons(served, "crew")), "the attempt")
    wait_for(lambda: state_of(served, "crew") == "active", "the return")
    assert served.call("test.crew.version") == "1.0.0"
    assert processes(served) == before


def test_a_pool_whose_workers_keep_ending_is_put_in_quarantine(served):
    begin(served, {"min": 2, "max": 2},
          restart={"max_restarts": 2, "period_ms": 60000, "backoff_initial_ms": 1, "backoff_max_ms": 1})
    for _ in range(3):
        wait_for_workers(served, 2)
        gone = processes(served)[0]
        os.kill(gone, signal.SIGKILL)
        wait_for(lambda: not running(gone), "its end")
    shown = wait_for(lambda: state_of(served, "crew") == "failed" and info(served, "crew"), "the quarantine")
    assert "quarantine" in shown["reason"] and "SIGKILL" in shown["reason"]
    assert command(served, "plugins", "release", "crew").returncode == 0
    wait_for_workers(served, 2)


def test_in_the_hosts_process_there_is_one_instance(served):
    begin(served, {"min": 2, "max": 2})
    assert command(served, "plugins", "isolate", "crew", "in-process").returncode == 0
    shown = info(served, "crew")
    assert shown["isolation"] == "in-process" and shown["workers"] == 0
    assert shown["pool"] == "one instance serves, because it runs in the host's process"
    assert served.call("test.crew.pid") == served.host_pid()


def test_every_worker_may_ask_the_host_and_others(served):
    for name, other in [("left", "right"), ("right", "left")]:
        plugins.drop(served, build(served, {"min": 2, "max": 2}, name=name, source="conversations.c",
                                   defines=[f'OTHER="test.{other}"'], permissions={"services": [f"test.{other}"]}))
        wait_for(lambda: state_of(served, name) != "unknown", "the arrival")
        assert command(served, "plugins", "grant", name).returncode == 0
        wait_for(lambda: state_of(served, name) == "active", "the start")
    for _ in range(2):
        assert served.call("test.left.relay")["caller"] == "left"
        assert served.call("test.left.speak_and_hear") == {"status": 0, "answer": 1000, "received": 1000, "ordered": True}
        # The first worker now holds a call, so the other one gets the next.
        busy = Calls(served, "test.left.wait", 1)
        wait_for(lambda: in_flight(served, "left") == [0, 1], "the held call")
        assert served.call("test.left.relay")["caller"] == "left"
        assert served.call("test.left.speak_and_hear") == {"status": 0, "answer": 1000, "received": 1000, "ordered": True}
        busy.processes[0].kill()
        busy.end()
        wait_for(lambda: in_flight(served, "left") == [0, 0], "the end of the held call")
        # Their bindings are those of the plugin, not of its process.
        os.kill(processes(served, "left")[0], signal.SIGKILL)
        wait_for_workers(served, 2, "left")
