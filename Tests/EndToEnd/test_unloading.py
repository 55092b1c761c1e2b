"""What stays of old generations in the host's process."""

import os
import pathlib
import subprocess
import sys

import pytest

import plugins
from knap_host import wait_for
from test_live_changes import command
from test_workers import info, state_of


@pytest.fixture
def served(place):
    place.serve()
    return place


def begin(place, library, name):
    plugins.drop(place, library)
    wait_for(lambda: state_of(place, name) == "active", "the start")
    assert command(place, "plugins", "isolate", name, "in-process").returncode == 0
    assert info(place, name)["isolation"] == "in-process"


def upgrade(place, library, name, version):
    plugins.drop(place, library)
    wait_for(lambda: info(place, name)["version"] == version, f"version {version}")


def what_is_left(place, name, generation):
    """What the host says of the code of a generation that has ended."""
    return wait_for(
        lambda: (left := info(place, name).get("left")) and left["generation"] == generation and left["code"],
        f"the end of generation {generation}")


def mapped(place, name):
    """The contents of a plugin that the host has in its memory."""
    maps = pathlib.Path(f"/proc/{place.host_pid()}/maps").read_text()
    return {line.split()[-1] for line in maps.splitlines() if f"/store/{name}/" in line}


BUILDS = {
    "c": lambda place, version: plugins.build(place.root / "built", "leaf", version=version, source="extensions.c"),
    "embedded-swift": lambda place, version: plugins.build_swift(place.root / "built", "leaf", version=version),
}


@pytest.mark.parametrize("language", BUILDS)
def test_plain_code_leaves_the_process_with_its_last_generation(served, language):
    build = BUILDS[language]
    begin(served, build(served, "1.0.0"), "leaf")
    for number in range(2, 6):
        before = info(served, "leaf")["generation"]
        upgrade(served, build(served, f"{number}.0.0"), "leaf", f"{number}.0.0")
        assert what_is_left(served, "leaf", before) == "unloaded"
        assert len(mapped(served, "leaf")) == 1
    # The same content again is the same image.
    before = info(served, "leaf")["generation"]
    assert command(served, "plugins", "reload", "leaf").returncode == 0
    assert "same content" in what_is_left(served, "leaf", before)
    assert command(served, "plugins", "disable", "leaf").returncode == 0
    assert what_is_left(served, "leaf", before + 1) == "unloaded"
    assert mapped(served, "leaf") == set()


STAYING = {
    "nodelete": (["-Wl,-z,nodelete"], "nodelete"), "threads": (["-DTHREAD"], "start threads"),
    "unique": (["-DUNIQUE"], "STB_GNU_UNIQUE"), "destructors": (["-DKEY"], "destructors"), "signals": (["-DSIGNAL"], "signal"),
}


@pytest.mark.parametrize("why", STAYING)
def test_code_that_something_may_still_point_to_stays_and_says_why(served, why):
    options, reason = STAYING[why]
    builds = [
        plugins.build(served.root / f"built{number}", "root", version=f"{number}.0.0", source="staying.c", options=options)
        for number in (1, 2)]
    begin(served, builds[0], "root")
    before = info(served, "root")["generation"]
    upgrade(served, builds[1], "root", "2.0.0")
    left = what_is_left(served, "root", before)
    assert left.startswith("retained: ") and reason in left, left
    assert len(mapped(served, "root")) == 2
    assert served.call("test.root.version") == "2.0.0"


def test_swift_stays_and_past_the_budget_the_old_version_serves_on(place):
    place.environment["KNAP_HOST_SWIFT_CONFORMANCES"] = "5"
    place.serve()
    builds = [plugins.build_swift(place.root / f"built{number}", "swallow", version=f"{number}.0.0", embedded=False)
              for number in (1, 2, 3, 4)]
    begin(place, builds[0], "swallow")
    before = info(place, "swallow")["generation"]
    # What ships with Knap counts too, so there is no room for another image.
    plugins.drop(place, builds[1])
    wait_for(lambda: "isolate swallow worker" in info(place, "swallow")["reason"], "the refusal")
    assert place.call("test.swallow.version") == "1.0.0"
    assert len(mapped(place, "swallow")) == 1
    # The advice helps: in a process of its own it can be replaced as often as one likes.
    assert command(place, "plugins", "isolate", "swallow", "worker").returncode == 0
    assert "Swift's runtime" in what_is_left(place, "swallow", before)
    upgrade(place, builds[2], "swallow", "3.0.0")
    upgrade(place, builds[3], "swallow", "4.0.0")
    assert place.call("test.swallow.version") == "4.0.0"


HAZARD = r'''
import ctypes, os, shutil, sys
swift = os.environ["SWIFT_LIBRARIES"]
core = ctypes.CDLL(swift + "/libswiftCore.so", mode=ctypes.RTLD_GLOBAL)
dl = ctypes.CDLL(None)
dl.dlopen.restype = ctypes.c_void_p
dl.dlopen.argtypes = [ctypes.c_char_p, ctypes.c_int]
dl.dlclose.argtypes = [ctypes.c_void_p]
handle = dl.dlopen((swift + "/libswiftSynchronization.so").encode(), os.RTLD_NOW | (os.RTLD_NODELETE if sys.argv[1] == "nodelete" else 0))
assert handle
dl.dlclose(handle)
conforms = core.swift_conformsToProtocol
conforms.restype = ctypes.c_void_p
address = lambda name: ctypes.addressof(ctypes.c_char.in_dll(core, name))
print(conforms(ctypes.c_void_p(address("$sSiN")), ctypes.c_void_p(address("$sSTMp"))))
'''


@pytest.mark.parametrize("flag, survives", [("nodelete", True), ("close", False)])
def test_why_swift_is_never_unmapped(flag, survives):
    """The runtime keeps pointers into every image: if this ever passes without NODELETE, the rule can go."""
    libraries = pathlib.Path(subprocess.run(["which", "swiftc"], capture_output=True, text=True, check=True).stdout.strip())
    environment = {**os.environ, "SWIFT_LIBRARIES": str(libraries.resolve().parent.parent / "lib/swift/linux"),
                   "SWIFT_BACKTRACE": "enable=no"}
    environment["LD_LIBRARY_PATH"] = environment["SWIFT_LIBRARIES"]
    result = subprocess.run([sys.executable, "-c", HAZARD, flag], env=environment, capture_output=True, text=True)
    assert (result.returncode == 0) == survives, (result.returncode, result.stdout, result.stderr)
