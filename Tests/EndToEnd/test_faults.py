"""Plugins that go wrong in every way, each in its own process. In each test somebody calls another plugin all the time and
sees nothing of it; the host says what happened, and the plugin is back."""

import contextlib
import os
import pathlib
import random
import signal

import pytest

import plugins
from callers import Callers, Connection
from knap_host import Place, wait_for
from test_workers import attempt, info, reasons, running, state_of

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def served():
    made = Place()
    made.serve()
    folder = made.root / "built"
    plugins.drop(made, plugins.build(folder, "steady"))
    plugins.drop(made, plugins.build(
        folder, "faults", defines=['OTHER="test.steady.echo"'], optional=[{"service": "test.steady", "version": "*"}],
        limits={"memory_bytes": 256 << 20}))
    for name in ["faults", "steady"]:
        wait_for(lambda: state_of(made, name) == "active", f"the start of {name}")
    yield made
    made.close()


@pytest.fixture
def steady(served):
    """Somebody who calls another plugin all the time: every call is answered, by the same process, once."""
    process = info(served, "steady")["process"]
    first = served.call("test.steady.add")
    with Callers(served, "test.steady.add") as callers:
        callers.wait_for_more(10)
        yield callers
        callers.wait_for_more(10)
    assert callers.failures == []
    assert callers.results == list(range(first + 1, first + 1 + len(callers.results)))
    assert info(served, "steady")["process"] == process


def gone(process):
    wait_for(lambda: not running(int(process)), f"the end of process {process}")


def back(place, name, before, why):
    """Waits until another process serves as `name`, and the one before is gone."""
    wait_for(lambda: (shown := info(place, name)).get("process", before) != before and shown["state"] == "active",
             f"the restart after {why}")
    assert place.call(f"test.{name}.echo", text="back") == {"text": "back"}
    gone(before)


# What must be said of the end.
CALLS = {
    "crash": ("SIGSEGV at faults+0x", "(address 0x8)", "in test.faults.crash"),
    "divide": ("SIGFPE at faults+0x", "in test.faults.divide"),
    "trap": ("SIGILL at faults+0x", "in test.faults.trap"),
    "deep": ("SIGSEGV at faults+0x", "in test.faults.deep"),
    "give_up": ("SIGABRT at libc.so.6+0x", "called from faults at 0x", "in test.faults.give_up"),
    "breakpoint": ("SIGTRAP", "in test.faults.breakpoint"),
    "nowhere": ("SIGSEGV", "(address 0x0)", "in test.faults.nowhere"),
    "thread": ("SIGSEGV at faults+0x", "while it served test.faults.thread"),
    "thread_deep": ("SIGSEGV at faults+0x", "while it served test.faults.thread_deep"),
    "thread_give_up": ("SIGABRT", "while it served test.faults.thread_give_up"),
    "leave": ("exit code 3: a call of exit(3)", "in test.faults.leave"),
    "vanish": ("exit code 4",),
    "leak": ("it ran out of memory", "256 MiB", "in test.faults.leak"),
    "spin": ("it hung in test.faults.spin",), "stop": ("it was stopped (SIGSTOP",),
    "ignore_signals": ("it hung in test.faults.ignore_signals",), "fork_bomb": ("it hung in test.faults.fork_bomb",),
    "shut": ("it closed its connection to the host",), "truncate_memory": (),
}


@pytest.mark.parametrize("fault", CALLS)
def test_a_fault_in_a_call_ends_only_its_process(served, steady, fault):
    before = info(served, "faults")["process"]
    # Once: a caller that tries again may meet the process after, and have it fail too.
    with contextlib.closing(Connection(served)) as faulty:
        faulty.send(f"test.faults.{fault}")
        # While it hangs, spins or falls, others are served.
        steady.wait_for_more(50)
        assert faulty.receive()["status"] != 0
    back(served, "faults", before, fault)
    shown = info(served, "faults")["last_end"]
    for words in CALLS[fault]:
        assert words in shown, (words, shown)
    assert any(shown.endswith(reason) for reason in reasons(served, "faults")[-4:]), (shown, reasons(served, "faults")[-4:])


FATAL = [each for each in signal.Signals if each not in (
    signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH)]


@pytest.mark.parametrize("number", FATAL, ids=lambda each: each.name)
def test_a_signal_that_it_raises_ends_only_its_process(served, steady, number):
    before = info(served, "faults")["process"]
    answer = Connection(served).call("test.faults.raise", int(number))
    assert answer["status"] != 0
    back(served, "faults", before, number.name)
    assert any(number.name in reason or f"signal {int(number)}" in reason for reason in reasons(served, "faults")), \
        reasons(served, "faults")[-4:]


@pytest.mark.parametrize("round", range(8))
def test_nonsense_in_the_shared_memory_harms_only_its_process(served, steady, round):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    before = info(served, "faults")["process"]
    answer = Connection(served).call("test.faults.garbage", seed)
    assert answer["status"] != 0, seed
    back(served, "faults", before, f"garbage with seed {seed}")


def test_calls_that_are_completed_twice_or_never_are_as_if_completed_once(served, steady):
    process = info(served, "faults")["process"]
    assert served.call("test.faults.twice") == 1
    assert attempt(served, "test.faults.never").returncode == 75
    assert served.call("test.faults.late") == "dropped"
    assert info(served, "faults")["process"] == process


def test_a_call_that_is_completed_after_its_cancellation_is_dropped(served, steady):
    caller = Connection(served)
    caller.send("test.faults.never")
    wait_for(lambda: info(served, "faults")["calls"]["in_flight"] == 1, "the entry of the call")
    caller.close()
    wait_for(lambda: served.call("test.faults.late") == "dropped", "the cancellation")
    wait_for(lambda: info(served, "faults")["calls"]["in_flight"] == 0, "the end of the call")
    assert served.call("test.faults.echo", text="well") == {"text": "well"}


@pytest.mark.parametrize("direction", ["huge", "ask_huge"])
def test_bodies_over_the_limit_are_refused_in_both_directions(served, steady, direction):
    process = info(served, "faults")["process"]
    answer = Connection(served).call(f"test.faults.{direction}")
    assert "64 MiB" in str(answer) or answer.get("result") == "refused 8", answer
    assert served.call("test.faults.echo", text="well") == {"text": "well"}
    assert info(served, "faults")["process"] == process


def test_a_worker_that_hears_no_signal_dies_with_its_host():
    place = Place()
    try:
        place.serve()
        plugins.drop(place, plugins.build(place.root / "built", "deaf"))
        wait_for(lambda: state_of(place, "deaf") == "active", "the start")
        place.call("test.deaf.deafen")
        process = int(info(place, "deaf")["process"])
        os.kill(process, signal.SIGTERM)
        assert place.call("test.deaf.pid") == process
        place.processes[0].kill()
        place.processes[0].wait()
        gone(process)
    finally:
        place.close()


# ## Hooks

HOOK_FAULTS = ["crash", "hang", "ignore_signals", "leave"]
HOOKS = {"prepare_timeout_ms": 1000, "activate_timeout_ms": 1000, "suspend_timeout_ms": 1000}


def build(place, name, hook, fault, version="1.0.0", **options):
    extensions = ["knap.state/1", "knap.health/1", "knap.committed/1", "knap.drain/1"]
    return plugins.build(place.root / "built", name, version=version, defines=[f"HOOK_{hook}={fault}"] if hook else [],
                         extensions=extensions, hooks=HOOKS, deadline_ms=30_000, probation_ms=0,
                         **options)


def drop(place, *arguments, **options):
    return plugins.drop(place, build(place, *arguments, **options))


def go(place, name):
    """Has the calls of `patient` end, now and later."""
    folder = place.state / "data" / name
    folder.mkdir(exist_ok=True)
    (folder / "go").touch()


@contextlib.contextmanager
def in_flight(place, name):
    """A call of `patient` that is under way until `go`."""
    connection = Connection(place)
    connection.send(f"test.{name}.patient")
    wait_for(lambda: info(place, name)["calls"]["in_flight"] == 1, "the entry of the call")
    yield connection
    connection.close()


def remove(place, name, path):
    path.unlink()
    wait_for(lambda: state_of(place, name) == "unknown", f"the end of {name}")
    workers = [each for each in pathlib.Path("/proc").glob("[0-9]*/maps") if f"/store/{name}/" in read(each)]
    wait_for(lambda: not [each for each in workers if running(int(each.parent.name))], f"the end of the processes of {name}")


def read(path):
    try:
        return path.read_text(errors="replace")
    except (OSError, ProcessLookupError):
        return ""


@pytest.mark.faults
@pytest.mark.parametrize("hook", ["constructor", "create", "prepare", "activate"])
@pytest.mark.parametrize("fault", HOOK_FAULTS)
def test_a_fault_in_a_start_is_reported_and_not_tried_again(served, steady, hook, fault):
    name = f"bad-{hook}-{fault.replace('_', '-')}"
    path = drop(served, name, hook, fault)
    steady.wait_for_more(50)
    shown = wait_for(lambda: state_of(served, name) == "failed" and info(served, name), f"the failure of {name}")
    assert hook == "constructor" or hook in shown["reason"], shown["reason"]
    assert not [each for each in shown["history"] if each["state"] == "active"]
    remove(served, name, path)


# Which version serves after such a fault, and what `add` has counted by then: what was counted before is handed over, kept
# by a generation that goes on, or lost with the process that had it.
RELOADS = {
    "drain": {("1.0.0", 1), ("2.0.0", 1), ("2.0.0", 2)}, "suspend": {("1.0.0", 1)}, "save": {("1.0.0", 1)},
    "destroy": {("2.0.0", 2)}, "load": {("1.0.0", 2)},
}


@pytest.mark.faults
@pytest.mark.parametrize("hook", RELOADS)
@pytest.mark.parametrize("fault", HOOK_FAULTS)
def test_a_fault_in_a_reload_leaves_somebody_serving(served, steady, hook, fault):
    name = f"turn-{hook}-{fault.replace('_', '-')}"
    path = drop(served, name, hook if hook != "load" else None, fault)
    wait_for(lambda: state_of(served, name) == "active", f"the start of {name}")
    assert served.call(f"test.{name}.add") == 1
    before = info(served, name)
    new = build(served, name, hook if hook == "load" else None, fault, version="2.0.0")
    with in_flight(served, name):
        plugins.drop(served, new)
        wait_for(lambda: len(info(served, name)["history"]) > len(before["history"]), "the reload")
        steady.wait_for_more(50)
        go(served, name)
        shown = wait_for(lambda: (shown := info(served, name))["state"] == "active" and len(shown["history"]) >
                         len(before["history"]) + 1 and shown, f"the outcome of {name}")
    assert served.call(f"test.{name}.version") == shown["version"]
    assert (shown["version"], served.call(f"test.{name}.add")) in RELOADS[hook], shown["history"]
    if (hook, shown["version"]) != ("load", "1.0.0"):
        gone(before["process"])
    remove(served, name, path)


@pytest.mark.faults
@pytest.mark.parametrize("hook", ["suspend", "destroy", "drain"])
@pytest.mark.parametrize("fault", HOOK_FAULTS)
def test_a_fault_in_a_stop_does_not_hold_it_up(served, steady, hook, fault):
    name = f"end-{hook}-{fault.replace('_', '-')}"
    path = drop(served, name, hook, fault, drain_timeout_ms=500)
    wait_for(lambda: state_of(served, name) == "active", f"the start of {name}")
    process = info(served, name)["process"]
    # A drain begins only when there is something to wait for.
    with in_flight(served, name):
        path.unlink()
        steady.wait_for_more(50)
        wait_for(lambda: state_of(served, name) == "unknown", f"the end of {name}")
    gone(process)


@pytest.mark.faults
@pytest.mark.parametrize("fault", HOOK_FAULTS)
def test_a_fault_in_a_check_of_its_health_ends_only_it(served, steady, fault):
    name = f"ill-{fault.replace('_', '-')}"
    path = drop(served, name, "health", fault)
    wait_for(lambda: state_of(served, name) == "active", f"the start of {name}")
    process = info(served, name)["process"]
    assert served.knap("doctor", "--state", str(served.state)).returncode in (0, 1)
    steady.wait_for_more(50)
    if fault in ("crash", "leave"):
        back(served, name, process, fault)
    wait_for(lambda: attempt(served, f"test.{name}.echo", text="well").returncode == 0, "an answer")
    remove(served, name, path)


@pytest.mark.faults
@pytest.mark.parametrize("fault", HOOK_FAULTS)
def test_a_fault_when_it_is_told_that_it_is_committed_ends_only_it(served, steady, fault):
    name = f"told-{fault.replace('_', '-')}"
    path = drop(served, name, "committed", fault, restart={"max_restarts": 2, "period_ms": 3600000, "backoff_initial_ms": 1})
    steady.wait_for_more(50)
    if fault in ("crash", "leave"):
        # Every new process is told again.
        wait_for(lambda: "quarantine" in info(served, name).get("reason", ""), "the quarantine")
    else:
        wait_for(lambda: attempt(served, f"test.{name}.echo", text="well").returncode == 0, "an answer")
    remove(served, name, path)
