"""What an operator demands of the sandbox decides what starts."""

import os
import pathlib
import shutil
import subprocess

import knap_host
import plugins
from knap_host import wait_for
from test_workers import info, state_of


def put(place, key, value):
    result = place.knap("config", "set", f"host.{key}", value, "--state", str(place.state))
    assert result.returncode == 0, result.stderr


def demand(place, level):
    put(place, "sandbox", level)


def started(place, name):
    plugins.drop(place, plugins.build(place.root / "built", name))
    return wait_for(lambda: state_of(place, name) in ["active", "failed"] and info(place, name), f"a start of {name}")


def test_what_is_demanded_and_can_be_had_starts(place):
    place.environment["KNAP_HOST_SANDBOX"] = "strict" if os.geteuid() == 0 else "required"
    place.serve()
    assert started(place, "kept")["state"] == "active", info(place, "kept")["reason"]


def test_what_is_demanded_and_cannot_be_had_is_named_and_nothing_starts(place):
    place.serve()
    put(place, "worker_users", "")
    demand(place, "strict")
    shown = started(place, "kept")
    assert shown["state"] == "failed", shown
    assert "the operator demands a sandbox that cannot be had here: without own user" in shown["reason"], shown["reason"]
    assert ("host.worker_users names none" if os.geteuid() == 0 else "not run as root") in shown["reason"], shown["reason"]
    # What is demanded no longer keeps nothing from starting.
    demand(place, "best")
    wait_for(lambda: state_of(place, "kept") == "active", "the start")
    assert "own user" in info(place, "kept")["not_achieved"]
    # And what runs with less than is demanded now does so no longer.
    demand(place, "strict")
    assert state_of(place, "kept") == "failed"
    demand(place, "required")
    wait_for(lambda: state_of(place, "kept") == "active", "the start")
    assert state_of(place, "gateway") == "active"


def test_a_state_directory_that_others_cannot_reach_is_said(place):
    if os.geteuid() != 0:
        return  # then workers have the host's user anyway, as the test before says
    place.root.chmod(0o700)
    place.serve()
    shown = started(place, "kept")
    assert shown["state"] == "active"
    assert f"{place.root} is closed to other users" in shown["not_achieved"], shown["not_achieved"]


def test_a_host_that_is_not_root_restricts_its_workers_with_what_anybody_has(place, monkeypatch):
    if os.geteuid() == 0:
        # Whoever runs it must be able to pass the directories above it.
        installation = pathlib.Path(knap_host.KNAP).parents[1]
        shutil.copytree(installation, place.root / "knap", symlinks=True)
        monkeypatch.setattr(knap_host, "KNAP", str(place.root / "knap/bin/knap"))
        subprocess.run(["chown", "-R", "65534:65534", str(place.root)], check=True)
        place.environment["HOME"] = str(place.root)
        place.prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    place.serve()
    library = plugins.build(place.root / "built", "kept")
    library.chmod(0o644)
    plugins.drop(place, library)
    shown = wait_for(lambda: state_of(place, "kept") == "active" and info(place, "kept"), "the start")
    for layer in ("no new privileges", "no capabilities", "Landlock", "seccomp"):
        assert layer in shown["sandbox"], shown
    assert "not run as root" in shown["not_achieved"]
    assert place.call("test.kept.echo", text="well") == {"text": "well"}
