"""Plugins that go wrong, each in its own process: the host serves on, says why, and starts them again."""

import json
import os
import pathlib
import signal
import socket

import pytest

import plugins
from knap_host import Place, wait_for


@pytest.fixture(scope="module")
def place():
    made = Place()
    made.serve()
    folder = made.root / "built"
    plugins.drop(made, plugins.build(folder, "faults", limits={"memory_bytes": 256 << 20}))
    plugins.drop(made, plugins.build(folder, "steady"))
    for name in ["faults", "steady"]:
        wait_for(lambda: state_of(made, name) == "active", f"the start of {name}")
    yield made
    made.close()


def info(place, name):
    result = place.knap("plugins", "info", name, "--state", str(place.state), "--json")
    return json.loads(result.stdout) if result.returncode == 0 else {"state": "unknown"}


def state_of(place, name):
    return info(place, name)["state"]


def reasons(place, name):
    return [change["reason"] for change in info(place, name)["history"]]


def attempt(place, method, **arguments):
    return place.knap("call", method, json.dumps(arguments), "--state", str(place.state), "--json")


def test_a_dropped_in_plugin_runs_in_a_sandboxed_process_of_its_own(place):
    shown = info(place, "faults")
    assert shown["isolation"] == "worker"
    assert shown["sandbox"] == "no new privileges, no capabilities, Landlock, seccomp", shown.get("not_achieved")
    assert int(shown["process"]) == place.call("test.faults.pid") != place.host_pid()


def test_a_killed_worker_is_back_at_once_and_its_call_is_run_again(place):
    for _ in range(20):
        process = int(info(place, "faults")["process"])
        os.kill(process, signal.SIGKILL)
        assert place.call("test.faults.echo", text="again") == {"text": "again"}


def test_a_hanging_call_that_blocks_holds_nobody_else(place):
    process = info(place, "faults")["process"]
    assert attempt(place, "test.faults.hang").returncode == 75
    assert place.call("test.faults.echo", text="well") == {"text": "well"}
    assert info(place, "faults")["process"] == process


@pytest.fixture(scope="module")
def listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


ESCAPES = [
    "connect_tcp", "connect_udp", "connect_mptcp", "connect_fast_open", "connect_unix", "send_datagram", "listen_tcp",
    "netlink", "raw", "fork_itself", "fork_by_clone", "execute", "trace", "signal_host", "limit_host", "slow_host",
    "pin_host", "open_pid", "outlive_host", "map_memory", "uring", "mount_it", "user_namespace",
]


@pytest.mark.parametrize("way", ESCAPES)
def test_there_is_no_way_out_of_the_sandbox(place, listener, way):
    answer = place.call(f"test.faults.{way}", path=str(place.state / "control.sock"), pid=place.host_pid(), port=listener)
    assert answer.startswith("refused"), answer


def test_files_outside_are_out_of_reach(place):
    secret = place.root / "secret"
    secret.write_text("secret")
    vault = place.vault / next(place.vault.rglob("*.md")).relative_to(place.vault)
    for path in [secret, vault, "/etc/passwd", "/etc/shadow", place.state / "config.json", f"/proc/{place.host_pid()}/environ",
                 f"/proc/{place.host_pid()}/mem", place.state / "data/obsidian", place.state / "token", pathlib.Path.home()]:
        answer = place.call("test.faults.read_file", path=str(path))
        assert answer.startswith("refused"), (path, answer)
    for path in [place.root / "new", vault, place.state / "plugins/x.so", "/tmp/knap-escape"]:
        answer = place.call("test.faults.write_file", path=str(path))
        assert answer.startswith("refused"), (path, answer)
    assert place.call("test.faults.remove_file", path=str(secret)).startswith("refused")
    assert secret.read_text() == "secret"


def test_what_a_plugin_needs_to_live_works_inside(place):
    assert place.call("test.faults.live", path=str(place.state / "data/faults")) == "thread file memory"


def test_no_worker_survives_its_host(place):
    other = Place()
    try:
        other.serve()
        plugins.drop(other, plugins.build(other.root / "built", "orphan"))
        wait_for(lambda: state_of(other, "orphan") == "active", "the start")
        process = int(info(other, "orphan")["process"])
        os.kill(process, signal.SIGSTOP)
        host = other.processes[0]
        host.kill()
        host.wait()
        wait_for(lambda: not running(process), "the worker's end")
    finally:
        other.close()


def running(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_plugin_that_keeps_ending_is_put_in_quarantine_until_it_is_released(place):
    plugins.drop(place, plugins.build(
        place.root / "built", "flaky",
        restart={"max_restarts": 2, "period_ms": 60000, "backoff_initial_ms": 1, "backoff_max_ms": 1}))
    wait_for(lambda: state_of(place, "flaky") == "active", "the start")
    for _ in range(3):
        wait_for(lambda: state_of(place, "flaky") == "active", "the restart")
        attempt(place, "test.flaky.crash")
    shown = wait_for(lambda: state_of(place, "flaky") == "failed" and info(place, "flaky"), "the quarantine")
    assert "quarantine" in shown["reason"] and "SIGSEGV" in shown["reason"]
    released = place.knap("plugins", "release", "flaky", "--state", str(place.state))
    assert released.returncode == 0, released.stderr
    assert place.call("test.flaky.echo", text="back") == {"text": "back"}
