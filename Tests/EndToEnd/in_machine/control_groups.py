"""Workers in control groups of the kernel's, on a machine whose kernel has the controllers for memory and tasks."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import plugins
from knap_host import Place, wait_for
from test_live_changes import command
from test_workers import attempt, info, state_of

ROOT = pathlib.Path("/sys/fs/cgroup")
MEMORY = 64 << 20


@pytest.fixture
def place():
    made = Place()
    yield made
    made.close()


@pytest.fixture
def service():
    """A group such as systemd makes for a service that may have groups of its own."""
    (ROOT / "cgroup.subtree_control").write_text("+memory +pids")
    made = ROOT / "service"
    made.mkdir()
    os.setxattr(made, "user.delegate", b"1")
    yield made
    wait_for(lambda: "populated 0" in text(made / "cgroup.events"), "the end of all in it", 30)
    subprocess.run(f"rmdir {made}/*/* {made}/* {made}", shell=True, stderr=subprocess.DEVNULL)


def serve_in(place, group):
    place.prefix = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    place.serve()
    place.prefix = []


def start(place, name="bomb"):
    plugins.drop(place, plugins.build(place.root / "built", name, deadline_ms=30_000, limits={"memory_bytes": MEMORY}))
    wait_for(lambda: state_of(place, name) == "active", f"the start of {name}")
    return group_of(place, name)


def group_of(place, name="bomb"):
    return pathlib.Path(info(place, name)["control_group"])


def text(path):
    return path.read_text().strip()


def assert_confined(place, group, name="bomb"):
    assert text(group / "cgroup.procs") == info(place, name)["process"]
    assert text(group / "memory.max") == str(MEMORY) and text(group / "pids.max") == "8192"


def stop(place, how=signal.SIGTERM):
    place.processes[-1].send_signal(how)
    place.processes[-1].wait(30)


def test_each_worker_is_in_a_group_of_its_own_with_its_limits(place):
    place.serve()
    group = start(place)
    assert group.parent == ROOT / f"knap-{place.host_pid()}"
    assert_confined(place, group)
    other = start(place, "other")
    assert other != group and other.parent == group.parent
    assert_confined(place, other, "other")


def test_memory_that_no_limit_of_a_process_counts_is_limited(place):
    place.serve()
    start(place)
    # Without much processor the kernel looks for memory to free for seconds.
    failed = attempt(place, "test.bomb.hoard")
    assert failed.returncode != 0
    ended = wait_for(lambda: info(place, "bomb").get("last_end"), "the end")
    assert "it ran out of memory: it had all of the 64 MiB" in ended
    wait_for(lambda: state_of(place, "bomb") == "active", "the restart")
    assert_confined(place, group_of(place))
    assert place.call("test.bomb.echo", text="well") == {"text": "well"}
    assert place.call("vault.read_note", path="Ideas.md")["content"]


def test_groups_go_with_what_was_in_them(place):
    place.serve()
    group = start(place)
    assert command(place, "plugins", "disable", "bomb").returncode == 0
    wait_for(lambda: not group.exists(), "the end of the group")
    assert command(place, "plugins", "enable", "bomb").returncode == 0
    wait_for(lambda: state_of(place, "bomb") == "active", "the next start")
    stop(place)
    assert not group.parent.exists()


def test_what_a_killed_host_left_is_removed_by_the_next(place):
    place.serve()
    left = start(place)
    stop(place, signal.SIGKILL)
    wait_for(lambda: not text(left / "cgroup.procs"), "the end of the worker")
    place.serve()
    wait_for(lambda: state_of(place, "bomb") == "active", "the next start")
    assert not left.parent.exists() and group_of(place).exists()


def test_a_service_with_a_group_of_its_own_keeps_its_workers_there(service, place):
    serve_in(place, service)
    host = place.host_pid()
    group = start(place)
    assert group.parent == service / f"knap-{host}"
    assert_confined(place, group)
    assert text(service / f"knap-{host}.host/cgroup.procs") == str(host)
    stop(place)
    assert not [each for each in service.iterdir() if each.is_dir()], "it leaves the group as it was"
    serve_in(place, service)
    wait_for(lambda: state_of(place, "bomb") == "active", "the next start")
    assert_confined(place, group_of(place))


def assert_in_none(place, why):
    plugins.drop(place, plugins.build(place.root / "built", "steady"))
    wait_for(lambda: state_of(place, "steady") == "active", "the start")
    shown = info(place, "steady")["control_group"]
    assert shown.startswith("none: ") and "Delegate=yes" in shown and why in shown


def test_a_service_whose_group_was_not_given_to_it_leaves_it_whole(service, place):
    os.removexattr(service, "user.delegate")
    serve_in(place, service)
    assert_in_none(place, f"{service} is not the host's to divide")
    assert not [each for each in service.iterdir() if each.is_dir()]


def test_a_group_with_other_processes_is_left_alone(service, place):
    other = subprocess.Popen(["sleep", "60"])
    (service / "cgroup.procs").write_text(str(other.pid))
    try:
        serve_in(place, service)
        assert_in_none(place, f"{service} holds other processes")
        assert str(other.pid) in text(service / "cgroup.procs").split()
    finally:
        other.kill()
        other.wait()
        stop(place)
