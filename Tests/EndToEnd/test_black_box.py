"""Plugins that take the host's process down with them, and what the next start knows and does about it."""

import json
import os
import shutil
import signal
import subprocess

import pytest

import knap_host
import plugins
from knap_host import Place, wait_for
from test_workers import attempt, info, state_of


def in_the_host(place, name, **options):
    """Starts a plugin from elsewhere in the host's process, as the operator may choose."""
    plugins.drop(place, plugins.build(place.root / "built", name, **options))
    wait_for(lambda: state_of(place, name) in ["active", "resolved"], f"the first state of {name}")
    return isolate(place, name)


def isolate(place, name):
    return place.knap("plugins", "isolate", name, "in-process", "--state", str(place.state))


def ended(place):
    """How the last host that was started ended, as a process does."""
    return place.processes[-1].wait(20)


def doctor(place):
    result = place.knap("doctor", "--state", str(place.state), "--json")
    return [(each["subject"], each["problem"]) for each in json.loads(result.stdout)["problems"]]


# Fault, how the process ends, and what must be said of it.
CRASHES = {
    "crash": (-signal.SIGSEGV, "SIGSEGV at {name}+0x", "(address 0x8)", "in test.{name}.crash"),
    "divide": (-signal.SIGFPE, "SIGFPE at", "in test.{name}.divide"),
    "trap": (-signal.SIGILL, "SIGILL at", "in test.{name}.trap"),
    "deep": (-signal.SIGSEGV, "SIGSEGV at", "in test.{name}.deep"),
    "give_up": (-signal.SIGABRT, "SIGABRT at libc.so.6+", "in test.{name}.give_up"),
    "breakpoint": (-signal.SIGTRAP, "SIGTRAP", "in test.{name}.breakpoint"),
    "nowhere": (-signal.SIGSEGV, "SIGSEGV", "(address 0x0)"),
    "leave": (3, "a call of exit(3)", "in test.{name}.leave"),
    "thread": (-signal.SIGSEGV, "SIGSEGV at", "while it served test.{name}.thread"),
    "thread_deep": (-signal.SIGSEGV, "SIGSEGV at", "while it served test.{name}.thread_deep"),
    "thread_give_up": (-signal.SIGABRT, "SIGABRT at libc.so.6+", "called from {name} at 0x"),
}


@pytest.mark.parametrize("fault", CRASHES)
def test_a_plugin_that_crashes_the_host_runs_in_a_worker_from_then_on(place, fault):
    name = f"bomb-{fault.replace('_', '-')}"
    place.serve()
    assert in_the_host(place, name).returncode == 0
    assert info(place, name)["isolation"] == "in-process"
    attempt(place, f"test.{name}.{fault}")
    status, *words = CRASHES[fault]
    assert ended(place) == status
    place.serve()
    shown = info(place, name)
    assert (shown["state"], shown["isolation"]) == ("active", "worker"), shown
    for word in words:
        expected = word.format(name=name)
        assert expected in shown["last_crash"], (expected, shown["last_crash"])
    assert place.call(f"test.{name}.echo", text="well") == {"text": "well"}
    problems = [problem for subject, problem in doctor(place) if subject == name]
    assert any("its code ended the host" in problem and "release" in problem for problem in problems), problems
    # The operator may try again.
    released = place.knap("plugins", "release", name, "--state", str(place.state))
    assert released.returncode == 0, released.stderr
    assert info(place, name)["isolation"] == "in-process"


# By reload, or already at the start.
HOOKS = ["constructor", "create", "prepare", "activate", "suspend", "destroy", "save", "load"]


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["crash", "leave"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_ends_the_host_keeps_its_content_from_starting(place, hook, fault):
    name = f"bomb-{hook}"
    place.serve()
    options = {"defines": [f"HOOK_{hook}={fault}"], "isolations": ["in-process"]}
    in_the_host(place, name, **options)
    if hook in ["suspend", "destroy", "save", "load"]:
        assert info(place, name)["isolation"] == "in-process"
        place.knap("plugins", "reload", name, "--state", str(place.state))
    assert ended(place) == (3 if fault == "leave" else -signal.SIGSEGV)
    place.serve()
    shown = info(place, name)
    assert shown["state"] == "resolved" and "quarantine" in shown["reason"], shown
    activity = "load" if hook == "constructor" else hook
    assert f"in {activity}" in shown["last_crash"], shown["last_crash"]
    # Other bytes are another matter.
    plugins.drop(place, plugins.build(place.root / "built", name, version="1.0.1", isolations=["in-process"]))
    wait_for(lambda: state_of(place, name) == "active", "the start of the mended version")


def test_a_signal_from_outside_is_nobodys_fault_and_starts_safe_mode_once(place):
    place.serve()
    plugins.drop(place, plugins.build(place.root / "built", "innocent"))
    wait_for(lambda: state_of(place, "innocent") == "active", "the start")
    place.processes[-1].send_signal(signal.SIGSEGV)
    assert ended(place) == -signal.SIGSEGV
    place.serve()
    shown = info(place, "innocent")
    assert shown["state"] == "resolved" and "safe mode" in shown["reason"], shown
    assert state_of(place, "gateway") == state_of(place, "obsidian") == "active"
    assert any(subject == "host" and f"sent by process {os.getpid()}" in problem for subject, problem in doctor(place))
    released = place.knap("plugins", "release", "--state", str(place.state))
    assert released.returncode == 0, released.stderr
    assert state_of(place, "innocent") == "active"
    assert doctor(place) == []
    # A new start ends it too.
    place.processes[-1].send_signal(signal.SIGSEGV)
    ended(place)
    place.serve()
    assert state_of(place, "innocent") == "resolved"
    place.processes[-1].terminate()
    assert ended(place) == 0
    place.serve()
    assert state_of(place, "innocent") == "active"


def test_a_killed_host_starts_as_if_nothing_had_been(place):
    place.serve()
    assert in_the_host(place, "innocent").returncode == 0
    place.processes[-1].kill()
    ended(place)
    place.serve()
    assert info(place, "innocent")["isolation"] == "in-process"
    assert [problem for subject, problem in doctor(place) if "crash" in problem and subject == "host"] == []


def test_a_hook_that_was_running_at_two_unexplained_ends_is_kept_from_the_host(place):
    place.serve()
    options = {"defines": ["HOOK_activate=vanish"], "isolations": ["in-process"]}
    in_the_host(place, "ghost", **options)
    assert ended(place) == 4
    # Once may be the power; then it is tried again, and ends the host again.
    process = subprocess.Popen(
        [knap_host.KNAP, "serve", "--vault", str(place.vault), "--state", str(place.state), "--port", "0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=place.environment)
    assert process.wait(20) == 4
    place.serve()
    shown = info(place, "ghost")
    assert shown["state"] == "resolved" and "quarantine" in shown["reason"] and "in activate" in shown["last_crash"], shown


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """A copy of this installation, into which a test can put plugins as if they shipped with it."""
    real = os.path.dirname(os.path.dirname(knap_host.KNAP))
    shutil.copytree(real, tmp_path / "prefix", ignore=shutil.ignore_patterns("lock", "begun", "built"))
    monkeypatch.setattr(knap_host, "KNAP", str(tmp_path / "prefix/bin/knap"))
    return tmp_path / "prefix"


def test_what_ships_with_knap_may_crash_twice_before_it_is_confined(installation):
    shutil.copy(plugins.build(installation / "built", "shipped"), installation / "lib/knap/plugins")
    place = Place()
    try:
        for count in range(3):
            place.serve()
            shown = info(place, "shipped")
            assert (shown["isolation"], shown["first_party"]) == ("in-process", True), count
            attempt(place, "test.shipped.crash")
            assert ended(place) == -signal.SIGSEGV
        place.serve()
        assert info(place, "shipped")["isolation"] == "worker"
        assert place.call("test.shipped.echo", text="well") == {"text": "well"}
    finally:
        place.close()
