"""Plugins that go wrong, each in its own process: the host serves on, says why, and starts them again."""

import ctypes
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
    layers = "no new privileges, no capabilities, Landlock, seccomp, scopes"
    assert shown["sandbox"] == layers + (", own user" if os.geteuid() == 0 else ""), shown.get("not_achieved")
    assert int(shown["process"]) == place.call("test.faults.pid") != place.host_pid()


def test_a_killed_worker_is_back_at_once_and_its_call_is_run_again(place):
    for _ in range(20):
        process = int(info(place, "faults")["process"])
        os.kill(process, signal.SIGKILL)
        assert place.call("test.faults.echo", text="again") == {"text": "again"}


@pytest.mark.faults
def test_a_hanging_call_that_blocks_holds_nobody_else(place):
    process = info(place, "faults")["process"]
    assert attempt(place, "test.faults.hang").returncode == 75
    assert place.call("test.faults.echo", text="well") == {"text": "well"}
    assert info(place, "faults")["process"] == process
    # But not for ever.
    wait_for(lambda: "it hung: test.faults.hang had not returned" in info(place, "faults").get("last_end", ""), "the watchdog")
    wait_for(lambda: state_of(place, "faults") == "active", "the restart")


@pytest.fixture(scope="module")
def listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


ESCAPES = [
    "connect_tcp", "connect_udp", "connect_mptcp", "connect_fast_open", "connect_unix", "send_datagram", "listen_tcp",
    "connect_abstract", "connect_pair", "netlink", "raw", "packet", "virtual_machine", "fork_itself", "fork_by_vfork",
    "fork_by_clone3", "fork_by_clone", "execute", "trace", "signal_host", "limit_host", "slow_host",
    "pin_host", "open_pid", "outlive_host", "map_memory", "uring", "mount_it", "user_namespace",
    "execute_descriptor", "schedule_host", "delay_host", "read_memory", "write_memory", "take_descriptor", "signal_thread",
    "signal_group", "signal_queue", "filter", "fault_in_user_space", "count_events", "keys", "add_a_key", "open_by_handle",
    "name_to_handle", "change_root", "pivot", "unmount", "new_mount", "join_namespace", "own_a_file", "type_into_terminal",
    "become_root", "make_device", "unfiltered", "be_dumped", "more_memory", "more_memory_again", "set_time", "restart_machine",
    "lend_user",
]
# Those that are aimed at a process.
AIMED = [
    "trace", "signal_host", "limit_host", "slow_host", "pin_host", "open_pid", "schedule_host", "delay_host", "read_memory",
    "write_memory", "signal_thread", "signal_queue",
]


def try_to_escape(place, name, way, pid, port):
    return place.call(
        f"test.{name}.{way}", path=str(place.state / "control.sock"), pid=pid, port=port,
        directory=str(place.state / "data" / name))


@pytest.mark.parametrize("way", ESCAPES)
def test_there_is_no_way_out_of_the_sandbox(place, listener, way):
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0knap-test")
        abstract.listen()
        answer = try_to_escape(place, "faults", way, place.host_pid(), listener)
    assert answer.startswith("refused"), answer


@pytest.mark.parametrize("way", AIMED)
def test_there_is_no_way_to_another_worker(place, listener, way):
    answer = try_to_escape(place, "faults", way, int(info(place, "steady")["process"]), listener)
    assert answer.startswith("refused"), answer


@pytest.fixture(scope="module")
def hearing(place):
    """A plugin that may listen, and so has sockets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    plugins.drop(place, plugins.build(
        place.root / "built", "hearing", extensions=[], permissions={"network": {"listen": [port]}}))
    wait_for(lambda: state_of(place, "hearing") == "resolved", "the wait for its grant")
    granted = place.knap("plugins", "grant", "hearing", "--state", str(place.state))
    assert granted.returncode == 0, granted.stderr
    return port


@pytest.mark.parametrize("way", [way for way in ESCAPES if way.startswith(("connect", "send", "listen", "netlink", "raw", "packet"))])
def test_whoever_may_listen_may_do_nothing_else_with_sockets(place, listener, hearing, way):
    answer = try_to_escape(place, "hearing", way, place.host_pid(), listener)
    assert answer.startswith("refused"), answer


def test_whoever_may_listen_does(place, hearing):
    assert try_to_escape(place, "hearing", "listen_tcp", 0, hearing) == "got 0"


def test_files_outside_are_out_of_reach(place):
    secret = place.root / "secret"
    secret.write_text("secret")
    vault = place.vault / next(place.vault.rglob("*.md")).relative_to(place.vault)
    for path in [secret, vault, "/etc/passwd", "/etc/shadow", place.state / "config.json", f"/proc/{place.host_pid()}/environ",
                 f"/proc/{place.host_pid()}/mem", f"/proc/{place.host_pid()}/fd/0", f"/proc/{place.host_pid()}/root",
                 f"/proc/{place.host_pid()}/maps", f"/proc/{info(place, 'steady')['process']}/mem", "/proc/1/root/etc/passwd",
                 place.state / "data/steady", place.state / "store", place.state / "secrets.json", place.state / "data/obsidian", place.state / "token", pathlib.Path.home()]:
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


def test_a_worker_that_lost_its_connection_to_the_host_is_replaced(place):
    process = int(info(place, "steady")["process"])
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.pidfd_open(process)
    try:
        control = libc.syscall(438, handle, 3, 0)  # pidfd_getfd
        if control < 0:
            pytest.skip(f"this user may not reach into its own processes: {os.strerror(ctypes.get_errno())}")
        socket.socket(fileno=control).shutdown(socket.SHUT_RDWR)
        wait_for(lambda: not running(process), "the worker's end")
    finally:
        os.close(handle)
    wait_for(lambda: info(place, "steady").get("process", str(process)) != str(process), "another worker")
    assert place.call("test.steady.echo", text="back") == {"text": "back"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users")
def test_each_plugins_worker_has_a_user_of_its_own(place):
    users = {}
    for name in ["faults", "steady"]:
        status = pathlib.Path(f"/proc/{info(place, name)['process']}/status").read_text()
        users[name] = {line.split()[0]: line.split()[1:] for line in status.splitlines() if line.startswith(("Uid", "Gid"))}
        numbers = set(users[name]["Uid:"] + users[name]["Gid:"])
        assert len(numbers) == 1 and 61184 <= int(numbers.pop()) <= 65519
        assert (place.state / "data" / name).stat().st_uid == int(users[name]["Uid:"][0])
    assert users["faults"] != users["steady"]
    # Nobody else may look into what is the host's.
    for path in ["token", "config.json", "control.sock", "data/obsidian", "black-box"]:
        if (place.state / path).exists():
            assert (place.state / path).stat().st_mode & 0o77 == 0, path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users")
def test_state_goes_with_the_plugin_from_user_to_user(place):
    library = plugins.build(place.root / "built", "moving", extensions=[])
    plugins.drop(place, library)
    wait_for(lambda: state_of(place, "moving") == "active", "the start")
    directory = place.state / "data/moving"
    (directory / "inner").mkdir()
    (directory / "inner/file").write_text("x")
    user = directory.stat().st_uid
    assert user >= 61184
    for isolation, owner in [("in-process", None), ("worker", user)]:
        moved = place.knap("plugins", "isolate", "moving", isolation, "--state", str(place.state))
        assert moved.returncode == 0, moved.stderr
        if owner is not None:
            assert {each.stat().st_uid for each in [directory, *directory.rglob("*")]} == {owner}
    place.knap("plugins", "isolate", "moving", "in-process", "--state", str(place.state))
    for change in ["disable", "enable"]:
        assert place.knap("plugins", change, "moving", "--state", str(place.state)).returncode == 0
    assert {each.stat().st_uid for each in [directory, *directory.rglob("*")]} == {0}


def running(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # gone before or while it was read
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
